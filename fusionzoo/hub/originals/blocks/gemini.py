"""GeminiFusion's attention and block, called as the original is (github.com/JiaDingCN/GeminiFusion)."""

from __future__ import annotations

from typing import Any

from fusionzoo.fusion.gemini import GeminiAttention, GeminiBlock
from fusionzoo.hub.originals.checkpoints.gemini import ATTENTION, BLOCK
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, Sized


def _arguments(c: Arguments) -> dict[str, Any]:
    return {
        "channels": c("dim"),
        "heads": c("num_heads", 8),
        "sr_ratio": c("sr_ratio", 1),
        "qkv_bias": c("qkv_bias", False),
        "fusion_heads": c("n_heads", 8),
    }


BLOCKS: dict[str, Make] = {
    # (x0, x1), tokens -> (x0, x1)
    "gemini_attn": lambda c: Block(GeminiAttention(**_arguments(c)), ATTENTION, Sized(c)),
    "gemini_block": lambda c: Block(GeminiBlock(**_arguments(c), mlp_ratio=c("mlp_ratio", 4)), BLOCK, Sized(c)),
}
