"""Low-rank bilinear fusion as the full tensor of every product of an RGB and an x channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusionzoo.fusion.low_rank_tensor import LowRankTensor
from tests.fusion.plain import Array, compare

RANK, CHANNELS = 3, 5


def test_low_rank_fusion_is_a_product_of_every_pair() -> None:
    def factor(p: Mapping[str, Array], name: str) -> Array:
        """(R, C, C + 1): the weights of the channels and of the appended 1."""
        weight = p[f"{name}.weight"].reshape(RANK, CHANNELS, CHANNELS)
        return np.concatenate([weight, p[f"{name}.bias"].reshape(RANK, CHANNELS, 1)], axis=2)

    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        tensor = np.einsum("r,rci,rcj->cij", p["weight"], factor(p, "factor_rgb"), factor(p, "factor_x"))
        one = np.ones_like(rgb[:, :1])
        pairs = np.concatenate([rgb, one], axis=1), np.concatenate([x, one], axis=1)
        return {"fused": np.einsum("cij,bihw,bjhw->bchw", tensor, *pairs) + p["bias"][:, None, None]}

    compare(LowRankTensor(CHANNELS, rank=RANK), equations)
