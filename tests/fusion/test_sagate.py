"""Separation and aggregation: against the equations, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.sagate import SAGate
from tests.fusion.plain import Array, compare, conv1, gap, relu, sigmoid, softmax


def test_sagate_equals_its_equations() -> None:
    def separated(p: Mapping[str, Array], name: str, guide: Array, main: Array) -> Array:
        pooled = np.concatenate([gap(guide), gap(main)], axis=1)
        gate = sigmoid(conv1(relu(conv1(pooled, p, f"{name}.excite.reduce")), p, f"{name}.excite.expand"))
        return main + gate * guide

    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        both = np.concatenate([separated(p, "separate_rgb", x, rgb), separated(p, "separate_x", rgb, x)], axis=1)
        shares = softmax(np.concatenate([conv1(both, p, "score_rgb"), conv1(both, p, "score_x")], axis=1), 1)
        merged = shares[:, :1] * rgb + shares[:, 1:] * x
        return {"attention": shares, "rgb": relu((rgb + merged) / 2), "x": relu((x + merged) / 2), "fused": merged}

    compare(SAGate(8), equations)
