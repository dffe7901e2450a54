"""SA-Gate and its block, called as the original is (github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch, MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.sagate import SAGate
from fusionzoo.hub.originals.blocks.calls import plain
from fusionzoo.hub.originals.checkpoints.sagate import GATE
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, View, port
from fusionzoo.models import FusionModel

VIEWS = {
    "fsp_rgb.filter": View("separate_rgb.gate"),
    "fsp_rgb": View("separate_rgb.filtered"),
    "fsp_hha.filter": View("separate_x.gate"),
    "fsp_hha": View("separate_x.filtered"),
    "gate_rgb": View("logit_rgb"),
    "gate_hha": View("logit_x"),
    "softmax": View("attention"),
}


def sagate(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, hha) -> (rgb_out, hha_out, merge)."""
    channels = take(ctor, "in_planes")
    if take(ctor, "out_planes", default=channels) != channels:
        raise InputError(
            f"sagate: in_planes {channels} and out_planes {ctor['out_planes']} differ; only equal is defined"
        )
    block = SAGate(channels, reduction=take(ctor, "reduction", default=16), min_hidden=1)
    return port(block, state, GATE, _call, VIEWS, what="sagate", reshape=True)


def _call(block: SAGate, rgb: Tensor, hha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    out = block(rgb, hha)
    return out.rgb, out.x, out.fused


BLOCKS = {"sagate": sagate}


MODEL_VIEWS = {
    f"backbone.sagates.{i}.{path}": View(f"stage{i + 2}.fusion.{ours}")
    for i in range(4)
    for path, ours in (("0.0", "rgb_out"), ("0.1", "x_out"), ("1", "fused"))
}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, hha) -> class scores at the input size."""
    return Port(model, plain, MODEL_VIEWS, keys)
