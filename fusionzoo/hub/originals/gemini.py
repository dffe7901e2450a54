"""GeminiFusion's attention and block (github.com/JiaDingCN/GeminiFusion): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.hub.originals.port import Port, Sized, port, take
from fusionzoo.models.published.blocks import GeminiAttention, GeminiBlock

ATTENTION = {
    "q.module": "query",
    "kv.module": "key_value",
    "proj.module": "project",
    "sr.module": "reduce",
    "norm.ln_0": "norm.rgb",
    "norm.ln_1": "norm.x",
    "cross_attn_0_to_1.in_proj_weight": "fusion.attend_rgb.in_proj.weight",
    "cross_attn_0_to_1.in_proj_bias": "fusion.attend_rgb.in_proj.bias",
    "cross_attn_0_to_1.out_proj": "fusion.attend_rgb.out_proj",
    "cross_attn_1_to_0.in_proj_weight": "fusion.attend_x.in_proj.weight",
    "cross_attn_1_to_0.in_proj_bias": "fusion.attend_x.in_proj.bias",
    "cross_attn_1_to_0.out_proj": "fusion.attend_x.out_proj",
    "relation_judger.0.fc1": "fusion.judge.0",
    "relation_judger.0.fc2": "fusion.judge.2",
    "k_noise.weight": "fusion.key_offset",
    "v_noise.weight": "fusion.value_offset",
}
BODY = {
    "norm1.ln_0": "norm1.rgb",
    "norm1.ln_1": "norm1.x",
    "norm2.ln_0": "norm2.rgb",
    "norm2.ln_1": "norm2.x",
    "mlp.fc1.module": "mlp.widen",
    "mlp.dwconv.dwconv": "mlp.depthwise",
    "mlp.fc2.module": "mlp.narrow",
}
"""The Mix-Transformer block round the attention; TokenFusion's has the same names."""

BLOCK = BODY | {f"attn.{official}": f"attention.{ours}" for official, ours in ATTENTION.items()}


def _arguments(ctor: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "channels": take(ctor, "dim"),
        "heads": take(ctor, "num_heads", default=8),
        "sr_ratio": take(ctor, "sr_ratio", default=1),
        "qkv_bias": take(ctor, "qkv_bias", default=False),
    }


def gemini_attn(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1), tokens -> (x0, x1)."""
    block = GeminiAttention(**_arguments(ctor), fusion_heads=take(ctor, "n_heads", default=8))
    return port(block, state, ATTENTION, Sized(ctor), what="gemini_attn")


def gemini_block(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x0, x1), tokens -> (x0, x1)."""
    block = GeminiBlock(
        **_arguments(ctor),
        mlp_ratio=take(ctor, "mlp_ratio", default=4),
        fusion_heads=take(ctor, "n_heads", default=8),
    )
    return port(block, state, BLOCK, Sized(ctor), what="gemini_block")


BLOCKS = {"gemini_attn": gemini_attn, "gemini_block": gemini_block}
