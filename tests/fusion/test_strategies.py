"""Our own strategies against their equations, written out again with plain loops or in another form."""

from __future__ import annotations

import math

import torch

from fusionzoo.fusion.concat import Concat
from fusionzoo.fusion.cross_attention import CrossAttention, EfficientCrossAttention
from fusionzoo.fusion.gate import Gate
from fusionzoo.fusion.hybrid import Hybrid, _correlation
from fusionzoo.fusion.sum import Sum


def pair(channels: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(2, channels, 3, 4, generator=generator) for _ in range(2))  # type: ignore[return-value]


def test_sum_keeps_the_streams() -> None:
    rgb, x = pair()
    out = Sum(8)(rgb, x)
    torch.testing.assert_close(out.fused, rgb + x, rtol=0, atol=0)
    assert out.rgb is rgb and out.x is x


def test_concat_is_a_linear_map_per_position() -> None:
    rgb, x = pair()
    block = Concat(8).eval()
    weight = block.project[0].weight[:, :, 0, 0]
    norm = block.project[1]
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        norm.weight.normal_()
        norm.bias.normal_()
        got = block(rgb, x).fused
    for b in range(2):
        for i in range(3):
            for j in range(4):
                y = weight @ torch.cat([rgb[b, :, i, j], x[b, :, i, j]])
                y = (y - norm.running_mean) / torch.sqrt(norm.running_var + 1e-5) * norm.weight + norm.bias
                torch.testing.assert_close(got[b, :, i, j], y.clamp(min=0), rtol=1e-4, atol=1e-5)


def test_gate_reads_each_modality_alone() -> None:
    rgb, x = pair()
    block = Gate(8).eval()
    with torch.no_grad():
        first, second, _, last = block.excite_x
        mean = x.mean(dim=(2, 3))
        hidden = (mean @ second.weight[:, :, 0, 0].T + second.bias).clamp(min=0)
        gate = torch.sigmoid(hidden @ last.weight[:, :, 0, 0].T + last.bias)
        seen = {}
        block.gate_x.tap = lambda v: seen.setdefault("x", v)
        out = block(rgb, x).fused
        torch.testing.assert_close(seen["x"][:, :, 0, 0], gate)
        torch.testing.assert_close(block(rgb * 0, x).fused, gate[:, :, None, None] * x)
        assert not torch.equal(out, block(rgb, x * 2).fused)


def test_efficient_attention_equals_the_explicit_map() -> None:
    """softmax(K)^T V seen as an HW x HW map softmax_ch(q_i) . softmax_pos(k_j), one position at a time."""
    rgb, x = pair()
    attend = EfficientCrossAttention(8, heads=2, width=8, modality="rgb")
    with torch.no_grad():
        got = attend(rgb, x)
        q = attend.query(rgb).flatten(2)
        k, v = attend.key_value(x).flatten(2).chunk(2, dim=1)
        inner = torch.zeros(2, 8, 12)
        for b in range(2):
            for h in range(2):
                rows = slice(4 * h, 4 * h + 4)
                for i in range(12):
                    weights = [float(q[b, rows, i].softmax(0) @ k[b, rows].softmax(1)[:, j]) for j in range(12)]
                    inner[b, rows, i] = sum(w * v[b, rows, j] for j, w in enumerate(weights))
        wanted = attend.out(inner.unflatten(2, (3, 4)))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_cross_attention_draws_on_the_other_stream() -> None:
    rgb, x = pair(16)
    block = CrossAttention(16).eval()
    seen = {}
    block.crossed_rgb.tap = lambda v: seen.setdefault("rgb", v)
    with torch.no_grad():
        block(rgb, x)
        one = seen.pop("rgb")
        block(rgb, x.flip(1))
    assert not torch.allclose(one, seen["rgb"])


def test_hybrid_agreement_and_parts_by_hand() -> None:
    rgb, x = pair(16)
    block = Hybrid(16, groups=2).eval()
    seen = {}
    for name in ("agreement", "consistent", "specific_rgb", "shared_rgb", "shared_x"):
        getattr(block, name).tap = lambda v, name=name: seen.setdefault(name, v)
    with torch.no_grad():
        block(rgb, x)
        s_r, s_d = seen["shared_rgb"], seen["shared_x"]
        for g in range(2):
            u, v = s_r[0, 4 * g : 4 * g + 4, 1, 2], s_d[0, 4 * g : 4 * g + 4, 1, 2]
            cosine = float(u @ v) / math.sqrt(float(u @ u) * float(v @ v))
            assert abs(float(seen["agreement"][0, g, 1, 2]) - max(0.0, cosine)) < 1e-4
            wanted = max(0.0, cosine) * (u + v) / 2
            torch.testing.assert_close(seen["consistent"][0, 4 * g : 4 * g + 4, 1, 2], wanted, rtol=1e-3, atol=1e-4)
        r = rgb / math.sqrt(1 + 1e-5)  # running statistics 0 and 1
        rest = r[0, :, 1, 2] - block.unshare.weight[:, :, 0, 0] @ s_r[0, :, 1, 2]
        torch.testing.assert_close(
            seen["specific_rgb"][0, :, 1, 2], block.specify_rgb.weight[:, :, 0, 0] @ rest, rtol=1e-4, atol=1e-5
        )


def test_hybrid_says_the_same_twice_and_agrees() -> None:
    """Equal inputs agree everywhere; opposite inputs nowhere, and then the consistent part is nil."""
    rgb, _ = pair(16)
    block = Hybrid(16).eval()
    for sign, wanted in ((1, 1.0), (-1, 0.0)):
        seen = {}
        block.agreement.tap = lambda v, seen=seen: seen.setdefault("a", v)
        block.consistent.tap = lambda v, seen=seen: seen.setdefault("c", v)
        with torch.no_grad():
            block(rgb, sign * rgb)
        assert torch.allclose(seen["a"], torch.full_like(seen["a"], wanted), atol=0.02)
        assert (float(seen["c"].abs().max()) > 0) == (sign == 1)


def test_hybrid_losses_reach_their_bounds() -> None:
    rgb, x = pair(16)
    block = Hybrid(16)
    one = torch.ones(2, 1, 3, 4)
    s = rgb[:, :8]
    seen = {
        "shared_rgb": s,
        "shared_x": s,
        "specific_rgb": s,
        "specific_x": s,
        "confidence_rgb": one,
        "confidence_x": one,
    }
    losses = block.losses(seen)
    assert abs(float(losses["consistency"])) < 1e-6
    flat = s.transpose(0, 1).flatten(1).numpy()
    import numpy as np

    assert abs(float(losses["decorrelation"]) - float((np.corrcoef(flat) ** 2).mean())) < 1e-5
    assert abs(float(block.losses(seen | {"shared_x": -s})["consistency"]) - 2) < 1e-6
    a, b = torch.randn(1, 3, 50, 50), torch.randn(1, 4, 50, 50)
    wanted = np.corrcoef(np.vstack([a[0].flatten(1), b[0].flatten(1)]))[:3, 3:]
    assert abs(float(_correlation(a, b)) - float((wanted**2).mean())) < 1e-6
