"""Semantic variance: how differently two representations encode the same concepts.

For each concept c, IoU_c(u) and IoU_c(v) are the set IoUs of a linear concept detector on the two representations
(concepts.py). The differences are integrated over concepts into one number. Published descriptions (Chen et al. 2023,
arXiv 2308.10019) do not fix that last step for us: the default, the mean absolute difference, is OUR READING, and the
reducer is a parameter. A method of this kind is claimed by US patent 12,283,082 B1.

Compare a value with its noise floor, the semantic variance of one representation with itself when its detectors are
trained on disjoint halves of the images: below the floor there is no signal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics.base import MetricInfo

__all__ = ["INFO", "REDUCERS", "semantic_variance"]

Reducer = Callable[[Tensor, Tensor], Tensor]

REDUCERS: dict[str, Reducer] = {
    "mean_abs": lambda delta, w: (w * delta.abs()).sum() / w.sum(),
    "mean_sq": lambda delta, w: (w * delta.square()).sum() / w.sum(),
    "sum_abs": lambda delta, w: (w * delta.abs()).sum(),
    "mean_signed": lambda delta, w: (w * delta).sum() / w.sum(),
}

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
        reducer: "mean_abs" (default), "mean_sq", "sum_abs", "mean_signed", or a function of the differences u - v and
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
