"""Fusion strategies, one file each. Importing this package registers all of them (explicit list below)."""

from __future__ import annotations

from fusionzoo.fusion import concat, cross_attention, gate, hybrid, sum
from fusionzoo.fusion.base import Fused, FusionBlock

__all__ = ["Fused", "FusionBlock", "concat", "cross_attention", "gate", "hybrid", "sum"]
