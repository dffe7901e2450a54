"""Commonality analysis: what the fused feature takes from each modality alone, and what either could give.

R2(S) is the share of the fused feature's variance that a linear map of the features in S explains (Newton and Spurrell
1967; Nimon and Oswald 2013 for its use): unique rgb = R2(rgb, x) - R2(x), unique x = R2(rgb, x) - R2(rgb),
redundant = R2(rgb) + R2(x) - R2(rgb, x), rest = 1 - R2(rgb, x). The four add up to 1. Redundant can be negative: then
the modalities explain more together than the sum of what each explains alone (suppression).

In view `pix` samples are plentiful. In view `gap` they are images; with few, R2 is inflated by fitting, and the
adjusted value R2a = 1 - (1 - R2)(n - 1) / (n - 1 - p) (Ezekiel 1930) is the one to read.

For more than two modalities (`variance_shares`) each has what it alone explains, R2(all) - R2(all but it), and its
Shapley share of R2(all) (Lindeman, Merenda and Gold 1980); pairs have their interaction: above 0 they explain more
together than apart, below 0 they say the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.cooperation.shapley import interactions, shapley
from fusionzoo.metrics.similarity.cka import constant
from fusionzoo.metrics.similarity.matrices import ridge_r2
from fusionzoo.metrics.similarity.moments import CentredMoments

__all__ = ["INFO", "Commonality", "VarianceShares", "commonality", "variance_shares"]

INFO = MetricInfo(
    name="commonality (unique rgb, unique x, redundant)",
    low=None,
    high=1.0,
    larger_is="more of the fused variance",
    invariant_to=("rotation of any set", "translation", "rotation of the fused feature"),
    cost="O((C_rgb + C_x)^3) after one pass; state (C_rgb + C_x + C_fused)^2",
    source="Newton and Spurrell 1967",
)


@dataclass(frozen=True)
class Commonality:
    """Shares of the fused feature's variance; they add up to 1. NaN where samples do not outnumber the channels.

    Attributes:
        unique_rgb, unique_x, redundant, rest: the four shares.
        r2_rgb, r2_x, r2_both: the R2 they are made of.
        n: samples. view: "gap" or "pix". adjusted: whether the R2 are corrected for the number of channels.
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
    return Commonality(
        both - two, both - one, one + two - both, 1 - both, one, two, both, moments.n, moments.view, adjusted
    )


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


@dataclass(frozen=True)
class VarianceShares:
    """What several modalities explain of a fused feature's variance.

    Attributes:
        r2: frozenset of points -> R2, for every subset; 0 for the empty one.
        unique: point -> R2(all) - R2(all but it).
        shapley: point -> share of R2(all); they add up to it.
        interaction: (point, point) -> above 0 synergy, below 0 redundancy.
        rest: 1 - R2(all).
        n, view, adjusted: as in `Commonality`.
    """

    r2: dict[frozenset[str], float]
    unique: dict[str, float]
    shapley: dict[str, float]
    interaction: dict[tuple[str, str], float]
    rest: float
    n: int
    view: str
    adjusted: bool


def variance_shares(
    moments: CentredMoments,
    sources: Sequence[str],
    fused: str = "fused",
    *,
    ridge: float = 1e-6,
    adjusted: bool = True,
) -> VarianceShares:
    """Unique, Shapley and pairwise shares of `fused` that two or more points explain; 2^M regressions.

    Args:
        sources: names of the points, two or more.
        ridge, adjusted: as for `commonality`, which this equals for two.

    >>> from fusionzoo.metrics.similarity.moments import Moments
    >>> g = torch.Generator().manual_seed(0)
    >>> rgb, depth, thermal = (torch.randn(500, 2, generator=g) for _ in range(3))
    >>> moments = Moments(("rgb", "depth", "thermal", "fused"))
    >>> moments.update(rgb, depth, thermal, 2 * rgb + depth)
    >>> shares = variance_shares(moments.centred(), ("rgb", "depth", "thermal"))
    >>> {name: abs(round(value, 1)) for name, value in shares.shapley.items()}
    {'rgb': 0.8, 'depth': 0.2, 'thermal': 0.0}
    """
    index = {name: moments.index(name) for name in sources}
    target = moments.index(fused)
    if len(index) < 2 or len(index) != len(sources) or target in index.values():
        raise InputError(f"sources must be two or more different points other than {fused!r}, got {list(sources)}")
    table: dict[frozenset[str], float] = {frozenset(): 0.0}
    for size in range(1, len(index) + 1):
        for chosen in itertools.combinations(index, size):
            table[frozenset(chosen)] = _r2(moments, target, [index[name] for name in chosen], ridge, adjusted)
    whole = frozenset(index)
    values = shapley(table)
    return VarianceShares(
        r2=table,
        unique={name: table[whole] - table[whole - {name}] for name in index},
        shapley={name: float(values[name]) for name in index},
        interaction={pair: float(value) for pair, value in interactions(table).items()},
        rest=1 - table[whole],
        n=moments.n,
        view=moments.view,
        adjusted=adjusted,
    )
