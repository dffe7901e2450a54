"""Which concepts two streams share and which are specific to one: consistency and specificity.

The rule, for each concept, from its set IoU in the rgb and in the x stream on held-out images:

1. Gain: IoU above that of marking every position (`chance`), which a stream without the concept reaches as well.
2. A stream encodes the concept when its gain is above `LEAST`, above `ERRORS` jackknife standard errors, and above its
   noise: what the same representation differs by between detectors trained on two halves of the images. Two halves
   give one draw per concept, so the mean over concepts counts where it is the larger.
3. Neither stream encodes it: "unencoded".
4. The difference is real when it is above `ERRORS` standard errors of the difference (the same images left out of
   both) and above the noise of both streams. Specific to one stream: the difference is real, and the other's gain is
   less than `SPECIFIC` of it.
5. Consistent: both encode it, and the smaller gain is at least `SPECIFIC` of the larger.
6. What is left is "undecided".

The fused representation gains a concept when it encodes it better than the better stream, loses it when worse, again
by more than `ERRORS` standard errors of that difference and the noise of all three, and by more than `LEAST`.

So a concept that both streams show, one somewhat better, is consistent, however small the errors on a large data set.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fusionzoo.dissect.measures.base import STREAMS, Done, Measure, Measured, Metric, Setup, number
from fusionzoo.dissect.measures.concepts import FITS, at_thresholds, stage_curves
from fusionzoo.metrics import ConceptCurve, jackknife
from fusionzoo.metrics.concepts.curve import iou_curve

__all__ = ["ERRORS", "LEAST", "METRIC", "SPECIFIC", "Specificity", "StageSpecificity", "agreement", "fill_fused"]

ERRORS = 2.0
LEAST = 0.05
"""Five points of IoU above chance."""
SPECIFIC = 0.5
"""Specific to one stream: the other reaches less than half of its gain."""


@dataclass
class StageSpecificity:
    """Which concepts the two streams of a stage share; each in one list at most.

    The rule stands at the head of this file.

    Attributes:
        consistent: encoded by both streams alike. (A concept that no held-out image shows is in no list.)
        rgb, x: specific to that stream.
        undecided: encoded, but errors and noise do not tell which of the above.
        unencoded: no better than chance in either stream.
        gained: the fused representation encodes it better than either stream. lost: worse than the better stream.
        difference: per concept, IoU of rgb minus IoU of x, and its jackknife standard error.
        chance: per concept, the set IoU of marking every position.
    """

    stage: int
    consistent: list[str]
    rgb: list[str]
    x: list[str]
    undecided: list[str] = field(default_factory=list)
    unencoded: list[str] = field(default_factory=list)
    gained: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    difference: list[Measured] = field(default_factory=list)
    chance: list[float | None] = field(default_factory=list)


def agreement(
    rgb: ConceptCurve, x: ConceptCurve, floors: Sequence[Tensor], names: Sequence[str], stage: int = 0
) -> StageSpecificity:
    """Deals the concepts to the lists of a StageSpecificity by the rule above.

    Args:
        rgb, x: curves of the full fit, over the same images and groups.
        floors: (K,) each: difference of the IoU between detectors of two halves, of rgb and of x.
        names: K names. stage: of the result.
    """
    (read_r, counts_r, absent), (read_x, counts_x, _) = at_thresholds(rgb), at_thresholds(x)

    def statistic(one: Tensor, two: Tensor) -> Tensor:
        u, v, base = read_r(one), read_x(two), iou_curve(one)[:, 0]
        return torch.stack([u - v, u - base, v - base, base])  # (4, K)

    value, error = jackknife(statistic, [counts_r, counts_x])
    value, error = (torch.where(absent, torch.nan, t) for t in (value, error))
    noise = [_noise(f) for f in floors]
    gains = value[1:3]
    encoded = [
        g > torch.maximum(ERRORS * e, n).clamp(min=LEAST) for g, e, n in zip(gains, error[1:3], noise, strict=True)
    ]
    real = value[0].abs() > torch.maximum(ERRORS * error[0], torch.maximum(*noise))
    found = StageSpecificity(stage, [], [], [])
    for k, name in enumerate(names):
        high, low = (float(t) for t in (gains[:, k].max(), gains[:, k].min()))
        if not bool(encoded[0][k] | encoded[1][k]):
            kind = found.unencoded
        elif bool(real[k]) and low < SPECIFIC * high:
            kind = found.rgb if value[0, k] > 0 else found.x
        elif bool(encoded[0][k] & encoded[1][k]) and low >= SPECIFIC * high:
            kind = found.consistent
        else:
            kind = found.undecided
        if not bool(absent[k]):
            kind.append(name)
    found.difference = [Measured(number(v), number(e)) for v, e in zip(value[0], error[0], strict=True)]
    found.chance = [number(v) for v in value[3]]
    return found


def fill_fused(
    found: StageSpecificity, curves: Sequence[ConceptCurve], floors: Sequence[Tensor], names: Sequence[str]
) -> None:
    """Sets `gained` and `lost`. `curves`, `floors`: of rgb, x and the fused representation, as for `agreement`."""
    reads, counts, absent = zip(*(at_thresholds(c) for c in curves), strict=True)

    def statistic(*sums: Tensor) -> Tensor:
        rgb, x, fused = (read(c) for read, c in zip(reads, sums, strict=True))
        return fused - torch.maximum(rgb, x)

    value, error = jackknife(statistic, counts)
    bound = torch.stack([_noise(f) for f in floors]).amax(0)
    bound = torch.maximum(bound, ERRORS * error).clamp(min=LEAST)
    clear = (value.abs() > bound) & ~absent[0]
    found.gained = [name for k, name in enumerate(names) if clear[k] and value[k] > 0]
    found.lost = [name for k, name in enumerate(names) if clear[k] and value[k] < 0]


def _noise(floor: Tensor) -> Tensor:
    return torch.maximum(floor.abs(), floor.abs().nanmean())


@dataclass
class Specificity:
    """Consistent and specific concepts, stage by stage."""

    stages: list[StageSpecificity]


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    return []  # it is read off the concept curves


def compute(done: Done, results: Mapping[str, Any]) -> Specificity | None:
    names, found = done.setup.concept_names, []
    for stage in sorted(done.setup.stages):
        curves = stage_curves(done, stage)
        if "rgb" not in curves or "x" not in curves:
            continue
        iou = {s: [curves[s][fit].compute().iou for fit in FITS[1:]] for s in curves}
        halves = [iou[s][0] - iou[s][1] for s in ("rgb", "x")]
        made = agreement(curves["rgb"]["full"], curves["x"]["full"], halves, names, stage)
        if "fused" in curves:
            halves.append(iou["fused"][0] - iou["fused"][1])
            fill_fused(made, [curves[s]["full"] for s in STREAMS], halves, names)
        found.append(made)
    return Specificity(found) if found else None


METRIC = Metric("specificity", (), Specificity, plan, compute)
