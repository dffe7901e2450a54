"""The engine: model + probes + data -> metrics -> Dissection; over the checkpoints of a training, an Evolution."""

from __future__ import annotations

from fusionzoo.dissect.engine import dissect
from fusionzoo.dissect.evolve import dissect_checkpoints
from fusionzoo.dissect.results import Dissection, Evolution

__all__ = ["Dissection", "Evolution", "dissect", "dissect_checkpoints"]
