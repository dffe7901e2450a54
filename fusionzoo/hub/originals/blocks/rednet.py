"""RedNet, called as the original is (github.com/JindongJiang/RedNet, CC BY-NC 4.0)."""

from __future__ import annotations

from collections.abc import Mapping

from fusionzoo.hub.originals.blocks.calls import plain
from fusionzoo.hub.originals.port import Port, View
from fusionzoo.models import FusionModel

VIEWS = {f"agant{i}": View(f"decoder.skip{i + 1}") for i in range(5)}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, depth) -> class scores."""
    return Port(model, plain, VIEWS, keys)
