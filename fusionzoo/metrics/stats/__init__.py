"""Statistics that every measure stands on: resampling over groups, streaming quantiles, rank correlation, trends."""

from __future__ import annotations

from fusionzoo.metrics.stats.evolution import Retention, Trend, retention, trend
from fusionzoo.metrics.stats.ranks import spearman
from fusionzoo.metrics.stats.resample import Grouped, Interval, bootstrap, group_of, jackknife
from fusionzoo.metrics.stats.sketch import Quantiles

__all__ = [
    "Grouped",
    "Interval",
    "Quantiles",
    "Retention",
    "Trend",
    "bootstrap",
    "group_of",
    "jackknife",
    "retention",
    "spearman",
    "trend",
]
