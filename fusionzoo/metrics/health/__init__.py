"""Health of channels, gates, mixtures and exchanges: dead or constant channels, saturation, effective rank.

It offers what its files name in `__all__`.
"""

# ruff: noqa: F403
import inspect

from fusionzoo.metrics.health.channels import *
from fusionzoo.metrics.health.gates import *

__all__ = [name for name, value in vars().items() if name[0] != "_" and not inspect.ismodule(value)]
