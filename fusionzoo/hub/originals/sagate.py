"""SA-Gate's block (github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch, MIT): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.sagate import SAGate
from fusionzoo.hub.originals.port import Port, View, port, take

GATE = {
    "fsp_rgb.filter.fc.0": "separate_rgb.excite.reduce",
    "fsp_rgb.filter.fc.2": "separate_rgb.excite.expand",
    "fsp_hha.filter.fc.0": "separate_x.excite.reduce",
    "fsp_hha.filter.fc.2": "separate_x.excite.expand",
    "gate_rgb": "score_rgb",
    "gate_hha": "score_x",
}
"""The original's squeeze layers are linear; ours are 1x1 convolutions (`reshape`)."""

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
