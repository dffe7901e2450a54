"""The engine: model + probes + data -> metrics -> Dissection; over the checkpoints of a training, an Evolution."""

from __future__ import annotations

from fusionzoo.dissect.dissection import dissect
from fusionzoo.dissect.evolution import dissect_checkpoints
from fusionzoo.dissect.results import Dissection, Evolution, Protocol
from fusionzoo.packages import callable_as

__all__ = ["Dissection", "Evolution", "Protocol", "dissect", "dissect_checkpoints"]

callable_as(__name__, dissect)
