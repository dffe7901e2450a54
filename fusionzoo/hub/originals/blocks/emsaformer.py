"""EMSAFormer's patch embedding (github.com/TUI-NICR, Apache-2.0): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.fusion.emsaformer import JointPatchEmbed
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, port

EMBED = {
    "rgb_layers.0": "embed_rgb",
    "rgb_layers.2": "norm_rgb",
    "depth_layers.0": "embed_x",
    "depth_layers.2": "norm_x",
}


def emsaformer_patch_embed(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """[rgb; depth] (B, 4, H, W) -> tokens (B, H / p, W / p, C)."""
    height, width = take(ctor, "patch_size", default=(4, 4))
    block = JointPatchEmbed(take(ctor, "rgb_embed_dim"), take(ctor, "depth_embed_dim"), (height, width))
    return port(block, state, EMBED, _stacked, what="emsaformer_patch_embed")


def _stacked(block: JointPatchEmbed, x: Tensor) -> Tensor:
    return block(x[:, :3], x[:, 3:])


BLOCKS = {"emsaformer_patch_embed": emsaformer_patch_embed}
