"""One full channel gate for each modality, then the sum: against the equation, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

from fusionzoo.fusion.acnet import ACNet
from tests.fusion.plain import Array, compare, conv1, gap, sigmoid


def test_acnet_equals_its_equation() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        g_rgb, g_x = sigmoid(conv1(gap(rgb), p, "excite_rgb")), sigmoid(conv1(gap(x), p, "excite_x"))
        return {"gate_rgb": g_rgb, "gate_x": g_x, "fused": g_rgb * rgb + g_x * x}

    compare(ACNet(8), equations)
