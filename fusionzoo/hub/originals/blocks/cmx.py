"""CMX, its FRM and its FFM, called as the original is (github.com/huaaaliu/RGBX_Semantic_Segmentation, MIT)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify
from fusionzoo.hub.originals.blocks.calls import at_input_size
from fusionzoo.hub.originals.checkpoints.cmx import FFM, FRM
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, View, as_tokens, direct, port
from fusionzoo.models import FusionModel


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
    return port(block, state, FRM, direct, FRM_VIEWS, what="cmx_frm")


def cmx_ffm(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """(x1, x2) -> fused."""
    heads, reduction = take(ctor, "num_heads"), take(ctor, "reduction", default=1)
    block = FeatureFusion(take(ctor, "dim"), heads, reduction)
    return port(block, state, FFM, direct, FFM_VIEWS, what="cmx_ffm")


BLOCKS = {"cmx_ffm": cmx_ffm, "cmx_frm": cmx_frm}


MODEL_VIEWS = {f"backbone.{i}": View(f"stage{i + 2}.fusion.fused") for i in range(4)}


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, x) -> class scores at the input size."""
    return Port(model, at_input_size, MODEL_VIEWS, keys)
