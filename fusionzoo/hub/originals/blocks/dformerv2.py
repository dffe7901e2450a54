"""DFormerv2's block and backbone, called as the original is (github.com/VCIP-RGBD/DFormer)."""

from __future__ import annotations

from functools import partial

from fusionzoo.fusion.dformerv2 import DFormerV2Block
from fusionzoo.hub.originals.blocks.dformer import backbone
from fusionzoo.hub.originals.checkpoints.dformer import named
from fusionzoo.hub.originals.checkpoints.dformerv2 import BLOCK, SIZES, table
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, View, channels_last


def _block(c: Arguments) -> Block:
    """(x (B, H, W, C), x_e (B, 1, H', W')) -> out."""
    block = DFormerV2Block(
        c("embed_dim"),
        c("num_heads"),
        c("ffn_dim"),
        decomposed=c("split_or_not", False),
        start=c("init_value", 2),
        spread=c("heads_range", 4),
        scale=c("layer_init_values", 1e-5) if c("layerscale", False) else None,
    )
    return Block(block, BLOCK, views={"Attention": View("attended", channels_last)})


BLOCKS: dict[str, Make] = {
    f"backbone_dformerv2_{size}": partial(backbone, partial(named, "DFormerv2_", SIZES, size), table) for size in SIZES
}
BLOCKS |= {"dformerv2_block": _block}
