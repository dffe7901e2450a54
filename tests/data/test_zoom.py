"""How far a training crop zooms: log-uniformly over the whole range, read off x divided by the zoom."""

from __future__ import annotations

import math

import torch
from scipy import stats

from fusionzoo.data.transforms import train_transform


def test_the_zoom_is_log_uniform_over_its_range() -> None:
    size, low, high = (12, 16), 0.5, 2.0
    sample = {
        "rgb": torch.zeros(3, *size, dtype=torch.uint8), "x": torch.ones(1, *size),
        "label": torch.zeros(size, dtype=torch.long), "id": "a",
    }  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    transform = train_transform(size, scale=(low, high), jitter=0, depth_scale=True, generator=generator)
    zooms = [1 / float(transform(sample)["x"].max()) for _ in range(400)]  # what lies outside the image is 0
    assert low <= min(zooms) < 1.05 * low and 0.95 * high < max(zooms) <= high
    shares = [math.log(z / low) / math.log(high / low) for z in zooms]
    assert stats.kstest(shares, "uniform").pvalue > 0.01
