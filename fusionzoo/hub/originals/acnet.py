"""ACNet and its gate pair (github.com/anheidelonghu/ACNet; no licence stated): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.fusion.acnet import ACNet
from fusionzoo.hub.originals import rednet
from fusionzoo.hub.originals.checkpoint import Source
from fusionzoo.hub.originals.port import Port, View, blank, port, take

GATE_PAIR = {"atten_rgb.1": "excite_rgb", "atten_depth.1": "excite_x"}
VIEWS = {"atten_rgb": View("gate_rgb"), "atten_depth": View("gate_x")}


def acnet_acm(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth, merged) -> merged + both gated."""
    block = ACNet(take(ctor, "num_channel"))
    return port(block, state, GATE_PAIR, _call, VIEWS, what="acnet_acm")


def _call(block: ACNet, rgb: Tensor, depth: Tensor, merged: Tensor) -> Tensor:
    return merged + block(rgb, depth).fused


BLOCKS = {"acnet_acm": acnet_acm}

TABLE = rednet.ENCODERS | rednet.DECODER | {f"layer{i}_m": f"merged_layer{i}" for i in range(1, 5)}
TABLE |= {
    f"atten_{official}_{i}.1": f"stage{i + 1}.fusion.{ours}"
    for i in range(5)
    for official, ours in (("rgb", "excite_rgb"), ("depth", "excite_x"))
}


def acnet(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, depth) -> class scores."""
    model = blank("acnet_resnet50", num_classes=take(ctor, "num_class"))
    return port(model, state, TABLE, rednet.plain, rednet.VIEWS, what="acnet")


MODELS = {"acnet": acnet}
SOURCES = {
    "acnet_resnet50": Source(
        kind="acnet",
        classes=("num_class", "out5_conv.weight"),
        licence_note="The original repository states no licence: all rights reserved, research reference only.",
        origin="github.com/anheidelonghu/ACNet",
        citation="Hu et al., ACNet, ICIP 2019, arXiv 1905.10089",
        notes="Depth in metres, mean 2.8424503515351494, deviation 0.9932836506164299. The original normalises missing"
        " depth like a value; here it becomes the mean.",
        input_size=(480, 640),
    )
}
