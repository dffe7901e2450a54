"""Concatenation and projection against the equation, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.concat import Concat
from tests.fusion.plain import Array, batch_norm, compare, conv1, relu


def test_concat_equals_its_equation() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        projected = batch_norm(conv1(np.concatenate([rgb, x], axis=1), p, "project.0"), p, "project.1")
        return {"projected": projected, "fused": relu(projected)}

    compare(Concat(8), equations)
