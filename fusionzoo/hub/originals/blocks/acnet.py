"""ACNet's gate pair, called as the original is (github.com/anheidelonghu/ACNet; no licence stated)."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.acnet import ACNet
from fusionzoo.hub.originals.port import Block, Make, View

GATE_PAIR = {"atten_rgb.1": "excite_rgb", "atten_depth.1": "excite_x"}
VIEWS = {"atten_rgb": View("gate_rgb"), "atten_depth": View("gate_x")}


def _call(block: ACNet, rgb: Tensor, depth: Tensor, merged: Tensor) -> Tensor:
    return merged + block(rgb, depth).fused


BLOCKS: dict[str, Make] = {
    # (rgb, depth, merged) -> merged + both gated
    "acnet_acm": lambda c: Block(ACNet(c("num_channel")), GATE_PAIR, _call, VIEWS),
}
