"""The hybrid by exchange against its equations, in NumPy; it begins as concatenation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fusionzoo.fusion.hybrid_exchange import HybridExchange
from tests.fusion.plain import Array, batch_norm, compare, conv1, relu


def given(v: Array, p: Mapping[str, Array], name: str) -> Array:
    return conv1(relu(batch_norm(conv1(v, p, f"{name}.narrow"), p, f"{name}.norm")), p, f"{name}.widen")


@pytest.mark.parametrize("rank", [0, 5])
def test_it_equals_its_equations(rank: int) -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        product = {"product": conv1(rgb, p, "factor_rgb") * conv1(x, p, "factor_x")} if rank else {}
        fused = relu(batch_norm(conv1(np.concatenate([rgb, x, *product.values()], axis=1), p, "join"), p, "norm"))
        to_x, to_rgb = given(rgb, p, "give_rgb"), given(x, p, "give_x")
        return {**product, "fused": fused, "given_rgb": to_x, "given_x": to_rgb, "rgb": rgb + to_rgb, "x": x + to_x}

    compare(HybridExchange(16, rank=rank), equations)


def test_the_streams_begin_almost_unchanged_and_nothing_is_exchanged_after_the_last_level() -> None:
    rgb, x = torch.randn(2, 2, 64, 8, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    out = HybridExchange(64)(rgb, x)
    for before, after in ((rgb, out.rgb), (x, out.x)):
        assert 0.005 < float((after - before).std().detach()) < 0.05
    out = HybridExchange(64, level=5, depth=5)(rgb, x)
    assert torch.equal(out.rgb, rgb) and torch.equal(out.x, x)
