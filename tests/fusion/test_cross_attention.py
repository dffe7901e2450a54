"""Linear cross-attention between the streams: against the equations, and as a map of all pairs of positions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.cross_attention import CrossAttention
from tests.fusion.plain import Array, batch_norm, compare, conv1, relu, softmax

HEADS = 2


def crossed(p: Mapping[str, Array], name: str, here: Array, there: Array) -> Array:
    """Every position i of `here` takes the values of all positions j of `there`, with weight sum_d softmax over d of
    q_i times softmax over j of k_j: the HW x HW map that the block never makes."""
    b, _, h, w = here.shape
    q = conv1(here, p, f"{name}.query")
    k, v = np.split(conv1(there, p, f"{name}.key_value"), 2, axis=1)
    q, k, v = (t.reshape(b, HEADS, -1, h * w) for t in (q, k, v))
    pairs = np.einsum("bndi,bndj->bnij", softmax(q, 2), softmax(k, 3))
    return conv1(np.einsum("bnij,bndj->bndi", pairs, v).reshape(b, -1, h, w), p, f"{name}.out")


def test_cross_attention_equals_its_equations() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        n_rgb, n_x = batch_norm(rgb, p, "norm_rgb"), batch_norm(x, p, "norm_x")
        y_rgb = n_rgb + p["scale_rgb"] * crossed(p, "to_rgb", n_rgb, n_x)
        y_x = n_x + p["scale_x"] * crossed(p, "to_x", n_x, n_rgb)
        joined = conv1(np.concatenate([y_rgb, y_x], axis=1), p, "project.0")
        return {"crossed_rgb": y_rgb, "crossed_x": y_x, "fused": relu(batch_norm(joined, p, "project.1"))}

    compare(CrossAttention(16, heads=HEADS), equations)
