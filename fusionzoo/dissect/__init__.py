"""The engine: model + probes + data -> metrics -> Dissection; over the checkpoints of a training, an Evolution."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

from fusionzoo.dissect.dissection import dissect
from fusionzoo.dissect.evolution import dissect_checkpoints
from fusionzoo.dissect.results import Dissection, Evolution, Protocol

__all__ = ["Dissection", "Evolution", "Protocol", "dissect", "dissect_checkpoints"]


class _Package(ModuleType):
    """`fusionzoo.dissect(...)` calls the function: the import system makes that name the package, whoever imports what
    of it first, so the package itself must be callable."""

    __call__ = staticmethod(dissect)
    __signature__ = property(lambda self: inspect.signature(dissect))


sys.modules[__name__].__class__ = _Package
