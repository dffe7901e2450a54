"""Statistics that every measure stands on: resampling over groups, streaming quantiles, rank correlation.

It offers what its files name in `__all__`.
"""

# ruff: noqa: F403
import inspect

from fusionzoo.metrics.stats.ranks import *
from fusionzoo.metrics.stats.resample import *
from fusionzoo.metrics.stats.sketch import *

__all__ = [name for name, value in vars().items() if name[0] != "_" and not inspect.ismodule(value)]
