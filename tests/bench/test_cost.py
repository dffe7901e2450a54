"""Costs against counts by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.bench.cost import cost, counted, peak_bytes


class Two(nn.Module):
    """Two convolutions that live side by side, then their sum."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.Conv2d(1, width, 1, bias=False)

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.a(rgb) + self.b(x)


def test_counts_equal_those_by_hand() -> None:
    found = counted(Two, (10, 20), 1)
    weights = 8 * 27 + 8
    assert found.num_params == weights
    assert found.peak_mb == (4 * weights + 4 * 3 * 8 * 200) / 1e6  # both and their sum
    assert counted(lambda: Two(800), (100, 100), 1).gmacs == round(800 * 28 * 1e4 / 1e9, 4)


def test_what_is_freed_counts_no_more_and_views_never() -> None:
    assert peak_bytes(lambda: torch.zeros(100).add(1).add(1).add(1).mul(2)) == 2 * 400
    assert peak_bytes(lambda: torch.zeros(100).view(10, 10).t()[2:]) == 400
    kept = torch.zeros(1000)
    assert peak_bytes(lambda: kept.add_(1)) == 0


def test_twice_the_work_takes_longer_in_turns_with_the_reference() -> None:
    found = cost(lambda: Two(256), lambda: Two(4), (96, 96), 1)
    assert found.latency_ms is not None and found.latency_ms > 0
    assert found.latency_ratio is not None and found.latency_ratio > 1
