"""The batches of an epoch: which images, and the random numbers that augment them, all drawn in one place.

Because the numbers are drawn here and not where an image is read, they depend on neither the processes that read nor
those that train, and an epoch can be entered at any step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import Dataset

from fusionzoo.data.augment import Augment
from fusionzoo.errors import InputError

__all__ = ["Augmented", "Batches", "steps_of"]

Drawn = tuple[int, list[float]]
"""An image's number, and its random numbers in [0, 1): those of `Augment`, then one for modality dropout."""


def steps_of(n: int, size: int, parts: int = 1) -> int:
    """Steps of an epoch of `n` images in batches of `size`; what is left over waits for the next epoch's order.

    Raises:
        InputError: fewer images in a batch than `parts` (processes times accumulation).

    >>> steps_of(10, 4), steps_of(3, 4)
    (2, 1)
    """
    if min(n, size) < parts:
        raise InputError(f"a batch of {min(n, size)} images cannot be split into {parts} parts; raise --batch-size")
    return max(1, n // size)


class Batches:
    """A batch sampler: each batch is a list of `Drawn`, this process's share of the images of one step.

    Args:
        n: images of the data set. size: images of a step, over all processes.
        draws: random numbers an image for its augmentation. extra: further ones, drawn behind those of the batch.
        generator: freshly seeded; gives the order and the numbers, whatever the model draws meanwhile.
        first: steps to leave out, because they were trained on before.
        rank, processes: which share of each step this process takes.

    >>> whole = Batches(5, 2, 1, torch.Generator().manual_seed(0))
    >>> late = Batches(5, 2, 1, torch.Generator().manual_seed(0), first=1)
    >>> len(whole), list(whole)[1:] == list(late)
    (2, True)
    """

    def __init__(
        self,
        n: int,
        size: int,
        draws: int,
        generator: torch.Generator,
        *,
        extra: int = 0,
        first: int = 0,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.size, self.draws, self.extra, self.generator = min(n, size), draws, extra, generator
        self.first, self.rank, self.processes = first, rank, processes
        _seed(generator)  # torch's DataLoader took one here for its workers
        self.order: list[int] = torch.randperm(n, generator=torch.Generator().manual_seed(_seed(generator))).tolist()

    def __len__(self) -> int:
        return len(self.order) // self.size - self.first

    def __iter__(self) -> Iterator[list[Drawn]]:
        for _ in range(self.first):
            self._numbers()
        for i in range(self.first, self.first + len(self)):
            chosen = self.order[i * self.size : (i + 1) * self.size]
            yield list(zip(chosen, self._numbers(), strict=True))[self.rank :: self.processes]

    def _numbers(self) -> list[list[float]]:
        parts = [torch.rand(self.size, k, generator=self.generator) for k in (self.draws, self.extra) if k]
        rows: list[list[float]] = torch.cat(parts, 1).tolist()
        return rows


def _seed(generator: torch.Generator) -> int:
    return int(torch.empty((), dtype=torch.int64).random_(generator=generator))


class Augmented(Dataset[dict[str, Any]]):
    """`dataset` augmented, an item for each `Drawn`; the numbers that `augment` does not take are its "extra"."""

    def __init__(self, dataset: Any, augment: Augment) -> None:
        self.dataset, self.augment = dataset, augment

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, drawn: Drawn) -> dict[str, Any]:
        index, numbers = drawn
        own = self.augment.draws
        return {**self.augment(self.dataset[index], numbers[:own]), "extra": numbers[own:]}
