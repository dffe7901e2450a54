"""Fusion strategies, one file each. Importing this package registers all of them (explicit list below)."""

from __future__ import annotations

import importlib

from fusionzoo.fusion.base import Fused, FusionBlock

_STRATEGIES = (
    "acnet", "addition", "asymformer", "cddfuse", "channel_exchange", "cmnext", "cmx", "concat", "cross_attention",
    "dformer", "dformerv2", "eaef", "emsaformer", "film", "gate", "gemini", "hdbformer", "hybrid",
    "hybrid_exchange", "hybrid_trust", "low_rank_tensor", "mfnet", "prompt", "sagate", "se_add", "shapeconv",
    "shaspec", "sigma", "spnet", "stitchfusion", "sum", "token_exchange", "torchmultimodal", "tuni", "xmsnet",
)  # fmt: skip

__all__ = ["Fused", "FusionBlock", *_STRATEGIES]

for _strategy in _STRATEGIES:
    importlib.import_module(f"{__name__}.{_strategy}")
