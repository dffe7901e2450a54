"""Models that leave the laboratory: ONNX and torch.export files that run without fusionzoo, checked against PyTorch."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

from fusionzoo.export.compare import Comparison, Loss
from fusionzoo.export.graph import Shapes
from fusionzoo.export.run import Export, export

__all__ = ["Comparison", "Export", "Loss", "Shapes", "export"]


class _Package(ModuleType):
    """`fusionzoo.export(...)` calls the function, as `fusionzoo.dissect` does: the package has its name."""

    __call__ = staticmethod(export)
    __signature__ = property(lambda self: inspect.signature(export))


sys.modules[__name__].__class__ = _Package
