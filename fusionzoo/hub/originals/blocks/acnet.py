"""ACNet and its gate pair, called as the original is (github.com/anheidelonghu/ACNet; no licence stated)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.fusion.acnet import ACNet
from fusionzoo.hub.originals.blocks import rednet
from fusionzoo.hub.originals.blocks.calls import plain
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, View, port
from fusionzoo.models import FusionModel

GATE_PAIR = {"atten_rgb.1": "excite_rgb", "atten_depth.1": "excite_x"}
VIEWS = {"atten_rgb": View("gate_rgb"), "atten_depth": View("gate_x")}


def acnet_acm(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth, merged) -> merged + both gated."""
    block = ACNet(take(ctor, "num_channel"))
    return port(block, state, GATE_PAIR, _call, VIEWS, what="acnet_acm")


def _call(block: ACNet, rgb: Tensor, depth: Tensor, merged: Tensor) -> Tensor:
    return merged + block(rgb, depth).fused


BLOCKS = {"acnet_acm": acnet_acm}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, depth) -> class scores."""
    return Port(model, plain, rednet.VIEWS, keys)
