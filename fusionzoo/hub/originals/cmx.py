"""CMX's FRM and FFM (github.com/huaaaliu/RGBX_Semantic_Segmentation, MIT): official keys to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.hub.originals.port import Port, View, as_tokens, port, take
from fusionzoo.models.published.blocks import FeatureFusion, FeatureRectify

FRM = {
    "channel_weights.mlp.0": "channel.0",
    "channel_weights.mlp.2": "channel.2",
    "spatial_weights.mlp.0": "spatial.0",
    "spatial_weights.mlp.2": "spatial.2",
}
FFM = {
    "cross.channel_proj1": "rgb.split",
    "cross.channel_proj2": "x.split",
    "cross.cross_attn.kv1": "rgb.key_value",
    "cross.cross_attn.kv2": "x.key_value",
    "cross.end_proj1": "rgb.end",
    "cross.end_proj2": "x.end",
    "cross.norm1": "rgb.norm",
    "cross.norm2": "x.norm",
    "channel_emb.residual": "residual",
    "channel_emb.channel_embed.0": "embed.0",
    "channel_emb.channel_embed.1": "embed.1",
    "channel_emb.channel_embed.3": "embed.3",
    "channel_emb.channel_embed.4": "embed.4",
    "channel_emb.norm": "norm",
}


def _gates_first(gate: Tensor) -> Tensor:
    """(B, 2, C) or (B, 2, H, W) -> (2, B, C, 1, 1) or (2, B, 1, H, W)."""
    gate = gate.transpose(0, 1)
    return gate[..., None, None] if gate.ndim == 3 else gate.unsqueeze(2)


FRM_VIEWS = {
    "channel_weights": View("channel_gate", _gates_first),
    "spatial_weights": View("spatial_gate", _gates_first),
}
FFM_VIEWS = {
    "cross.cross_attn.0": View("rgb.attended", as_tokens),
    "cross.cross_attn.1": View("x.attended", as_tokens),
    "cross.0": View("rgb.joined", as_tokens),
    "cross.1": View("x.joined", as_tokens),
}


def cmx_frm(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x1, x2) -> (x1, x2)."""
    lambdas = {k: ctor[k] for k in ("lambda_c", "lambda_s") if k in ctor}
    block = FeatureRectify(take(ctor, "dim"), take(ctor, "reduction", default=1), **lambdas)
    return port(block, state, FRM, _plain, FRM_VIEWS, what="cmx_frm")


def cmx_ffm(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x1, x2) -> fused."""
    heads, reduction = take(ctor, "num_heads"), take(ctor, "reduction", default=1)
    block = FeatureFusion(take(ctor, "dim"), heads, reduction)
    return port(block, state, FFM, _plain, FFM_VIEWS, what="cmx_ffm")


def _plain(block: FeatureRectify | FeatureFusion, x1: Tensor, x2: Tensor) -> Any:
    return block(x1, x2)


BLOCKS = {"cmx_ffm": cmx_ffm, "cmx_frm": cmx_frm}
