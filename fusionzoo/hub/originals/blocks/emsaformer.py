"""EMSAFormer's patch embedding (github.com/TUI-NICR, Apache-2.0): official keys to ours."""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.emsaformer import JointPatchEmbed
from fusionzoo.hub.originals.port import Block, Make

TABLE = {
    "rgb_layers.0": "embed_rgb",
    "rgb_layers.2": "norm_rgb",
    "depth_layers.0": "embed_x",
    "depth_layers.2": "norm_x",
}


def _stacked(block: JointPatchEmbed, x: Tensor) -> Tensor:
    return block(x[:, :3], x[:, 3:])


BLOCKS: dict[str, Make] = {
    # [rgb; depth] (B, 4, H, W) -> tokens (B, H / p, W / p, C)
    "emsaformer_patch_embed": lambda c: Block(
        JointPatchEmbed(c("rgb_embed_dim"), c("depth_embed_dim"), tuple(c("patch_size", default=(4, 4)))),
        TABLE,
        _stacked,
    ),
}
