"""How a number moves over levels, over training or over the strength of a corruption: slope, order, and what is kept.

A curve is values y_t at positions t (level, step, severity) with standard errors. Its trend is the weighted least
squares slope (weights 1 / se^2 where all errors are known, else equal) and Spearman's rank correlation with t.
Retention of a corrupted score: the area under y / y_0 over the severities, by the trapezium rule, over their range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.stats.ranks import spearman

__all__ = ["INFO", "Retention", "Trend", "retention", "trend"]

INFO: dict[str, MetricInfo] = {
    "trend": MetricInfo(
        "trend", None, None, "rises faster", ("adding a constant to all scores",), "O(T)", "weighted least squares"
    ),
    "retention": MetricInfo(
        "retention under corruption",
        0.0,
        None,
        "more robust",
        ("isotropic scaling of all scores",),
        "O(T)",
        "trapezium rule; relative score as in Hendrycks and Dietterich 2019",
    ),
}


@dataclass(frozen=True)
class Trend:
    """Slope and order of a curve.

    Attributes:
        slope: per unit of position.
        se: its standard error, from the given errors, else from the residuals; NaN with fewer than 3 points and no
            errors.
        rank: Spearman's correlation of value and position, -1 to 1.
        direction: "rises", "falls" or "no trend" (the slope is within z standard errors of 0).
        n: points that count.
    """

    slope: float
    se: float
    rank: float
    direction: str
    n: int


def _numbers(values: Sequence[float] | Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).flatten()


def trend(
    positions: Sequence[float] | Tensor,
    values: Sequence[float] | Tensor,
    errors: Sequence[float] | Tensor | None = None,
    z: float = 1.96,
) -> Trend:
    """Slope and order of a curve. NaN values are left out.

    Args:
        positions, values: (T,).
        errors: (T,) standard errors, positive; None where unknown.

    >>> result = trend([0, 1, 2, 3], [0.1, 0.2, 0.3, 0.4], [0.01] * 4)
    >>> round(result.slope, 4), round(result.se, 4), result.rank, result.direction
    (0.1, 0.0045, 1.0, 'rises')
    """
    t, y = _numbers(positions), _numbers(values)
    s = None if errors is None else _numbers(errors)
    if t.shape != y.shape or (s is not None and s.shape != y.shape):
        raise InputError(f"one value per position: got {len(t)} positions and {len(y)} values")
    keep = ~(t.isnan() | y.isnan())
    t, y = t[keep], y[keep]
    if s is not None:
        s = s[keep]
        s = s if bool((s > 0).all()) else None  # zero and unknown errors cannot weigh
    nan, n = float("nan"), len(t)
    if n < 2 or float(t.std()) == 0:
        return Trend(nan, nan, nan, "no trend", n)
    w = torch.ones_like(t) if s is None else s.reciprocal().square()
    centre = (w * t).sum() / w.sum()
    spread = (w * (t - centre).square()).sum()
    mean = (w * y).sum() / w.sum()
    slope = float((w * (t - centre) * (y - mean)).sum() / spread)
    if s is not None:
        se = float(spread.rsqrt())
    elif n >= 3:
        rest = y - mean - slope * (t - centre)
        se = math.sqrt(float(rest.square().sum()) / (n - 2) / float(spread))
    else:
        se = nan
    clear = abs(slope) > z * se  # False for NaN
    return Trend(slope, se, spearman(t, y), ("rises" if slope > 0 else "falls") if clear else "no trend", n)


@dataclass(frozen=True)
class Retention:
    """What a score keeps under a corruption of rising strength.

    Attributes:
        relative: (T, ...) float64 score over the clean score.
        area: mean of `relative` over the range of severities, 1 where nothing is lost.
        half: severity at which half of the clean score is lost, by linear interpolation; NaN where never.
    """

    relative: Tensor
    area: Tensor
    half: Tensor


def retention(severity: Sequence[float] | Tensor, scores: Sequence[float] | Tensor) -> Retention:
    """Relative score, area under it, and the severity that halves it.

    Args:
        severity: (T,) rising, T >= 2; the first is the clean data.
        scores: (T, ...) score at each severity, the first positive (NaN where it is not).

    >>> result = retention([0, 1, 2], [0.8, 0.6, 0.2])
    >>> round(float(result.area), 4), float(result.half)
    (0.6875, 1.5)
    """
    t = _numbers(severity)
    y = torch.as_tensor(scores, dtype=torch.float64)
    if len(t) < 2 or len(y) != len(t) or bool((t.diff() <= 0).any()):
        raise InputError(f"need rising severities and one score each: got {t.tolist()} and {len(y)} scores")
    relative = y / torch.where(y[:1] > 0, y[:1], torch.nan)
    width = t.diff().view(-1, *[1] * (y.ndim - 1))
    area = (width * (relative[1:] + relative[:-1]) / 2).sum(0) / (t[-1] - t[0])
    half = torch.full_like(area, torch.nan)
    for i in range(len(t) - 2, -1, -1):  # the first crossing is written last
        above, below = relative[i], relative[i + 1]
        crosses = (above > 0.5) & (below <= 0.5)
        at = t[i] + (above - 0.5) / (above - below).clamp(min=1e-300) * (t[i + 1] - t[i])
        half = torch.where(crosses, at, half)
    return Retention(relative, area, half)
