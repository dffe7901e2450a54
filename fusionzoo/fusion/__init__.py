"""Fusion strategies, one file each. Importing this package registers all of them (explicit list below)."""

from __future__ import annotations

from fusionzoo.fusion import (
    acnet,
    asymformer,
    channel_exchange,
    cmnext,
    cmx,
    concat,
    cross_attention,
    dformer,
    dformerv2,
    eaef,
    emsaformer,
    gate,
    gemini,
    hybrid,
    sagate,
    se_add,
    shapeconv,
    spnet,
    sum,
    token_exchange,
)
from fusionzoo.fusion.base import Fused, FusionBlock

__all__ = [
    "Fused",
    "FusionBlock",
    "acnet",
    "asymformer",
    "channel_exchange",
    "cmnext",
    "cmx",
    "concat",
    "cross_attention",
    "dformer",
    "dformerv2",
    "eaef",
    "emsaformer",
    "gate",
    "gemini",
    "hybrid",
    "sagate",
    "se_add",
    "shapeconv",
    "spnet",
    "sum",
    "token_exchange",
]
