"""ESANet's and EMSANet's SE-add, called as the original is (github.com/TUI-NICR, Apache-2.0)."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.se_add import SEAdd, SEAddUniRGB
from fusionzoo.hub.originals.checkpoints.esanet import ESANET
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, View

EMSANET = {
    f"weighting_{official}.layers.{i}": f"excite_{ours}.{part}"
    for official, ours in (("rgb", "rgb"), ("depth", "x"))
    for i, part in ((0, "reduce"), (2, "expand"))
}
VIEWS = {
    "se_rgb.fc": View("gate_rgb"),
    "se_rgb": View("weighted_rgb"),
    "se_depth.fc": View("gate_x"),
    "se_depth": View("weighted_x"),
}


def _emsanet(c: Arguments) -> Block:
    """By `name`: "se-add" or "se-add-uni-rgb"."""
    forms = {"se-add": SEAdd, "se-add-uni-rgb": SEAddUniRGB}
    if c("name") not in forms:
        raise InputError(f"EMSANet fusion {c('name')!r} is not supported; known: {', '.join(forms)}")
    return Block(forms[c("name")](c("n_channels_in"), min_hidden=1), EMSANET, _both)


def _fused(block: SEAdd, rgb: Tensor, depth: Tensor) -> Tensor:
    return block(rgb, depth).fused


def _both(block: SEAdd, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    out = block(rgb, depth)
    return out.rgb, out.x


BLOCKS: dict[str, Make] = {
    # (rgb, depth) -> fused
    "esanet_seadd": lambda c: Block(SEAdd(c("channels_in"), min_hidden=1), ESANET, _fused, VIEWS),
    # (rgb, depth) -> (rgb, depth): the original's dictionaries, in order
    "emsanet_se_add": _emsanet,
    "emsanet_se_add_uni_rgb": _emsanet,
}
