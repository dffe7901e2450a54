"""GeminiFusion, its attention and its block, called as the original is (github.com/JiaDingCN/GeminiFusion)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.fusion.gemini import GeminiAttention, GeminiBlock
from fusionzoo.hub.originals.checkpoints.gemini import ATTENTION, BLOCK
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, Sized, port
from fusionzoo.models import FusionModel
from fusionzoo.models.published.gemini import GeminiMiT, GeminiSwin


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


def _predict(model: GeminiMiT | GeminiSwin, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second, both, _ = model.all_scores(rgb, x)
    return first, second, both


def whole(model: FusionModel, keys: Mapping[str, str]) -> Port:
    """(rgb, x of three channels) -> (RGB's scores, x's, their weighted sum)."""
    return Port(model, _predict, {}, keys)
