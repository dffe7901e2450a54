"""Concatenation and one 3x3 convolution, against the equation, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.mfnet import MFNet
from tests.fusion.plain import Array, batch_norm, compare, conv


def test_mfnet_equals_its_equation() -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        joined = batch_norm(conv(np.concatenate([rgb, x], axis=1), p, "join"), p, "norm")
        return {"joined": joined, "fused": np.where(joined > 0, joined, 0.2 * joined)}

    compare(MFNet(8), equations)
