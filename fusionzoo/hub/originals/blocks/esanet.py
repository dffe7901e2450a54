"""ESANet, and ESANet's and EMSANet's SE-add, called as the original is (github.com/TUI-NICR, Apache-2.0)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.se_add import SEAdd, SEAddUniRGB
from fusionzoo.hub.originals.blocks.calls import plain
from fusionzoo.hub.originals.checkpoints.esanet import ESANET
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, View, port
from fusionzoo.models import FusionModel

EMSANET = {
    "weighting_rgb.layers.0": "excite_rgb.reduce",
    "weighting_rgb.layers.2": "excite_rgb.expand",
    "weighting_depth.layers.0": "excite_x.reduce",
    "weighting_depth.layers.2": "excite_x.expand",
}
VIEWS = {
    "se_rgb.fc": View("gate_rgb"),
    "se_rgb": View("weighted_rgb"),
    "se_depth.fc": View("gate_x"),
    "se_depth": View("weighted_x"),
}


def esanet_seadd(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth) -> fused."""
    block = SEAdd(take(ctor, "channels_in"), min_hidden=1)
    return port(block, state, ESANET, _fused, VIEWS, what="esanet_seadd")


def emsanet_se_add(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth) -> (rgb, depth), by `name`: "se-add" or "se-add-uni-rgb". The original's dictionaries, in order."""
    forms = {"se-add": SEAdd, "se-add-uni-rgb": SEAddUniRGB}
    name = take(ctor, "name")
    if name not in forms:
        raise InputError(f"EMSANet fusion {name!r} is not supported; known: {', '.join(forms)}")
    block = forms[name](take(ctor, "n_channels_in"), min_hidden=1)
    return port(block, state, EMSANET, _both, what="emsanet_se_add")


def _fused(block: SEAdd, rgb: Tensor, depth: Tensor) -> Tensor:
    return block(rgb, depth).fused


def _both(block: SEAdd, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    out = block(rgb, depth)
    return out.rgb, out.x


BLOCKS = {"esanet_seadd": esanet_seadd, "emsanet_se_add": emsanet_se_add, "emsanet_se_add_uni_rgb": emsanet_se_add}


MODEL_VIEWS = {f"se_layer{i}": View(f"stage{i + 1}.fusion.fused") for i in range(5)}
MODEL_VIEWS |= {"context_module": View("decoder.context.out")}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, depth) -> class scores."""
    return Port(model, plain, MODEL_VIEWS, keys)
