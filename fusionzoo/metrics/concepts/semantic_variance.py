"""Semantic variance: how differently two representations encode the same concepts.

For each concept c, IoU_c(u) and IoU_c(v) are the set IoUs of a linear concept detector on the two representations
(statistics.py). The differences are integrated over concepts into one number. Published descriptions (Chen et al. 2023,
arXiv 2308.10019) do not fix that last step for us: the default, the mean absolute difference, is OUR READING, and the
reducer is a parameter. A method of this kind is claimed by US patent 12,283,082 B1.

Compare a value with its noise floor, the semantic variance of one representation with itself when its detectors are
trained on disjoint halves of the images: below the floor there is no signal. Errors leave out one image group at a
time, of both representations together: what makes a group hard for both cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError, check_known
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.concepts.curve import ConceptCurve
from fusionzoo.metrics.stats.resample import jackknife

__all__ = ["REDUCERS", "VarianceScore", "compare_curves", "semantic_variance"]

Reducer = Callable[[Tensor, Tensor], Tensor]

REDUCERS: dict[str, Reducer] = {
    "mean_abs": lambda delta, w: (w * delta.abs()).sum() / w.sum(),
    "mean_sq": lambda delta, w: (w * delta.square()).sum() / w.sum(),
    "sum_abs": lambda delta, w: (w * delta.abs()).sum(),
    "mean_signed": lambda delta, w: (w * delta).sum() / w.sum(),
    "rms": lambda delta, w: ((w * delta.square()).sum() / w.sum()).sqrt(),
    "max_abs": lambda delta, w: delta.abs().max(),
    "median_abs": lambda delta, w: delta.abs().quantile(0.5),
    "mean_var": lambda delta, w: (w * delta.square()).sum() / w.sum() / 4,
}
"""Name -> function of the differences u - v and the weights. "max_abs" and "median_abs" use the weights only to leave
concepts out; "mean_var" is the mean over concepts of the statistical (population) variance of the two IoUs."""

INFO = MetricInfo(
    name="semantic variance", low=0.0, high=1.0, larger_is="more different", invariant_to=("order of concepts",),
    cost="O(K)",
    source="our reading of Chen et al. 2023, arXiv 2308.10019: mean |IoU_c(u) - IoU_c(v)|; range: the default reducer",
)  # fmt: skip


def semantic_variance(
    iou_u: Tensor | Sequence[float],
    iou_v: Tensor | Sequence[float],
    reducer: str | Reducer = "mean_abs",
    weights: Tensor | Sequence[float] | None = None,
) -> float:
    """Integrates the per-concept differences of set IoU into one number.

    Args:
        iou_u, iou_v: (K,) set IoU per concept of the two representations, 0 to 1; NaN concepts are left out of both.
        reducer: a name in REDUCERS, or a function of the differences u - v and the weights, both (K',) float64, that
            returns a scalar tensor.
        weights: (K,) non-negative weight per concept; equal when None.

    Returns:
        NaN when no concept is left.

    Raises:
        InputError: lengths differ, or weights are negative. UnknownNameError: unknown reducer.

    >>> semantic_variance([0.5, 0.2, float("nan")], [0.25, 0.45, 0.9])
    0.25
    """
    u, v = (torch.as_tensor(iou, dtype=torch.float64) for iou in (iou_u, iou_v))
    w = torch.ones_like(u) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    if u.ndim != 1 or u.shape != v.shape or u.shape != w.shape:
        raise InputError(f"one IoU and weight per concept: got {tuple(u.shape)}, {tuple(v.shape)} and {tuple(w.shape)}")
    if bool((w < 0).any()):
        raise InputError("weights must not be negative")
    if isinstance(reducer, str):
        check_known("semantic variance reducer", reducer, REDUCERS)
        reducer = REDUCERS[reducer]
    keep = ~(u.isnan() | v.isnan()) & (w > 0)
    if not bool(keep.any()):
        return float("nan")
    return float(reducer((u - v)[keep], w[keep]))


@dataclass(frozen=True)
class VarianceScore:
    """Semantic variance of two representations. It is a signal where |value| is above the floor.

    Attributes:
        value: NaN when no concept is in both.
        se: jackknife standard error over image groups; NaN with fewer than two.
        floor: the largest of the representations, in absolute value; NaN where it is not known of each asked for.
    """

    value: float
    se: float
    floor: float


def compare_curves(
    u: ConceptCurve,
    v: ConceptCurve,
    reducer: str | Reducer = "mean_abs",
    halves: Sequence[tuple[ConceptCurve, ConceptCurve]] = (),
) -> VarianceScore:
    """Semantic variance of two representations over the same evaluation images, with its error and its noise floor.

    Thresholds stay as calibrated on the train halves, as in `ConceptScores.iou_se`.

    Args:
        u, v: curves with the same concepts, bins and image groups.
        reducer: as for `semantic_variance`.
        halves: of u and of v: two curves of the same representation with detectors from disjoint halves of the train
            images.

    Raises:
        InputError: the curves differ in concepts, bins or groups. UnknownNameError: unknown reducer.

    >>> u, v = ConceptCurve(1, groups=2), ConceptCurve(1, groups=2)
    >>> mask = torch.tensor([[[[False, False, True, True]]]])
    >>> for group in (0, 1):
    ...     for train in (True, False):
    ...         u.update(torch.tensor([[[[0.0, 0.0, 9.0, 9.0]]]]), mask, train=train, group=group)
    ...         v.update(torch.tensor([[[[0.0, 9.0, 9.0, 9.0]]]]), mask, train=train, group=group)
    >>> round(compare_curves(u, v).value, 4), round(compare_curves(u, v, "mean_sq").value, 4)
    (0.3333, 0.1111)
    """
    if v._config() != u._config():
        raise InputError("curves must share concepts, bins, groups and images: build them with the same choices")
    (read_u, counts_u, absent_u), (read_v, counts_v, absent_v) = u.at_thresholds(), v.at_thresholds()

    def statistic(one: Tensor, two: Tensor) -> Tensor:
        one, two = (torch.where(absent_u | absent_v, torch.nan, t) for t in (read_u(one), read_v(two)))
        return torch.tensor(semantic_variance(one, two, reducer), dtype=torch.float64)

    value, se = jackknife(statistic, [counts_u, counts_v])
    floors = [abs(semantic_variance(a.compute().iou, b.compute().iou, reducer)) for a, b in halves]
    floor = float(torch.tensor(floors, dtype=torch.float64).amax()) if floors else math.nan  # amax passes NaN on
    return VarianceScore(float(value), float(se), floor)
