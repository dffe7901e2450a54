"""Commonality analysis: what the fused feature takes from each modality alone, and what either could give.

R2(S) is the share of the fused feature's variance that a linear map of the features in S explains (Newton and Spurrell
1967; Nimon and Oswald 2013 for its use): unique rgb = R2(rgb, x) - R2(x), unique x = R2(rgb, x) - R2(rgb),
redundant = R2(rgb) + R2(x) - R2(rgb, x), rest = 1 - R2(rgb, x). The four add up to 1. Redundant can be negative: then
the modalities explain more together than the sum of what each explains alone (suppression).

With few samples, as in view `gap`, R2 is inflated by fitting: the adjusted value is
R2a = 1 - (1 - R2)(n - 1) / (n - 1 - p) (Ezekiel 1930).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.similarity.cka import constant
from fusionzoo.metrics.similarity.matrices import ridge_r2
from fusionzoo.metrics.similarity.moments import CentredMoments

__all__ = ["Commonality", "commonality"]

INFO = MetricInfo(
    name="commonality (unique rgb, unique x, redundant)", low=None, high=1.0, larger_is="more of the fused variance",
    invariant_to=("rotation of any set", "translation", "rotation of the fused feature"),
    cost="O((C_rgb + C_x)^3) after one pass; state (C_rgb + C_x + C_fused)^2", source="Newton and Spurrell 1967",
)  # fmt: skip


@dataclass(frozen=True)
class Commonality:
    """Shares of the fused feature's variance, which add up to 1; the R2 that they are made of, `adjusted` for the
    number of channels or not; `n` samples of a view. NaN where samples do not outnumber the channels.
    """

    unique_rgb: float
    unique_x: float
    redundant: float
    rest: float
    r2_rgb: float
    r2_x: float
    r2_both: float
    n: int
    view: str
    adjusted: bool


def commonality(
    moments: CentredMoments,
    rgb: int | str = "rgb",
    x: int | str = "x",
    fused: int | str = "fused",
    *,
    ridge: float = 1e-6,
    adjusted: bool = True,
) -> Commonality:
    """Commonality analysis of `fused` on `rgb` and `x`, three points of the same moments.

    Args:
        ridge: added to the diagonal of the channels' correlation matrix, for numerical rank only.
        adjusted: correct R2 for the number of channels (counted as they are, alive or not).

    >>> from fusionzoo.metrics.similarity.moments import Moments
    >>> g = torch.Generator().manual_seed(0)
    >>> rgb, x = torch.randn(500, 2, generator=g), torch.randn(500, 2, generator=g)
    >>> moments = Moments(("rgb", "x", "fused"))
    >>> moments.update(rgb, x, 2 * rgb + x)
    >>> shares = commonality(moments.centred())
    >>> round(shares.unique_rgb, 1), round(shares.unique_x, 1), abs(round(shares.redundant, 1))
    (0.8, 0.2, 0.0)
    """
    r, d, f = moments.index(rgb), moments.index(x), moments.index(fused)
    if len({r, d, f}) != 3:
        raise InputError(f"rgb, x and fused must be three different points, got {rgb}, {x}, {fused}")
    one, two, both = (_r2(moments, f, sources, ridge, adjusted) for sources in ((r,), (d,), (r, d)))
    shares = (both - two, both - one, one + two - both, 1 - both)
    return Commonality(*shares, one, two, both, moments.n, moments.view, adjusted)


def _r2(moments: CentredMoments, target: int, sources: Sequence[int], ridge: float, adjusted: bool) -> float:
    """R2 of a point from several others together; NaN where it is constant or samples do not outnumber the channels."""
    if bool(constant(moments)[target]):
        return float("nan")
    gram, n = moments.gram, moments.n
    place = torch.arange(len(gram), device=gram.device)
    index = torch.cat([place[moments.slices[i]] for i in sources])
    p = len(index)
    if n <= p + 1:
        return float("nan")
    sxy = gram[index, moments.slices[target]]
    value = float(ridge_r2(gram[index[:, None], index], sxy, moments.norm[target], ridge))
    return 1 - (1 - value) * (n - 1) / (n - 1 - p) if adjusted else value
