"""SA-Gate's block, called as the original is (github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch, MIT)."""

from __future__ import annotations

from fusionzoo.errors import InputError
from fusionzoo.fusion.sagate import SAGate
from fusionzoo.hub.originals.checkpoints.sagate import GATE
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, View

VIEWS = {
    "fsp_rgb.filter": View("separate_rgb.gate"),
    "fsp_rgb": View("separate_rgb.filtered"),
    "fsp_hha.filter": View("separate_x.gate"),
    "fsp_hha": View("separate_x.filtered"),
    "gate_rgb": View("logit_rgb"),
    "gate_hha": View("logit_x"),
    "softmax": View("attention"),
}


def _sagate(c: Arguments) -> Block:
    """(rgb, hha) -> (rgb_out, hha_out, merge)."""
    channels = c("in_planes")
    if c("out_planes", channels) != channels:
        raise InputError(f"sagate: in_planes {channels} and out_planes {c['out_planes']} differ; only equal is defined")
    block = SAGate(channels, reduction=c("reduction", 16), min_hidden=1)
    return Block(block, GATE, views=VIEWS, reshape=True)


BLOCKS: dict[str, Make] = {
    "sagate": _sagate,
}
