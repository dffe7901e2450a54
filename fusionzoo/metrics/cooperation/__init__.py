"""How modalities cooperate: contribution (Shapley), interaction, maps per pixel, commonality of variance,
partial information, failures.

It offers what its files name in `__all__`.
"""

# ruff: noqa: F403
import inspect

from fusionzoo.metrics.cooperation.commonality import *
from fusionzoo.metrics.cooperation.contribution import *
from fusionzoo.metrics.cooperation.failures import *
from fusionzoo.metrics.cooperation.modality_map import *
from fusionzoo.metrics.cooperation.pid import *
from fusionzoo.metrics.cooperation.shapley import *

__all__ = [name for name, value in vars().items() if name[0] != "_" and not inspect.ismodule(value)]
