"""Which images are used, and how they are dealt: two training halves, held-out images, jackknife groups.

Images are cut into blocks of neighbours (video frames, one room) that stay together. Every second block is held out for
the concept IoU; the training blocks are dealt to two disjoint halves, which give the noise floor of semantic variance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from fusionzoo.data.base import spread
from fusionzoo.errors import InputError

__all__ = ["HALVES", "HELD", "ROLES", "Split", "chosen_images"]

HALVES = ("half0", "half1")
HELD = "held"
ROLES = frozenset({*HALVES, HELD})


def chosen_images(data: Any, limit: int | None) -> list[int]:
    """Numbers of at most `limit` images, evenly spread over the data.

    >>> class Data(list): name, split = "d", "test"
    >>> chosen_images(Data("abcde"), 2)
    [0, 2]

    Raises:
        InputError: no images, or a limit below 1.
    """
    n = len(data)
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; give 1 or more, or leave it out for all images")
    if n < 1:
        raise InputError(f"{data.name}: the split {data.split!r} has no images")
    return spread(range(n), limit)


@dataclass(frozen=True)
class Split:
    """Deals images to roles and to jackknife groups by their index alone, so that every process deals alike.

    Args:
        n: images in all.
        block: neighbours that stay together.

    >>> split = Split.of(8)
    >>> [split.role(i) for i in range(5)]
    ['half0', 'held', 'half1', 'held', 'half0']
    """

    n: int
    block: int

    @classmethod
    def of(cls, n: int, block: int = 8) -> Split:
        """Blocks shrink for small data, so that each role gets at least four blocks from 16 images on.

        Raises:
            InputError: `block` is no whole number from 1.
        """
        if not isinstance(block, int) or block < 1:
            raise InputError(f"block is {block!r}; give a whole number from 1")
        return cls(n, max(1, min(block, n // 16)))

    def role(self, index: int) -> str:
        """ "held" (concept IoU is measured there), or the training half "half0" or "half1"."""
        return ("half0", "held", "half1", "held")[index // self.block % 4]

    def group(self, index: int, groups: int) -> int:
        """Jackknife group 0..groups-1. Held-out blocks alone, and all blocks together, fill the groups evenly."""
        return index // self.block // 2 % groups

    def indices(self, roles: Iterable[str]) -> list[int]:
        """Images with one of `roles`, ascending."""
        wanted = set(roles)
        return [i for i in range(self.n) if self.role(i) in wanted]

    def cycle(self, seed: int = 0) -> list[int]:
        """All images in one order drawn from `seed`. Where a modality is permuted, each image gets it from the one that
        follows, the last from the first: never its own, and the same whatever the batches and processes.

        >>> Split.of(5).cycle()
        [4, 0, 1, 3, 2]
        """
        order: list[int] = torch.randperm(self.n, generator=torch.Generator().manual_seed(seed)).tolist()
        return order
