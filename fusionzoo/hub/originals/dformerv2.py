"""DFormerv2's block and encoder (github.com/VCIP-RGBD/DFormer): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fusionzoo.hub.originals.dformer import HeldHead, backbone, run_encoder
from fusionzoo.hub.originals.port import Port, View, channels_last, port, take
from fusionzoo.models.published.blocks import DFormerV2Block
from fusionzoo.models.published.dformerv2_encoder import DFormerV2Encoder

BLOCK = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "Attention.q_proj": "attention.query",
    "Attention.k_proj": "attention.key",
    "Attention.v_proj": "attention.value",
    "Attention.lepe.dwconv": "attention.local",
    "Attention.out_proj": "attention.out",
    "ffn.fc1": "widen",
    "ffn.fc2": "narrow",
    "ffn.dwconv.dwconv": "depthwise",
    "cnn_pos_encode.dwconv": "position",
    "Geo.weight": "prior.weight",
    "Geo.angle": "prior.angle",
    "Geo.decay": "prior.decay",
    "gamma_1": "scale1",
    "gamma_2": "scale2",
}
VIEWS = {"Attention": View("attended", channels_last)}


def encoder_table(encoder: DFormerV2Encoder) -> dict[str, str]:
    """Official keys of the encoder, without prefix."""
    table = {"patch_embed.proj": "stem", "extra_norms": "norms"}
    for i, stage in enumerate(encoder.stages):
        assert isinstance(stage, nn.ModuleList)
        for j in range(len(stage)):
            table |= {f"layers.{i}.blocks.{j}.{official}": f"stages.{i}.{j}.{ours}" for official, ours in BLOCK.items()}
    for i in range(len(encoder.down)):
        table |= {f"layers.{i}.downsample.reduction": f"down.{i}.0", f"layers.{i}.downsample.norm": f"down.{i}.1"}
    return table


def dformerv2_block(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x (B, H, W, C), x_e (B, 1, H', W')) -> out."""
    scaled = take(ctor, "layerscale", default=False)
    block = DFormerV2Block(
        take(ctor, "embed_dim"),
        take(ctor, "num_heads"),
        take(ctor, "ffn_dim"),
        decomposed=take(ctor, "split_or_not", default=False),
        start=take(ctor, "init_value", default=2),
        spread=take(ctor, "heads_range", default=4),
        scale=take(ctor, "layer_init_values", default=1e-5) if scaled else None,
    )
    return port(block, state, BLOCK, _plain, VIEWS, what="dformerv2_block")


def backbone_dformerv2_s(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(rgb, x) -> four stage outputs. The state dict is that of the whole model, decoder included."""
    encoder = DFormerV2Encoder("small")
    head = HeldHead(sum(encoder.channels[1:]), classes=take(ctor, "num_classes", default=40))
    whole, table = backbone(encoder, encoder_table(encoder), head)
    return port(whole, state, table, run_encoder, what="backbone_dformerv2_s")


def _plain(block: DFormerV2Block, x: Tensor, depth: Tensor) -> Tensor:
    return block(x, depth)


BLOCKS = {"backbone_dformerv2_s": backbone_dformerv2_s, "dformerv2_block": dformerv2_block}
