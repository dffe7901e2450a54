"""Squeeze-excitation of each modality, then the sum, against the equations, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fusionzoo.fusion.gate import Gate
from tests.fusion.plain import Array, compare, conv1, gap, relu, sigmoid


@pytest.mark.parametrize(("channels", "hidden"), [(8, 8), (160, 10)])
def test_gate_equals_its_equations(channels: int, hidden: int) -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        gates = [
            sigmoid(conv1(relu(conv1(gap(m), p, f"excite_{name}.1")), p, f"excite_{name}.3"))
            for name, m in (("rgb", rgb), ("x", x))
        ]
        return {"gate_rgb": gates[0], "gate_x": gates[1], "fused": gates[0] * rgb + gates[1] * x}

    block = Gate(channels)
    assert block.state_dict()["excite_x.1.weight"].shape == (hidden, channels, 1, 1)
    compare(block, equations)
