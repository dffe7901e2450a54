"""Shared product and weighed specific parts: against the equations, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.xmsnet import XMSNet
from tests.fusion.plain import Array, batch_norm, compare, conv, conv1, gap, linear, relu, sigmoid, softmax


def test_xmsnet_equals_its_equations() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        shared = relu(batch_norm(conv1(rgb * x, p, "common.0"), p, "common.1"))
        scores = [
            linear(np.concatenate([m.mean((2, 3)), (m * shared).mean((2, 3))], axis=1), p, "weigh") for m in (rgb, x)
        ]
        proportion = softmax(np.concatenate(scores, axis=1), 1)  # (B, 2)
        found: dict[str, Array] = {"shared": shared, "proportion": proportion}
        for i, (name, m) in enumerate((("rgb", rgb), ("x", x))):
            over_channels = np.stack([m.mean(1), m.max(1)], axis=1)
            found[f"{name}.region"] = sigmoid(conv(over_channels, p, f"{name}.locate"))
            pooled = np.concatenate([gap(m), m.max((2, 3), keepdims=True)], axis=1)
            hidden = relu(conv1(pooled, p, f"{name}.excite.reduce"))
            found[f"{name}.pattern"] = sigmoid(conv1(hidden, p, f"{name}.excite.expand"))
            share = proportion[:, i, None, None, None]
            found[f"{name}.specific"] = 2 * share * found[f"{name}.region"] * found[f"{name}.pattern"] * m
        parts = np.concatenate([shared, found["rgb.specific"], found["x.specific"]], axis=1)
        return found | {"fused": relu(batch_norm(conv1(parts, p, "join.0"), p, "join.1"))}

    compare(XMSNet(8), equations)
