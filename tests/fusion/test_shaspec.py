"""Shared and specific encoders with one composition: against the equations, in NumPy, and the floor of the losses."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fusionzoo.fusion.shaspec import ShaSpec
from tests.fusion.plain import Array, batch_norm, compare, conv, conv1, linear, relu, softmax


def test_shaspec_equals_its_equations() -> None:
    def encoded(m: Array, p: Mapping[str, Array], name: str) -> Array:
        return relu(batch_norm(conv1(m, p, f"{name}.0"), p, f"{name}.1"))

    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for name, m in (("rgb", rgb), ("x", x)):
            s, own = encoded(m, p, "share"), encoded(m, p, f"specify_{name}")
            composed = s + conv(np.concatenate([s, own], axis=1), p, "compose")
            found |= {f"shared_{name}": s, f"specific_{name}": own, f"composed_{name}": composed}
        return found | {"fused": (found["composed_rgb"] + found["composed_x"]) / 2}

    def losses(p: Mapping[str, Array], v: Mapping[str, Array]) -> dict[str, float]:
        told = [
            softmax(linear(v[f"specific_{name}"].mean((2, 3)), p, "name"), 1)[:, i]
            for i, name in enumerate(("rgb", "x"))
        ]
        apart = np.abs(v["shared_rgb"] - v["shared_x"]).mean()
        return {"shared": 0.1 * 2 * apart, "specific": -0.02 * float(np.log(np.concatenate(told)).mean())}

    compare(ShaSpec(8), equations, losses)


def test_shaspec_losses_fall_to_their_floor() -> None:
    block = ShaSpec(4)
    same = torch.rand(2, 4, 3, 3)
    zero = torch.zeros_like(same)
    seen = {"shared_rgb": same, "shared_x": same, "specific_rgb": zero, "specific_x": zero}
    with torch.no_grad():
        block.name.bias.zero_()
    values = block.losses(seen)
    assert float(values["shared"]) == 0.0
    assert float(values["specific"].detach()) == pytest.approx(0.02 * math.log(2))
    seen["shared_x"] = same + 0.5
    assert float(block.losses(seen)["shared"]) == pytest.approx(0.1 * 2 * 0.5, rel=1e-5)
