"""Augmentation of a training image: the geometric and colour transform, then corruptions as sensors fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fusionzoo.data.base import Sample
from fusionzoo.data.corrupt import DEPTH, check_severity, corrupt, severities
from fusionzoo.data.transforms import DRAWS, TrainTransform
from fusionzoo.errors import InputError

__all__ = ["Augment"]

SEEDS = 1 << 24
"""Seeds that one random number in [0, 1) of 24 bits can name."""


@dataclass
class Augment:
    """`transform`, then corruptions of the crop: a function of the sample and of the random numbers given.

    Args:
        transform: see `train_transform`.
        corruptions: name in `CORRUPTIONS` -> greatest severity; each image draws its own between 0 and that (whole
            numbers for pixels).
        x_kind: of the data; see `fusionzoo.data.corrupt`.

    Raises:
        UnknownNameError: no such corruption.
        InputError: one that makes no sense for this kind of x, or whose severity does not grow from 0.

    >>> import torch
    >>> sample = {"rgb": torch.zeros(3, 32, 32, dtype=torch.uint8), "x": torch.ones(1, 32, 32),
    ...           "label": torch.zeros(32, 32, dtype=torch.long), "id": "a"}
    >>> augment = Augment(TrainTransform((32, 32), (32, 32)), {"holes_x": 0.5})
    >>> holes = augment(sample, [0.0] * DRAWS + [0.5, 0.1])["x"] == 0
    >>> float(holes.float().mean())
    0.25
    """

    transform: TrainTransform
    corruptions: Mapping[str, float] = field(default_factory=dict)
    x_kind: str = "depth"

    def __post_init__(self) -> None:
        if self.transform.depth_scale and self.x_kind not in DEPTH:
            raise InputError(f"depth_scale is for depth in metres, not for {self.x_kind}; leave it out")
        for name, most in self.corruptions.items():
            check_severity(name, most, self.x_kind)
            if self._unit(name).startswith("values"):
                raise InputError(f"corruption {name!r} has no severity that grows from 0; take quantise_x")

    @property
    def draws(self) -> int:
        """Random numbers that one sample takes."""
        return DRAWS + 2 * len(self.corruptions)

    def __call__(self, sample: Sample, draw: Sequence[float]) -> Sample:
        """The sample augmented; `draw`: `draws` numbers in [0, 1)."""
        sample = self.transform(sample, draw[:DRAWS])
        pairs = zip(draw[DRAWS::2], draw[DRAWS + 1 :: 2], strict=True)
        for (name, most), (share, seed) in zip(self.corruptions.items(), pairs, strict=True):
            severity = float(int(share * (most + 1))) if self._unit(name).startswith("pixels") else share * most
            sample = corrupt(sample, name, severity, x_kind=self.x_kind, seed=int(seed * SEEDS))
        return sample

    def _unit(self, name: str) -> str:
        found = severities(name, self.x_kind)
        return "" if found is None else found[0]
