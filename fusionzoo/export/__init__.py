"""Models that leave the laboratory: ONNX and torch.export files that run without fusionzoo, checked against PyTorch."""

from __future__ import annotations

from fusionzoo.export.compare import Comparison, Loss
from fusionzoo.export.graph import Shapes
from fusionzoo.export.run import Export, export
from fusionzoo.packages import callable_as

__all__ = ["Comparison", "Export", "Loss", "Shapes", "export"]

callable_as(__name__, export)
