"""The consistency-specificity hybrid against its equations, in NumPy, and at its bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fusionzoo.fusion.hybrid import Hybrid
from tests.fusion.plain import Array, batch_norm, compare, conv, conv1, relu, sigmoid


def confidence(p: Mapping[str, Array], name: str, rest: Array) -> Array:
    """1x1, batch norm, ReLU, depthwise 3x3, ReLU, 1x1 to one map, sigmoid."""
    hidden = relu(batch_norm(conv1(rest, p, f"{name}.0"), p, f"{name}.1"))
    hidden = relu(conv(hidden, p, f"{name}.3", groups=hidden.shape[1]))
    return sigmoid(conv1(hidden, p, f"{name}.5"))


def agreement(s_rgb: Array, s_x: Array, groups: int) -> Array:
    """The cosine in each group of channels, cut at 0: (B, S, H, W) twice -> (B, G, H, W)."""
    parts = zip(np.split(s_rgb, groups, axis=1), np.split(s_x, groups, axis=1), strict=True)
    cosines = [(u * v).sum(1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)) for u, v in parts]
    return np.maximum(0, np.stack(cosines, axis=1))


@pytest.mark.parametrize(("channels", "groups"), [(16, 4), (32, 2)])
def test_hybrid_equals_its_equations(channels: int, groups: int) -> None:
    def equations(p: Mapping[str, Array], rgb: Array, x: Array) -> dict[str, Array]:
        n_rgb, n_x = batch_norm(rgb, p, "norm_rgb"), batch_norm(x, p, "norm_x")
        s_rgb, s_x = conv1(n_rgb, p, "share"), conv1(n_x, p, "share")
        a = agreement(s_rgb, s_x, groups)
        c = np.repeat(a, s_rgb.shape[1] // groups, axis=1) * (s_rgb + s_x) / 2
        e_rgb, e_x = n_rgb - conv1(s_rgb, p, "unshare"), n_x - conv1(s_x, p, "unshare")
        k_rgb, k_x = confidence(p, "confide_rgb", e_rgb), confidence(p, "confide_x", e_x)
        v_rgb, v_x = conv1(e_rgb, p, "specify_rgb"), conv1(e_x, p, "specify_x")
        left = 1 - sigmoid(p["lean"]) * a.mean(1, keepdims=True)
        joined = conv1(np.concatenate([c, k_rgb * left * v_rgb, k_x * left * v_x], axis=1), p, "join")
        fused = relu(batch_norm(joined + p["plain_rgb"] * n_rgb + p["plain_x"] * n_x, p, "norm"))
        return {
            "shared_rgb": s_rgb, "shared_x": s_x, "agreement": a, "consistent": c, "confidence_rgb": k_rgb,
            "confidence_x": k_x, "specific_rgb": v_rgb, "specific_x": v_x, "fused": fused,
        }  # fmt: skip

    def losses(p: Mapping[str, Array], v: Mapping[str, Array]) -> dict[str, float]:
        s_rgb, s_x, p_rgb, p_x = (v[k] for k in ("shared_rgb", "shared_x", "specific_rgb", "specific_x"))
        cosine = (s_rgb * s_x).sum(1) / (np.linalg.norm(s_rgb, axis=1) * np.linalg.norm(s_x, axis=1))
        weight = (v["confidence_rgb"] * v["confidence_x"])[:, 0]
        pairs = correlation(p_rgb, s_rgb), correlation(p_x, s_x), correlation(p_rgb, p_x)
        return {"consistency": float(np.average(1 - cosine, weights=weight)), "decorrelation": float(np.mean(pairs))}

    compare(Hybrid(channels, groups=groups), equations, losses)


def correlation(u: Array, v: Array) -> float:
    """Mean squared correlation of the channels of two maps over all images and positions."""
    rows = [np.moveaxis(t, 1, 0).reshape(t.shape[1], -1) for t in (u, v)]
    return float((np.corrcoef(*rows)[: len(rows[0]), len(rows[0]) :] ** 2).mean())


def pair(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 3, 4, generator=torch.Generator().manual_seed(1))


def test_equal_inputs_agree_everywhere_and_opposite_ones_nowhere() -> None:
    """Then the consistent part is nil."""
    rgb = pair(16)
    block = Hybrid(16).eval()
    for sign, wanted in ((1, 1.0), (-1, 0.0)):
        seen: dict[str, torch.Tensor] = {}
        block.agreement.tap = lambda v, seen=seen: seen.setdefault("a", v)  # type: ignore[assignment]
        block.consistent.tap = lambda v, seen=seen: seen.setdefault("c", v)  # type: ignore[assignment]
        with torch.no_grad():
            block(rgb, sign * rgb)
        assert torch.allclose(seen["a"], torch.full_like(seen["a"], wanted), atol=0.02)
        assert (float(seen["c"].abs().max()) > 0) == (sign == 1)


def test_losses_at_their_bounds() -> None:
    s, one = pair(8), torch.ones(2, 1, 3, 4)
    seen = dict.fromkeys(("shared_rgb", "shared_x", "specific_rgb", "specific_x"), s)
    seen |= dict.fromkeys(("confidence_rgb", "confidence_x"), one)
    block = Hybrid(16)
    losses = block.losses(seen)
    assert abs(float(losses["consistency"])) < 1e-6
    assert float(losses["decorrelation"]) == pytest.approx(correlation(s.numpy(), s.numpy()), abs=1e-5)
    assert float(block.losses(seen | {"shared_x": -s})["consistency"]) == pytest.approx(2, abs=1e-6)


def test_the_confidences_get_no_gradient_from_the_consistency() -> None:
    """Else the block would learn to be unsure rather than to agree."""
    seen = {name: torch.rand(1, 1 if "conf" in name else 8, 3, 4).requires_grad_() for name in Hybrid.loss_probes}
    sum(Hybrid(16).losses(seen).values()).backward()
    assert seen["confidence_rgb"].grad is None and seen["confidence_x"].grad is None
    assert all(float(seen[name].grad.abs().max()) > 0 for name in ("shared_rgb", "shared_x", "specific_x"))
