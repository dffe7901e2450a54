"""MIIM in two passes, against its equations in NumPy, on maps of the size of the pooled grid."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from fusionzoo.errors import InputError
from fusionzoo.fusion.hdbformer import MIIM, HDBFormer
from tests.fusion.plain import Array, compare, conv, gelu, layer_norm, linear, softmax


def test_hdbformer_equals_its_equations() -> None:
    """Pooling to 6 x 6 and enlarging from it change nothing there."""

    def last(v: Array) -> Array:
        return np.moveaxis(v, 1, 3)

    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        def local(a: Array, b: Array) -> Array:
            before = np.moveaxis(linear(b, p, "miim.before"), 3, 1)
            return linear(a, p, "miim.ask") * linear(last(conv(before, p, "miim.conv", 8)), p, "miim.after")

        c, e, inner = last(rgb), last(x), {}
        for n in (0, 1):
            c, e = layer_norm(c, p, "miim.norm", 1e-6), layer_norm(e, p, "miim.norm_e", 1e-6)
            query = linear(np.concatenate([c, e], 3), p, "miim.pooled_query").reshape(2, 36, 8, 1)
            both = linear(gelu(linear(c, p, "miim.lift")), p, "miim.key_value").reshape(2, 36, 16)
            key, value = both[..., :8].reshape(2, 36, 8, 1), both[..., 8:].reshape(2, 36, 8, 1)
            weights = softmax(np.einsum("bqhd,bkhd->bhqk", query, key), 3)  # heads of one channel: scale 1
            seen = np.einsum("bhqk,bkhd->bqhd", weights, value).reshape(2, 6, 6, 8)
            parts = [seen, local(c, e), local(e, c)]
            names = ("aware", "rgb_local", "x_local")
            inner |= {f"miim.passes.{n}.{k}": np.moveaxis(v, 3, 1) for k, v in zip(names, parts, strict=True)}
            y = np.concatenate(parts, 3)
            c, e = linear(y, p, "miim.project"), linear(y, p, "miim.project_e")
            inner |= {f"miim.passes.{n}.rgb_out": np.moveaxis(c, 3, 1), f"miim.passes.{n}.x_out": np.moveaxis(e, 3, 1)}
        return inner | {"fused": np.moveaxis(c, 3, 1)}

    compare(HDBFormer(16), equations, size=(6, 6))


def test_heads_divide_the_half() -> None:
    assert HDBFormer(12).miim.heads == 1 and HDBFormer(32).miim.heads == 8
    with pytest.raises(InputError, match="6 channels cannot be split into 8 heads"):
        MIIM(12)
