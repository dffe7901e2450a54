"""Softmax share of each modality at every pixel, against the equation, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.torchmultimodal import AttentionFusion
from tests.fusion.plain import Array, compare, linear, softmax


def test_attention_fusion_equals_its_equation() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        values = [np.moveaxis(m, 1, 3) for m in (rgb, x)]
        shares = softmax(linear(np.concatenate(values, axis=3), p, "fusion.score"), 3)
        mixed = sum(shares[..., i, None] * linear(v, p, f"fusion.project.{i}") for i, v in enumerate(values))
        return {"fusion.attention": np.moveaxis(shares, 3, 1), "fused": np.moveaxis(mixed, 3, 1)}

    compare(AttentionFusion(8), equations)
