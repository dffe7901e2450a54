"""Consistency and specificity: concepts that two streams share, that one has alone, that fusion gains and loses.

The rule, for each concept, from its set IoU in the rgb and in the x stream on evaluation images:

1. Gain: IoU above that of marking every position (`chance`), which a stream without the concept reaches as well.
2. A stream encodes the concept when its gain is above `LEAST`, above `ERRORS` jackknife standard errors, and above its
   noise: what the same representation differs by between detectors trained on two halves of the images. Two halves
   give one draw per concept, so the mean over concepts counts where it is the larger.
3. Neither stream encodes it: "unencoded".
4. The difference is real when it is above `ERRORS` standard errors of the difference (the same images left out of
   both) and above the noise of both streams. Specific to one stream: the difference is real, and the other's gain is
   less than `SPECIFIC` of it.
5. Consistent: both encode it, and the smaller gain is at least `SPECIFIC` of the larger.
6. What is left is "undecided". A concept that either part of the images lacks is "absent".

The fused representation gains a concept when it encodes it better than the better stream, loses it when worse, again
by more than `ERRORS` standard errors of that difference and the noise of all three, and by more than `LEAST`.

These are rules of ours; they turn IoU with errors into words and nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.concepts.curve import ConceptCurve, iou_curve
from fusionzoo.metrics.stats.resample import jackknife

__all__ = ["FUSED_ROLES", "ROLES", "ConceptRoles", "concept_roles", "fused_roles"]

ERRORS = 2.0
LEAST = 0.05
SPECIFIC = 0.5

ROLES = ("consistent", "rgb", "x", "undecided", "unencoded", "absent")
FUSED_ROLES = ("gained", "lost", "kept", "absent")

INFO = MetricInfo(
    name="consistent and specific concepts (difference of set IoU)", low=-1.0, high=1.0,
    larger_is="more specific to rgb", invariant_to=("order of images",), cost="O(groups K bins)",
    source="our rule on set IoU, jackknife errors and noise floor",
)  # fmt: skip


@dataclass(frozen=True)
class ConceptRoles:
    """What two streams share of K concepts.

    Attributes:
        roles: K names of ROLES; "rgb" and "x": specific to it.
        difference: (K,) float64 IoU of rgb minus IoU of x, NaN where absent. error: (K,) its jackknife standard error.
        chance: (K,) IoU of marking every position.
    """

    roles: tuple[str, ...]
    difference: Tensor
    error: Tensor
    chance: Tensor


def concept_roles(rgb: ConceptCurve, x: ConceptCurve, floors: Sequence[Tensor]) -> ConceptRoles:
    """The role of every concept by the rule at the head of this file.

    Args:
        rgb, x: curves over the same images and groups.
        floors: (K,) each, of rgb and of x: difference of the IoU between detectors of two halves; NaN where unknown.

    >>> curves = ConceptCurve(1, groups=2), ConceptCurve(1, groups=2)
    >>> masks = torch.tensor([[[[False] * 7 + [True]]]])
    >>> for curve, scores in zip(curves, (torch.arange(8.0), torch.zeros(8)), strict=True):
    ...     for train, group in ((True, 0), (False, 0), (False, 1)):
    ...         curve.update(scores.view(1, 1, 1, 8), masks, train=train, group=group)
    >>> concept_roles(*curves, [torch.zeros(1)] * 2).roles
    ('rgb',)
    """
    (read_r, counts_r, absent), (read_x, counts_x, _) = rgb.at_thresholds(), x.at_thresholds()

    def statistic(one: Tensor, two: Tensor) -> Tensor:
        u, v, base = read_r(one), read_x(two), iou_curve(one)[:, 0]
        return torch.stack([u - v, u - base, v - base, base])  # (4, K)

    value, error = (torch.where(absent, torch.nan, t) for t in jackknife(statistic, [counts_r, counts_x]))
    noise = [_noise(f) for f in floors]
    gains = value[1:3]
    encoded = [
        g > torch.maximum(ERRORS * e, n).clamp(min=LEAST) for g, e, n in zip(gains, error[1:3], noise, strict=True)
    ]
    real = value[0].abs() > torch.maximum(ERRORS * error[0], torch.maximum(*noise))
    high, low = gains.amax(0), gains.amin(0)
    roles = []
    for k in range(len(absent)):
        if absent[k]:
            roles.append("absent")
        elif not (encoded[0][k] or encoded[1][k]):
            roles.append("unencoded")
        elif real[k] and low[k] < SPECIFIC * high[k]:
            roles.append("rgb" if value[0, k] > 0 else "x")
        elif encoded[0][k] and encoded[1][k] and low[k] >= SPECIFIC * high[k]:
            roles.append("consistent")
        else:
            roles.append("undecided")
    return ConceptRoles(tuple(roles), value[0], error[0], value[3])


def fused_roles(rgb: ConceptCurve, x: ConceptCurve, fused: ConceptCurve, floors: Sequence[Tensor]) -> tuple[str, ...]:
    """What becomes of every concept in the fused representation: K names of FUSED_ROLES, by the rule of this file.

    Args:
        rgb, x, fused: curves over the same images and groups.
        floors: as for `concept_roles`, of all three.
    """
    reads, counts, absent = zip(*(curve.at_thresholds() for curve in (rgb, x, fused)), strict=True)

    def statistic(*sums: Tensor) -> Tensor:
        rgb, x, fused = (read(c) for read, c in zip(reads, sums, strict=True))
        return fused - torch.maximum(rgb, x)

    value, error = jackknife(statistic, counts)
    bound = torch.stack([_noise(f) for f in floors]).amax(0)
    bound = torch.maximum(bound, ERRORS * error).clamp(min=LEAST)
    names = []
    for k in range(len(value)):
        change = "gained" if value[k] > bound[k] else "lost" if -value[k] > bound[k] else "kept"
        names.append("absent" if absent[0][k] else change)
    return tuple(names)


def _noise(floor: Tensor) -> Tensor:
    return torch.maximum(floor.abs(), floor.abs().nanmean())
