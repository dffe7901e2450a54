"""The engine: model + probes + data -> metrics -> Dissection."""

from __future__ import annotations

from fusionzoo.dissect.engine import dissect
from fusionzoo.dissect.results import Dissection

__all__ = ["Dissection", "dissect"]
