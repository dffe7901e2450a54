"""Concepts without labels: what the two streams of a stage share and what each has alone, by a dictionary of both.

The features of a sample of positions (`fusionzoo.metrics.concepts.dictionary`), images alike and evenly spread over
each. Of several modalities x is what they are merged to. A second fit from another seed says which elements are found
again. Measured only when asked for: with the second fit about a second of CPU time a stage, a fifth of a check of 64
small images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionzoo.dissect.measures.base import Batch, Done, Measure, Metric, Setup, number, thinned
from fusionzoo.errors import InputError
from fusionzoo.metrics import RowSample
from fusionzoo.metrics.concepts import FEWEST_POSITIONS, match, shared_dictionary

__all__ = ["FOUND_AGAIN", "METRIC", "Dictionary", "Element", "Place", "StageDictionary"]

POSITIONS = 4096
"""Most positions of a stage that are kept, of all images together ..."""
BYTES = 32 << 20
"""... and most memory for them: wide stages keep fewer."""
FROM_IMAGE = 256
"""Most positions of an image that may be drawn."""
PLACES = 6
"""Images that show an element, each at the position where its code is largest."""
FOUND_AGAIN = 0.8
"""Correlation from which on an element of another fit counts as the same."""
ACTIVE = 1.0
"""Code, in standard deviations, from which on an element is there at a position."""
_STEPS = 4096  # a place is kept in steps of this part of an image


@dataclass(frozen=True)
class Positions(Measure):
    """Features of rgb and x of a stage at a sample of positions."""

    kind: ClassVar[str] = "positions"

    def make(self, done: Done) -> RowSample:
        wide = 8 * sum(done.setup.points[p].channels for p in self.points)
        return RowSample(self.points, max(FEWEST_POSITIONS, min(POSITIONS, BYTES // wide)))

    def hear(self, sums: Any, batch: Batch, point: str, value: Tensor) -> None:
        rows, columns = (_middles(n, covered) for n, covered in zip(value.shape[2:], batch.source.extent, strict=True))
        where = rows[:, None] * _STEPS + columns  # (H, W)
        batch.shared[self.key] = thinned(batch.inside(where[None, None]), FROM_IMAGE).flatten()
        batch.shared[self.key, point] = thinned(batch.inside(value), FROM_IMAGE)

    def finish(self, sums: RowSample, batch: Batch) -> None:
        rows = [batch.shared[self.key, p].permute(0, 2, 3, 1).flatten(0, 2) for p in self.points]  # (B P, C) each
        images = torch.tensor(batch.places)
        keys = images[:, None] * _STEPS**2 + batch.shared[self.key]
        sums.update(keys.flatten().to(rows[0].device), *rows)


def _middles(count: int, covered: float) -> Tensor:
    """Of `count` cells along a side of a map, in steps of the image; the map covers so many images' sides."""
    return ((torch.arange(count) + 0.5) / count * covered * _STEPS).long()


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if "dictionary" not in wanted:
        return []
    if not setup.compared():
        raise InputError("a dictionary needs a stage with maps of rgb and of x of one size, here is none; leave it out")
    return [Positions(points[:2]) for points in setup.compared().values()]


# ------------------------------------------------------------------------------------------------------ what it becomes


@dataclass
class Place:
    """A position: `image` is the number of an image in the data, `top`, `left` its centre as shares of the image."""

    image: int
    top: float
    left: float


@dataclass
class Element:
    """An element of a dictionary, see `fusionzoo.metrics.concepts.SharedDictionary`.

    Attributes:
        kind: whose it is: "shared", "rgb", "x" or "mixed".
        rgb, x: share of its code's variance that the stream alone tells, 0..1.
        energy_rgb, energy_x: share of the stream's variance that it holds, 0..1.
        active: share of the positions at which its code is above 1 standard deviation.
        again: the largest |correlation| of its code with one of a second fit, 0..1.
        places: where its code is largest, one position an image, the largest first.
    """

    kind: str
    rgb: float
    x: float
    energy_rgb: float
    energy_x: float
    active: float
    again: float
    places: list[Place] = field(default_factory=list)


@dataclass
class StageDictionary:
    """Of one stage. `n`: positions. `elements`: those that hold most variance first.

    `held_rgb`, `held_x`: share of each stream's variance that all of them hold. `dead`: elements that are active
    nowhere.
    """

    stage: int
    n: int
    elements: list[Element]
    held_rgb: float | None
    held_x: float | None
    dead: int = 0


@dataclass
class Dictionary:
    """What the streams share and what each has alone, stage by stage."""

    stages: list[StageDictionary] = field(default_factory=list)


def compute(done: Done, results: Mapping[str, Any]) -> Dictionary | None:
    found = []
    for stage, points in sorted(done.setup.compared().items()):
        sums = done.get(Positions(points[:2]))
        if sums is not None and len(sums.keys) >= FEWEST_POSITIONS:
            found.append(_stage(stage, sums, done.setup))
    return Dictionary(found) if found else None


def _stage(stage: int, sums: RowSample, setup: Setup) -> StageDictionary:
    keys, (rgb, x) = sums.keys.cpu(), [rows.cpu() for rows in sums.compute().values()]
    made, other = (shared_dictionary(rgb, x, seed=seed) for seed in (0, 1))
    code = made.code(rgb, x)
    again, active = match(code, other.code(rgb, x)), (code > ACTIVE).double().mean(0)
    columns = torch.stack([made.r2_rgb, made.r2_x, made.energy_rgb, made.energy_x, active, again], 1).tolist()  # (K, 6)
    elements = [
        Element(kind, rgb, x, energy_rgb, energy_x, share, found, _places(keys, code[:, i], setup))
        for i, (kind, (rgb, x, energy_rgb, energy_x, share, found)) in enumerate(zip(made.kinds, columns, strict=True))
    ]
    held = number(made.energy_rgb.sum()), number(made.energy_x.sum())
    return StageDictionary(stage, made.n, elements, *held, int((active == 0).sum()))


def _places(keys: Tensor, code: Tensor, setup: Setup) -> list[Place]:
    """Where a code (n,) is largest and active, one position an image."""
    found: dict[int, Place] = {}
    for i in code.argsort(descending=True, stable=True).tolist():
        if len(found) == PLACES or float(code[i]) <= ACTIVE:
            break
        place, at = divmod(int(keys[i]), _STEPS**2)
        top, left = divmod(at, _STEPS)
        found.setdefault(place, Place(setup.images[place], round(top / _STEPS, 4), round(left / _STEPS, 4)))
    return list(found.values())


METRIC = Metric("dictionary", ("dictionary?",), Dictionary, plan, compute)
