"""Commonality against scikit-learn's regressions and planted shares."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.cooperation.commonality import commonality
from fusionzoo.metrics.similarity.moments import CentredMoments, Moments


def _moments(rgb: Tensor, x: Tensor, fused: Tensor, view: str = "gap") -> CentredMoments:
    moments = Moments(("rgb", "x", "fused"), view)
    for part in zip(rgb.split(50), x.split(50), fused.split(50), strict=True):
        moments.update(*part)
    return moments.centred()


def _draw(n: int, c: int, seed: int) -> Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed)).double()


def test_equals_regressions_on_the_data() -> None:
    common, rgb, x = _draw(120, 2, 0), _draw(120, 3, 1), _draw(120, 4, 2)
    rgb, x = torch.cat([rgb, common + 0.1 * _draw(120, 2, 3)], 1), torch.cat([x, common], 1)
    fused = rgb @ _draw(5, 3, 4) + x @ _draw(6, 3, 5) + _draw(120, 3, 6)

    def r2(*parts: Tensor) -> float:
        data = torch.cat(parts, 1).numpy()
        fitted = LinearRegression().fit(data, fused.numpy()).predict(data)
        return r2_score(fused.numpy(), fitted, multioutput="variance_weighted")

    plain = commonality(_moments(rgb, x, fused), adjusted=False)
    both, one, two = r2(rgb, x), r2(rgb), r2(x)
    got = (plain.unique_rgb, plain.unique_x, plain.redundant, plain.rest)
    assert got == pytest.approx((both - two, both - one, one + two - both, 1 - both), abs=1e-5)
    assert sum(got) == pytest.approx(1, abs=1e-12)
    corrected = commonality(_moments(rgb, x, fused))
    assert corrected.r2_both == pytest.approx(1 - (1 - both) * 119 / (119 - 11), abs=1e-5)


def test_planted_shares_are_found() -> None:
    a, b, shared, noise = (_draw(4000, 2, seed) for seed in range(4))
    rgb, x = torch.cat([a, shared], 1), torch.cat([b, shared], 1)
    fused = 1.0 * a + 2.0 * b + 3.0 * shared + 1.0 * noise
    result = commonality(_moments(rgb, x, fused))
    got = (result.unique_rgb, result.unique_x, result.redundant, result.rest)
    assert got == pytest.approx((1 / 15, 4 / 15, 9 / 15, 1 / 15), abs=0.02)


def test_suppression_is_negative() -> None:
    signal, noise = _draw(3000, 1, 0), _draw(3000, 1, 1)
    result = commonality(_moments(signal + noise, noise, signal))  # x alone says nothing, with rgb it removes the noise
    assert result.r2_both == pytest.approx(1, abs=1e-4) and result.redundant == pytest.approx(-0.5, abs=0.05)


def test_unrelated_features_explain_nothing_once_adjusted() -> None:
    result = commonality(_moments(_draw(100, 20, 0), _draw(100, 20, 1), _draw(100, 8, 2)))
    assert abs(result.r2_both) < 0.15
    assert commonality(_moments(_draw(100, 20, 0), _draw(100, 20, 1), _draw(100, 8, 2)), adjusted=False).r2_both > 0.3


def test_undefined_is_nan() -> None:
    result = commonality(_moments(_draw(30, 20, 0), _draw(30, 20, 1), _draw(30, 2, 2)))
    assert math.isnan(result.unique_rgb) and math.isnan(result.r2_both) and not math.isnan(result.r2_rgb)
    assert math.isnan(commonality(_moments(_draw(30, 2, 0), _draw(30, 2, 1), torch.zeros(30, 2))).rest)


def test_maps_in_view_pix() -> None:
    g = torch.Generator().manual_seed(0)
    rgb, x = torch.randn(60, 3, 4, 5, generator=g), torch.randn(60, 2, 4, 5, generator=g)
    result = commonality(_moments(rgb, x, rgb[:, :2] + x, "pix"))
    assert (result.unique_rgb, result.unique_x) == pytest.approx((0.5, 0.5), abs=0.05)
    assert result.n == 1200 and result.view == "pix"


def test_wrong_use() -> None:
    with pytest.raises(InputError, match="three different points"):
        commonality(_moments(_draw(30, 2, 0), _draw(30, 2, 1), _draw(30, 2, 2)), "rgb", "x", "x")
