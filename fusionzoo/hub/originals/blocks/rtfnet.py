"""RTFNet, called as the original is (github.com/yuxiangsun/RTFNet, MIT)."""

from __future__ import annotations

from collections.abc import Mapping

from fusionzoo.hub.originals.blocks.calls import stacked
from fusionzoo.hub.originals.port import Port
from fusionzoo.models import FusionModel


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(x (B, 4, H, W): RGB and thermal / 255) -> class scores."""
    return Port(model, stacked, {}, keys)
