"""Sigma's pieces against plain loops: the four orders of the scan, merging, enlarging."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from fusionzoo.models.published._swin import PatchMerge
from fusionzoo.models.published._vmamba import MapScan
from fusionzoo.models.published.sigma import Unfold, added


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_scans_of_a_map_pixel_by_pixel() -> None:
    """Each order walks the pixels in its own way with its own weights; the sum is what every pixel gets."""
    channels, states, height, width = 4, 3, 3, 5
    block = MapScan(channels, states).double()
    block.log_a.data += 0.3 * torch.randn_like(block.log_a)
    u = torch.randn(2, height, width, 2 * channels, dtype=torch.float64)
    rows = [(i, j) for i in range(height) for j in range(width)]
    columns = [(i, j) for j in range(width) for i in range(height)]
    want = torch.zeros_like(u)
    rank = block.sizes[0]
    a = -block.log_a.exp().reshape(4, 2 * channels, states)
    skip = block.skip.reshape(4, 2 * channels)
    for k, order in enumerate((rows, columns, rows[::-1], columns[::-1])):
        h = torch.zeros(2, 2 * channels, states, dtype=torch.float64)
        for i, j in order:
            now = u[:, i, j]
            s, b, c = (now @ block.select[k].T).split([rank, states, states], dim=1)
            step = F.softplus(s @ block.step_weight[k].T + block.step_bias[k])
            h = torch.exp(step[:, :, None] * a[k]) * h + (step * now)[:, :, None] * b[:, None, :]
            want[:, i, j] += (h * c[:, None, :]).sum(2) + skip[k] * now
    torch.testing.assert_close(block._scans(u), want)


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 6), (3, 5)])
def test_merging_puts_the_pixels_of_a_field_side_by_side(height: int, width: int) -> None:
    block = PatchMerge(2)
    block.norm = torch.nn.Identity()  # type: ignore[assignment]
    block.reduce = torch.nn.Identity()  # type: ignore[assignment]
    feature = torch.randn(1, height, width, 2)
    out = block(feature)
    assert out.shape == (1, -(-height // 2), -(-width // 2), 8)
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            field = []
            for right in (0, 1):
                for down in (0, 1):
                    y, x = 2 * i + down, 2 * j + right
                    field.append(feature[0, y, x] if y < height and x < width else torch.zeros(2))
            assert torch.equal(out[0, i, j], torch.cat(field))


def test_enlarging_lays_channels_out_as_pixels() -> None:
    block = Unfold(4)
    block.norm = torch.nn.Identity()  # type: ignore[assignment]
    feature = torch.randn(1, 2, 3, 4)
    with torch.no_grad():
        out, wide = block(feature), block.expand(feature)
    assert out.shape == (1, 4, 6, 2)
    for y in range(4):
        for x in range(6):
            part = 2 * (y % 2) + x % 2
            assert torch.equal(out[0, y, x], wide[0, y // 2, x // 2, 2 * part : 2 * part + 2])


def test_coarse_maps_get_the_size_of_finer_ones() -> None:
    coarse, fine = torch.randn(1, 4, 6, 2), torch.randn(1, 3, 5, 2)
    assert torch.equal(added(fine, fine), 2 * fine)
    want = F.interpolate(coarse.movedim(3, 1), size=(3, 5), mode="bilinear").movedim(1, 3) + fine
    torch.testing.assert_close(added(coarse, fine), want)
