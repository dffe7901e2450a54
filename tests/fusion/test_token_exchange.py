"""Token exchange: against the equations, in NumPy, and by assignment."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from fusionzoo.fusion.token_exchange import TokenExchange, exchange_tokens
from tests.fusion.plain import Array, compare, gelu, layer_norm, linear, softmax


def test_token_exchange_equals_assignment_by_index_and_starts_with_some() -> None:
    rgb, x = torch.randn(2, 2, 12, 4)
    mask_rgb, mask_x = torch.rand(2, 2, 12) * 0.05
    got = exchange_tokens(rgb, x, mask_rgb, mask_x)
    want_rgb, want_x = rgb.clone(), x.clone()
    want_rgb[mask_rgb < 0.02] = x[mask_rgb < 0.02]
    want_x[mask_x < 0.02] = rgb[mask_x < 0.02]
    assert 0 < int((mask_rgb < 0.02).sum()) < 24
    assert torch.equal(got[0], want_rgb) and torch.equal(got[1], want_x)

    block = TokenExchange(64)
    shares = [
        (score(torch.randn(4, 500, 64))[..., 0].exp() < 0.02).float().mean()
        for score in (block.score_rgb, block.score_x)
    ]
    assert all(0.0005 < float(s) < 0.5 for s in shares), shares


def test_token_exchange_equals_its_equations() -> None:
    limit = 0.5

    def kept(p: Mapping[str, Array], name: str, m: Array) -> Array:
        """The probability that the token of each position stays, (B, 1, H, W)."""
        tokens = layer_norm(np.moveaxis(m, 1, 3), p, f"{name}.net.0")
        for layer in (1, 3, 5):
            tokens = gelu(linear(tokens, p, f"{name}.net.{layer}"))
        return np.moveaxis(softmax(linear(tokens, p, f"{name}.net.7"), 3), 3, 1)[:, :1]

    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        mask_rgb, mask_x = kept(p, "score_rgb", rgb), kept(p, "score_x", x)
        low_rgb, low_x = mask_rgb < limit, mask_x < limit
        assert low_rgb.any() and low_x.any() and not low_rgb.all() and not low_x.all()
        out_rgb = np.where(low_rgb, x * mask_x, rgb * mask_rgb)
        out_x = np.where(low_x, rgb * mask_rgb, x * mask_x)
        return {"mask_rgb": mask_rgb, "mask_x": mask_x, "rgb": out_rgb, "x": out_x, "fused": (out_rgb + out_x) / 2}

    def losses(p: Mapping[str, Array], v: Mapping[str, Array]) -> dict[str, float]:
        return {"sparsity": 1e-6 * float(v["mask_rgb"].sum() + v["mask_x"].sum()) / len(v["mask_rgb"])}

    compare(TokenExchange(8, threshold=limit), equations, losses, seed=4)  # some tokens on either side
