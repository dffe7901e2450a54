"""Semantic variance: how differently two representations encode the same concepts.

For each concept c, IoU_c(u) and IoU_c(v) are the set IoUs of a linear concept detector on the two representations
(concepts.py). The differences are integrated over concepts into one number. Published descriptions (Chen et al. 2023,
arXiv 2308.10019) do not fix that last step for us: the default, the mean absolute difference, is OUR READING, and the
reducer is a parameter. A method of this kind is claimed by US patent 12,283,082 B1.

Compare a value with its noise floor, the semantic variance of one representation with itself when its detectors are
trained on disjoint halves of the images: below the floor there is no signal. Errors come from leaving out one image
group at a time, of both representations together (`compare_curves`): what makes a group hard for both cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.concepts.curve import ConceptCurve, iou_curve
from fusionzoo.metrics.stats.resample import jackknife

__all__ = [
    "INFO",
    "REDUCERS",
    "ConceptDifference",
    "VarianceScore",
    "compare_curves",
    "semantic_variance",
    "semantic_variance_matrix",
]

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
    name="semantic variance",
    low=0.0,
    high=1.0,
    larger_is="more different",
    invariant_to=("order of concepts",),
    cost="O(K)",
    source="our reading of Chen et al. 2023, arXiv 2308.10019: mean |IoU_c(u) - IoU_c(v)|; range: the default reducer",
)


def semantic_variance(
    iou_u: Tensor | Sequence[float],
    iou_v: Tensor | Sequence[float],
    reducer: str | Reducer = "mean_abs",
    weights: Tensor | Sequence[float] | None = None,
) -> float:
    """Integrates the per-concept differences of set IoU into one number.

    Args:
        iou_u, iou_v: (K,) set IoU per concept of the two representations, 0 to 1; NaN concepts are left out of both.
        reducer: a name in REDUCERS ("mean_abs" by default), or a function of the differences u - v and
            the weights, both (K',) float64, that returns a scalar tensor.
        weights: (K,) non-negative weight per concept; equal when None.

    Returns:
        The value; NaN when no concept is left.

    Raises:
        InputError: lengths differ, or weights are negative. UnknownNameError: unknown reducer.

    >>> semantic_variance([0.5, 0.2, float("nan")], [0.25, 0.45, 0.9])
    0.25
    """
    u = torch.as_tensor(iou_u, dtype=torch.float64)
    v = torch.as_tensor(iou_v, dtype=torch.float64)
    w = torch.ones_like(u) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    if u.ndim != 1 or u.shape != v.shape or u.shape != w.shape:
        raise InputError(f"one IoU and weight per concept: got {tuple(u.shape)}, {tuple(v.shape)} and {tuple(w.shape)}")
    if bool((w < 0).any()):
        raise InputError("weights must not be negative")
    if isinstance(reducer, str):
        if reducer not in REDUCERS:
            raise unknown("semantic variance reducer", reducer, REDUCERS)
        reducer = REDUCERS[reducer]
    keep = ~(u.isnan() | v.isnan()) & (w > 0)
    if not bool(keep.any()):
        return float("nan")
    return float(reducer((u - v)[keep], w[keep]))


def semantic_variance_matrix(
    iou: Tensor, reducer: str | Reducer = "mean_abs", weights: Tensor | Sequence[float] | None = None
) -> Tensor:
    """Semantic variance of all pairs of P representations.

    Args:
        iou: (P, K) set IoU per representation and concept; NaN concepts are left out pair by pair.

    Returns:
        (P, P) float64, row u, column v; antisymmetric for "mean_signed", symmetric for the other named reducers.

    >>> semantic_variance_matrix(torch.tensor([[0.5, 0.25], [0.25, 0.5]], dtype=torch.float64))[0, 1].item()
    0.25
    """
    if iou.ndim != 2:
        raise InputError(f"iou must be (P, K), got {tuple(iou.shape)}")
    rows = [[semantic_variance(u, v, reducer, weights) for v in iou] for u in iou]
    return torch.tensor(rows, dtype=torch.float64)


@dataclass(frozen=True)
class VarianceScore:
    """Semantic variance of two representations by one reducer.

    Attributes:
        reducer: its name. value: the semantic variance.
        se: jackknife standard error over image groups; NaN with fewer than 2 groups.
        low, high: value -+ z se.
        floor: the largest semantic variance, by the same reducer, of one representation with itself (detectors from
            disjoint halves); None where none was measured.
        signal: whether the value, less z standard errors where these are known, is above the floor in absolute value;
            False where no floor was measured.
    """

    reducer: str
    value: float
    se: float
    low: float
    high: float
    floor: float | None
    signal: bool


@dataclass(frozen=True)
class ConceptDifference:
    """Set IoU of two representations, concept by concept, and their semantic variance by every reducer.

    Attributes:
        delta: (K,) float64 IoU of u minus IoU of v; NaN for absent concepts.
        se: (K,) jackknife standard error of `delta`, both representations losing the same image group.
        floor: (K,) largest |IoU difference| of one of the two with itself; NaN where none was measured.
        signal: (K,) bool, |delta| less z standard errors is above the floor (False without one).
        variance: reducer -> score. concepts: that have an IoU in both. z: standard errors asked for.
    """

    delta: Tensor
    se: Tensor
    floor: Tensor
    signal: Tensor
    variance: dict[str, VarianceScore]
    concepts: int
    z: float


def _beyond(value: Tensor, se: Tensor, floor: Tensor, z: float) -> Tensor:
    return value.abs() - z * se.nan_to_num(0) > floor  # False where the floor or the value is NaN


def compare_curves(
    u: ConceptCurve,
    v: ConceptCurve,
    halves: Sequence[tuple[ConceptCurve, ConceptCurve]] = (),
    reducers: Mapping[str, Reducer] | None = None,
    weights: Tensor | Sequence[float] | None = None,
    z: float = 1.96,
) -> ConceptDifference:
    """Compares two representations over the same evaluation images, with errors and the noise floor.

    Thresholds stay as calibrated on the train halves, as in `ConceptScores.iou_se`.

    Args:
        u, v: curves with the same concepts, bins and image groups.
        halves: for u, for v or for both: curves of the same representation with detectors from disjoint train halves.
        reducers: REDUCERS when None.
        weights: (K,) non-negative weight per concept; equal when None.

    Raises:
        InputError: the curves differ in concepts, bins or groups.

    >>> u, v = ConceptCurve(1, groups=2), ConceptCurve(1, groups=2)
    >>> mask = torch.tensor([[[[False, False, True, True]]]])
    >>> for group in (0, 1):
    ...     for train in (True, False):
    ...         u.update(torch.tensor([[[[0.0, 0.0, 9.0, 9.0]]]]), mask, train=train, group=group)
    ...         v.update(torch.tensor([[[[0.0, 9.0, 9.0, 9.0]]]]), mask, train=train, group=group)
    >>> result = compare_curves(u, v)
    >>> round(float(result.delta[0]), 4), round(result.variance["mean_sq"].value, 4)
    (0.3333, 0.1111)
    """
    curves = [u, v, *(c for pair in halves for c in pair)]
    if any(c._config() != u._config() for c in curves):
        raise InputError("curves must share concepts, bins, groups and images: build them with the same choices")
    reducers = dict(REDUCERS) if reducers is None else dict(reducers)
    best, hidden, counts = [], torch.zeros(u.concepts, dtype=torch.bool), []
    for curve in (u, v):
        state = curve.state_dict()
        best.append(iou_curve(state["counts"][0]).nan_to_num(-1).argmax(1, keepdim=True))
        hidden |= (state["images"][0] == 0) | (state["images"][1:].sum(0) == 0)
        counts.append(state["counts"][1:])

    def statistic(*totals: Tensor) -> Tensor:
        one, two = (iou_curve(t).gather(1, b)[:, 0] for t, b in zip(totals, best, strict=True))
        one, two = one.masked_fill(hidden, torch.nan), two.masked_fill(hidden, torch.nan)
        made = [semantic_variance(one, two, r, weights) for r in reducers.values()]
        return torch.cat([one - two, torch.tensor(made, dtype=torch.float64)])

    value, se = jackknife(statistic, counts)
    k = u.concepts
    pairs = [(a.compute().iou, b.compute().iou) for a, b in halves]
    floor = torch.full((k,), torch.nan, dtype=torch.float64)
    if pairs:
        gaps = torch.stack([(a - b).abs() for a, b in pairs])
        floor = gaps.nan_to_num(-1).amax(0)
        floor = torch.where(floor < 0, torch.nan, floor)
    variance = {}
    for i, (name, reducer) in enumerate(reducers.items()):
        number, error = float(value[k + i]), float(se[k + i])
        floors = [abs(semantic_variance(a, b, reducer, weights)) for a, b in pairs]
        bound = max((f for f in floors if f == f), default=None)
        slack = z * error if error == error else 0.0
        signal = bound is not None and abs(number) - slack > bound
        variance[name] = VarianceScore(name, number, error, number - z * error, number + z * error, bound, signal)
    delta = value[:k]
    return ConceptDifference(
        delta=delta,
        se=se[:k],
        floor=floor,
        signal=_beyond(delta, se[:k], floor, z),
        variance=variance,
        concepts=int((~delta.isnan()).sum()),
        z=z,
    )
