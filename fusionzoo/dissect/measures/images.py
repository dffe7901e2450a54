"""Which images to look at: chosen by rule from the accuracy of each image with both modalities and without either.

Typical is the held-out image of median accuracy; then those that a modality helps or harms most (accuracy with both
minus accuracy without it), and the worst one. Of equals the first. It rides on the passes that score the conditions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from fusionzoo.dissect.conditions import SUBSETS, Condition
from fusionzoo.dissect.measures.base import Batch, Done, Measure, Metric, Setup, number
from fusionzoo.dissect.split import HELD
from fusionzoo.metrics.segmentation import ImageAccuracy
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["CONDITIONS", "METRIC", "RULES", "Accuracy", "Chosen", "choose"]

CONDITIONS = SUBSETS[:3]
RULES = ("typical", "x helps most", "rgb helps most", "x harms most", "rgb harms most", "worst")
"""Why an image is chosen, in the order of the gallery."""
FEWEST_HELD = 4
"""With fewer held-out images the choice is among all."""


@dataclass(frozen=True)
class Accuracy(Measure):
    """Right and labelled pixels of every image."""

    kind: ClassVar[str] = "accuracy"

    def make(self, done: Done) -> ImageAccuracy:
        return ImageAccuracy(len(done.setup.images), done.setup.ignore_index)

    def predicted(self, sums: ImageAccuracy, batch: Batch, labels: Tensor, truth: Tensor) -> None:
        sums.update(labels, truth, batch.places)


@dataclass
class Chosen:
    """An image to look at.

    Attributes:
        index: its number in the data.
        why: the rules that chose it, some of RULES.
        accuracy: condition ("both", "without_rgb", "without_x") -> share of its labelled pixels that are right.
    """

    index: int
    why: list[str]
    accuracy: dict[str, float | None]


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    asked = {"segmentation", "contribution", "concept_contribution"} & set(wanted)
    # the pictures and their modality map are of rgb and one x, and of pixels
    pair = len(setup.inputs) == 2 and setup.task != CLASSIFICATION
    return [Accuracy(condition=c) for c in CONDITIONS] if asked and setup.images and pair else []


def compute(done: Done, results: Mapping[str, Any]) -> list[Chosen] | None:
    found = {c: done.get(Accuracy(condition=c)) for c in CONDITIONS}
    split = done.setup.split
    if split is None or any(sums is None for sums in found.values()):
        return None
    accuracy = {c: sums.compute() for c, sums in found.items() if sums is not None}
    held = [i for i in range(split.n) if split.role(i) == HELD]
    chosen = choose(accuracy, held if len(held) >= FEWEST_HELD else range(split.n))
    return [
        Chosen(done.setup.images[i], why, {str(c): number(values[i]) for c, values in accuracy.items()})
        for i, why in chosen.items()
    ] or None


def choose(accuracy: Mapping[Condition, Tensor], places: Sequence[int]) -> dict[int, list[str]]:
    """Number of an image in the run -> the rules that choose it, in the order of RULES.

    Args:
        accuracy: condition (both, without either) -> (n,) accuracy of each image, NaN where it has none.
        places: the images to choose from.

    >>> import torch
    >>> both, no_rgb, no_x = torch.tensor([[0.9, 0.6, 0.7], [0.2, 0.8, 0.6], [0.6, 0.5, 0.7]])
    >>> given = {Condition.BOTH: both, Condition.WITHOUT_RGB: no_rgb, Condition.WITHOUT_X: no_x}
    >>> choose(given, range(3))
    {2: ['typical'], 0: ['x helps most', 'rgb helps most'], 1: ['rgb harms most', 'worst']}
    """
    values = {c: v.tolist() for c, v in accuracy.items()}
    known = [i for i in places if all(v[i] == v[i] for v in values.values())]
    if not known:
        return {}
    both = values[Condition.BOTH]
    ranked = sorted(known, key=lambda i: (both[i], i))
    picked = {"typical": ranked[(len(ranked) - 1) // 2]}
    for stream in ("x", "rgb"):
        given = {i: both[i] - values[Condition.without(stream)][i] for i in known}
        most, least = max(known, key=lambda i: (given[i], -i)), min(known, key=lambda i: (given[i], i))
        if given[most] > 0:
            picked[f"{stream} helps most"] = most
        if given[least] < 0:
            picked[f"{stream} harms most"] = least
    picked["worst"] = ranked[0]
    found: dict[int, list[str]] = {}
    for rule in RULES:
        if rule in picked:
            found.setdefault(picked[rule], []).append(rule)
    return found


METRIC = Metric("images", (), list[Chosen], plan, compute)
