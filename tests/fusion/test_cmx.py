"""CMX's rectification and fusion: what crosses, and from where."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify


def maps(count: int, channels: int, batch: int = 2, size: tuple[int, int] = (5, 6)) -> list[Tensor]:
    return [torch.randn(batch, channels, *size) for _ in range(count)]


def test_rectification_reads_the_other_stream_with_index_one_for_rgb() -> None:
    block = FeatureRectify(8).eval()
    rgb, x = maps(2, 8)
    block.channel_gate.tap = lambda w: torch.stack([torch.zeros(2, 8), torch.ones(2, 8)], dim=1)
    block.spatial_gate.tap = torch.zeros_like
    first, second = block(rgb, x)
    torch.testing.assert_close(first, rgb + 0.5 * x)
    torch.testing.assert_close(second, x)


def test_ffm_with_zero_contexts_ignores_what_crosses() -> None:
    block = FeatureFusion(8, heads=2).eval()
    rgb, x = maps(2, 8)
    block.rgb.context.tap = block.x.context.tap = torch.zeros_like
    seen: list[Tensor] = []
    block.x.attended.tap = lambda v: (seen.append(v), v)[1]
    block(rgb, x)
    assert float(seen[0].detach().abs().max()) == 0.0
