"""AsymFormer's feature selection and cross-modal attention."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fusionzoo.fusion._parts import to_tokens
from fusionzoo.fusion.asymformer import CrossModalAttention, FeatureSelection


def maps(count: int, channels: int, batch: int = 2, size: tuple[int, int] = (5, 6)) -> list[Tensor]:
    return [torch.randn(batch, channels, *size) for _ in range(count)]


def test_published_scale_of_lafs_is_uninformative_and_ours_is_not() -> None:
    both = torch.randn(4, 256, 6, 8)
    for official, low, high in ((True, 0, 1e-4), (False, 1e-2, 0.5)):
        block = FeatureSelection(256, official_scale=official)
        seen: list[Tensor] = []
        block.spatial_gate.tap = lambda v, seen=seen: (seen.append(v), v)[1]  # type: ignore[assignment]
        block(both)
        assert low < float(seen[0].detach().std()) < high


@pytest.mark.parametrize(("x_channels", "rgb_channels"), [(8, 24), (24, 8), (16, 16)])
def test_cross_modal_attention_with_a_map_of_all_pairs(x_channels: int, rgb_channels: int) -> None:
    block = CrossModalAttention(x_channels, rgb_channels).eval()
    fused, x, rgb = *maps(2, x_channels), *maps(1, rgb_channels)
    m1, m2 = x_channels // 4, rgb_channels // 4
    with torch.no_grad():
        a = block.key_query_x(to_tokens(block.norm_x(x)))
        b = block.key_query_rgb(to_tokens(block.norm_rgb(rgb)))
        mixed = torch.empty(2, 30, 4 * m2)
        mixed[..., 0::2], mixed[..., 1::2] = a, b
        v = block.value(to_tokens(fused))
        parts = []
        for i in (0, 1):
            k, q = mixed[..., 2 * i * m2 : (2 * i + 1) * m2], mixed[..., (2 * i + 1) * m2 : (2 * i + 2) * m2]
            weights = (q @ k.transpose(1, 2) / math.sqrt(m2)).softmax(-1)
            parts.append(weights @ v[..., i * m1 : (i + 1) * m1])
        want = block.norm(block.out(torch.cat(parts, 2)).transpose(1, 2).reshape(2, x_channels, 5, 6)) + fused
        torch.testing.assert_close(block(fused, x, rgb), want, rtol=1e-5, atol=1e-5)
