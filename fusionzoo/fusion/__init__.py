"""Fusion strategies, one file each. Importing this package registers all of them (explicit list below)."""

from __future__ import annotations

from fusionzoo.fusion import acnet, cmx, concat, cross_attention, gate, hybrid, sagate, se_add, sum
from fusionzoo.fusion.base import Fused, FusionBlock

__all__ = [
    "Fused",
    "FusionBlock",
    "acnet",
    "cmx",
    "concat",
    "cross_attention",
    "gate",
    "hybrid",
    "sagate",
    "se_add",
    "sum",
]
