"""ESANet's gated sum, in both its forms, against the equations, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from fusionzoo.fusion.se_add import SEAdd, SEAddUniRGB
from fusionzoo.probes import probe
from tests.fusion.plain import Array, compare, conv1, gap, relu, sigmoid


@pytest.mark.parametrize("kind", [SEAdd, SEAddUniRGB])
def test_se_add_equals_its_equations(kind: type[SEAdd]) -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        gates = [
            sigmoid(conv1(relu(conv1(gap(m), p, f"excite_{name}.reduce")), p, f"excite_{name}.expand"))
            for name, m in (("rgb", rgb), ("x", x))
        ]
        fused = gates[0] * rgb + gates[1] * x
        return {
            "gate_rgb": gates[0], "gate_x": gates[1], "weighted_rgb": gates[0] * rgb, "weighted_x": gates[1] * x,
            "fused": fused, "rgb": fused, "x": fused if kind is SEAdd else x,
        }  # fmt: skip

    compare(kind(16), equations)


def test_listened_at_and_alone_give_the_same() -> None:
    """Alone the sum is made in place; what a listener holds stays what it was."""
    torch.manual_seed(0)
    block, rgb, x = SEAdd(16).eval(), torch.randn(2, 16, 5, 6), torch.randn(2, 16, 5, 6)
    with torch.no_grad():
        alone = block(rgb, x).fused
        for point in ("weighted_rgb", "weighted_x"):
            with probe(block, point, clone=False) as tape:
                torch.testing.assert_close(block(rgb, x).fused, alone)
            value, gate = (rgb, block.excite_rgb) if point == "weighted_rgb" else (x, block.excite_x)
            torch.testing.assert_close(tape[point], value * gate(value.mean((2, 3), keepdim=True)).sigmoid())
