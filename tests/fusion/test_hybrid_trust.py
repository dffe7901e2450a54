"""The hybrid by trust against its equations, in NumPy, with each term left out, and at its bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fusionzoo.fusion.hybrid_trust import HybridTrust
from tests.fusion.plain import Array, batch_norm, compare, conv, conv1, relu, softmax
from tests.fusion.test_hybrid import correlation
from tests.fusion.test_hybrid_exchange import given

TERMS = ("trust", "agreement", "product", "exchange", "supervise")


def evidence(n: Array, p: Mapping[str, Array], name: str) -> Array:
    hidden = relu(conv1(n, p, f"{name}.0"))
    return conv1(relu(conv(hidden, p, f"{name}.2", groups=hidden.shape[1])), p, f"{name}.4")


def cosine(u: Array, v: Array) -> Array:
    return (u * v).sum(1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))


@pytest.mark.parametrize("without", ["", *TERMS])
def test_it_equals_its_equations(without: str) -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        n_rgb, n_x = batch_norm(rgb, p, "norm_rgb"), batch_norm(x, p, "norm_x")
        s_rgb, s_x = conv1(n_rgb, p, "share"), conv1(n_x, p, "share")
        trust = np.full((2, 2, *rgb.shape[2:]), 0.5)
        if without != "trust":
            trust = softmax(np.concatenate([evidence(n_rgb, p, "trust_rgb"), evidence(n_x, p, "trust_x")], 1), axis=1)
        a = np.full((2, 1, *rgb.shape[2:]), 0.5) if without == "agreement" else (1 + cosine(s_rgb, s_x)[:, None]) / 2
        c = 2 * a * (trust[:, :1] * s_rgb + trust[:, 1:] * s_x)
        p_rgb, p_x = conv1(n_rgb, p, "specify_rgb"), conv1(n_x, p, "specify_x")
        q = {} if without == "product" else {"product": conv1(p_rgb, p, "factor_rgb") * conv1(p_x, p, "factor_x")}
        fused = relu(batch_norm(conv1(np.concatenate([c, p_rgb, p_x, *q.values()], 1), p, "join"), p, "norm"))
        streams = {"rgb": rgb, "x": x}
        if without != "exchange":
            streams = {"rgb": rgb + given(p_x, p, "give_x"), "x": x + given(p_rgb, p, "give_rgb")}
        return {
            "shared_rgb": s_rgb, "shared_x": s_x, "trust": trust, "agreement": a, "consistent": c,
            "specific_rgb": p_rgb, "specific_x": p_x, "fused": fused, **q, **streams,
        }  # fmt: skip

    def losses(p: Mapping[str, Array], v: Mapping[str, Array]) -> dict[str, float]:
        s_rgb, s_x, p_rgb, p_x = (v[k] for k in ("shared_rgb", "shared_x", "specific_rgb", "specific_x"))
        weight = v["trust"][:, 0] * v["trust"][:, 1]
        pairs = correlation(p_rgb, s_rgb), correlation(p_x, s_x), correlation(p_rgb, p_x)
        return {
            "consistency": float(np.average(1 - cosine(s_rgb, s_x), weights=weight)),
            "decorrelation": float(np.mean(pairs)),
        }

    options = {without: False} if without else {}
    compare(HybridTrust(16, **options), equations, None if without == "supervise" else losses)


def test_agreement_weighs_the_consistent_part_from_nothing_to_twice() -> None:
    """Equal candidates count twice their mean, opposite ones nothing, orthogonal ones once."""
    block = HybridTrust(16, trust=False).eval()
    rgb = torch.randn(2, 16, 3, 4, generator=torch.Generator().manual_seed(1))
    for sign, wanted in ((1, 1.0), (-1, 0.0)):
        seen: dict[str, torch.Tensor] = {}
        block.agreement.tap = lambda v, seen=seen: seen.setdefault("a", v)  # type: ignore[assignment]
        block.consistent.tap = lambda v, seen=seen: seen.setdefault("c", v)  # type: ignore[assignment]
        block.shared_rgb.tap = lambda v, seen=seen: seen.setdefault("s", v)  # type: ignore[assignment]
        with torch.no_grad():
            block(rgb, sign * rgb)
        assert torch.allclose(seen["a"], torch.full_like(seen["a"], wanted), atol=1e-4)
        assert torch.allclose(seen["c"], 2 * wanted * seen["s"] * (1 if sign == 1 else 0), atol=1e-3)


@pytest.mark.parametrize("channels", [64, 128, 320, 512])
def test_it_costs_a_tenth_of_cmx(channels: int) -> None:
    from fusionzoo.fusion.cmx import CMX

    with torch.device("meta"):
        ours, theirs = (sum(p.numel() for p in kind(channels).parameters()) for kind in (HybridTrust, CMX))
    assert ours < 0.11 * theirs
