"""MultiMAE with its ConvNeXt head, called as the original is (github.com/EPFL-VILAB/MultiMAE, CC BY-NC 4.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.hub.originals.port import Port
from fusionzoo.models import FusionModel


def _call(model: Any, rgb: Any, depth: Tensor | None = None) -> Any:
    if isinstance(rgb, Mapping):
        rgb, depth = rgb["rgb"], rgb.get("depth")
    return model(rgb, depth) if depth is not None else model.without_x(rgb)


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, depth), or one mapping with these names as the original takes them -> class scores at the input size.

    A depth that is not given has no tokens.
    """
    return Port(model, _call, {}, keys)
