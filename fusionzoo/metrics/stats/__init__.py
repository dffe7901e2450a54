"""Statistics that every measure stands on: resampling over groups, streaming quantiles, rank correlation."""

from __future__ import annotations

from fusionzoo.metrics.stats.ranks import spearman
from fusionzoo.metrics.stats.resample import Grouped, Interval, bootstrap, jackknife
from fusionzoo.metrics.stats.sketch import Quantiles

__all__ = [
    "Grouped",
    "Interval",
    "Quantiles",
    "bootstrap",
    "jackknife",
    "spearman",
]
