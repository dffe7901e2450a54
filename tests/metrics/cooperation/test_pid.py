"""Gaussian partial information decomposition against closed forms, a grid search over the noise, and its axioms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.cooperation.pid import GaussianPID, gaussian_pid, leading_components, pid_of_covariance
from fusionzoo.metrics.similarity.moments import Moments

Dims = tuple[int, int, int]


def _covariance(dims: Dims, seed: int) -> np.ndarray:
    """Of a random joint Gaussian in which everything is related."""
    drawn = np.random.default_rng(seed)
    mix = drawn.normal(size=(sum(dims), sum(dims) + 2))
    return mix @ mix.T / sum(dims)


def _mutual(cov: np.ndarray, one: list[int], two: list[int]) -> float:
    det = lambda at: np.linalg.slogdet(cov[np.ix_(at, at)])[1]  # noqa: E731
    return float(det(one) + det(two) - det(one + two)) / 2


def _pid(cov: np.ndarray, dims: Dims, ridge: float = 0.0) -> GaussianPID:
    return pid_of_covariance(torch.from_numpy(cov), dims, ridge=ridge)


def _places(dims: Dims) -> list[list[int]]:
    ends = np.cumsum([0, *dims])
    return [list(range(a, b)) for a, b in zip(ends[:-1], ends[1:], strict=True)]


def _turned(cov: np.ndarray, dims: Dims, seed: int) -> np.ndarray:
    """The same information in other coordinates: each set by an invertible map of its own."""
    drawn = np.random.default_rng(seed)
    full = np.zeros_like(cov)
    for at in _places(dims):
        full[np.ix_(at, at)] = drawn.normal(size=(len(at), len(at))) + 2 * np.eye(len(at))
    return full @ cov @ full.T


def test_of_a_scalar_target_the_redundancy_is_the_least_information() -> None:
    """Barrett 2015: for one target dimension every redundancy of the two pairs is the smaller of the two."""
    for seed in range(6):
        dims = (1 + seed % 3, 1 + seed % 2, 1)
        cov, (a, b, y) = _covariance(dims, seed), _places(dims)
        one, two, both = _mutual(cov, a, y), _mutual(cov, b, y), _mutual(cov, a + b, y)
        want = (one - min(one, two), two - min(one, two), min(one, two), both - max(one, two))
        assert _pid(cov, dims).parts == pytest.approx(want, abs=1e-7)


def test_a_source_that_repeats_the_other_is_all_redundant() -> None:
    cov = _covariance((3, 2, 2), 1)
    twice = [0, 1, 2, 0, 1, 2, 5, 6]
    same = _turned(cov[np.ix_(twice, twice)], (3, 3, 2), 0)
    told = _mutual(cov, [0, 1, 2], [5, 6])
    found = _pid(same, (3, 3, 2))
    assert found.parts == pytest.approx((0, 0, told, 0), abs=1e-6) and found.information == pytest.approx(told)


def test_a_source_of_noise_leaves_all_unique_to_the_other() -> None:
    cov, (a, b, y) = _covariance((3, 2, 2), 2), _places((3, 2, 2))
    cov[np.ix_(b, a + y)] = 0
    cov[np.ix_(a + y, b)] = 0
    told = _mutual(cov, a, y)
    assert _pid(cov, (3, 2, 2)).parts == pytest.approx((told, 0, 0, 0), abs=1e-7)
    order = b + a + y
    assert _pid(cov[np.ix_(order, order)], (2, 3, 2)).parts == pytest.approx((0, told, 0, 0), abs=1e-7)


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_a_noisy_sum_of_independent_sources_is_mostly_synergistic(noise: float) -> None:
    cov = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 2 + noise]])
    one, both = (math.log((2 + noise) / left) / 2 for left in (1 + noise, noise))
    assert _pid(cov, (1, 1, 1)).parts == pytest.approx((0, 0, one, both - one), abs=1e-8)


def test_independent_parts_add_up() -> None:
    """Three independent scalar systems, each with Barrett's closed form, hidden by invertible maps of the sets."""
    parts = [_covariance((1, 1, 1), seed) for seed in (3, 4, 8)]
    order = [0, 3, 6, 1, 4, 7, 2, 5, 8]
    whole = np.zeros((9, 9))
    for i, part in enumerate(parts):
        whole[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = part
    want = np.sum([_pid(part, (1, 1, 1)).parts for part in parts], axis=0)
    assert (want[0] > 0.01) and (want[1] > 0.01), "both have something of their own"
    found = _pid(_turned(whole[np.ix_(order, order)], (3, 3, 3), 5), (3, 3, 3))
    assert found.parts == pytest.approx(tuple(want), abs=1e-7)


def _least_by_grid(cov: np.ndarray, dims: Dims) -> float:
    """The least information over cross-covariances of the sources that keep both pairs with the target."""
    a, b, y = _places(dims)
    given = np.linalg.inv(cov[np.ix_(y, y)])
    means = cov[np.ix_(a, y)] @ given @ cov[np.ix_(y, b)]
    roots = [np.linalg.cholesky(cov[np.ix_(p, p)] - cov[np.ix_(p, y)] @ given @ cov[np.ix_(y, p)]) for p in (a, b)]
    centre, reach, least = np.zeros(dims[0] * dims[1]), 1.0, math.inf
    for _ in range(7):
        axis = np.linspace(-reach, reach, 9 if len(centre) > 2 else 41)
        tries = centre + np.stack(np.meshgrid(*[axis] * len(centre)), -1).reshape(-1, len(centre))
        s = tries.reshape(-1, dims[0], dims[1])
        s = s[np.linalg.svd(s, compute_uv=False)[:, 0] < 1 - 1e-9]
        full = np.repeat(cov[None], len(s), 0)
        full[:, : dims[0], dims[0] : dims[0] + dims[1]] = means + roots[0] @ s @ roots[1].T
        full[:, dims[0] : dims[0] + dims[1], : dims[0]] = full[:, : dims[0], dims[0] : dims[0] + dims[1]].swapaxes(1, 2)
        sources = full[:, : dims[0] + dims[1], : dims[0] + dims[1]]
        heights = [np.linalg.slogdet(m)[1] for m in (sources, cov[np.ix_(y, y)], full)]
        told = (heights[0] + heights[1] - heights[2]) / 2
        least, centre, reach = float(told.min()), s[told.argmin()].ravel(), reach / 3
    return least


@pytest.mark.parametrize("dims", [(1, 1, 2), (1, 2, 2), (2, 2, 2)])
def test_no_noise_on_a_grid_tells_less(dims: Dims) -> None:
    for seed in (0, 1, 2):
        cov, (a, b, y) = _covariance(dims, 10 + seed), _places(dims)
        union = _least_by_grid(cov, dims)
        one, two, both = _mutual(cov, a, y), _mutual(cov, b, y), _mutual(cov, a + b, y)
        found = _pid(cov, dims)
        assert found.parts == pytest.approx((union - two, union - one, one + two - union, both - union), abs=2e-4)
        assert found.gap < 1e-7 and found.unique_rgb <= union - two + 1e-8, "the grid is never lower"


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_none_is_negative_they_add_up_and_swapping_the_sources_swaps_them(a, b, d, seed, ridge) -> None:
    dims, cov = (a, b, d), _covariance((a, b, d), seed)
    found = _pid(cov, dims, ridge)
    assert min(found.parts) >= -1e-8 and found.gap < 1e-6
    assert sum(found.parts) == pytest.approx(found.information, abs=1e-9)
    noisy = cov.copy()
    target = _places(dims)[2]
    noisy[target, target] += ridge * np.diag(cov)[target].mean()
    assert found.information == pytest.approx(_mutual(noisy, list(range(a + b)), target), abs=1e-7)
    order = [*range(a, a + b), *range(a), *target]
    back = _pid(cov[np.ix_(order, order)], (b, a, d), ridge)
    rgb, x, redundant, synergistic = found.parts
    assert back.parts == pytest.approx((x, rgb, redundant, synergistic), abs=2e-6)
    assert sum(found.shares) == pytest.approx(1)


def test_a_ridge_makes_a_determined_target_finite() -> None:
    cov = np.array([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])  # the target is rgb
    with pytest.raises(InputError, match="determine the target.*give a ridge"):
        _pid(cov, (1, 1, 1))
    assert _pid(cov, (1, 1, 1), ridge=0.01).parts == pytest.approx((math.log(101) / 2, 0, 0, 0), abs=1e-8)


def test_dead_channels_change_nothing_and_a_constant_target_is_undefined() -> None:
    dims, more = (2, 2, 2), (3, 3, 3)
    cov = _covariance(dims, 7)
    wide, alive = np.zeros((9, 9)), [0, 1, 3, 4, 6, 7]
    wide[np.ix_(alive, alive)] = cov
    assert _pid(wide, more, 0.1).parts == pytest.approx(_pid(cov, dims, 0.1).parts, abs=1e-8)
    wide[:3] = wide[:, :3] = 0  # rgb is dead
    silent = _pid(wide, more, 0.1)
    assert silent.parts == pytest.approx((0, silent.information, 0, 0), abs=1e-9) and silent.information > 0.01
    assert all(math.isnan(v) for v in _pid(np.diag([1.0, 1, 0]), (1, 1, 1)).parts)
    nothing = _pid(np.eye(3), (1, 1, 1))
    assert nothing.parts == pytest.approx((0, 0, 0, 0)) and all(math.isnan(v) for v in nothing.shares)


# ------------------------------------------------------------------------------------------------ of second moments


def _draw(n: int, c: int, seed: int) -> Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed)).double()


def _moments(rgb: Tensor, x: Tensor, fused: Tensor) -> Moments:
    moments = Moments(("rgb", "x", "fused"))
    for part in zip(rgb.split(500), x.split(500), fused.split(500), strict=True):
        moments.update(*part)
    return moments


def test_equals_the_covariance_of_the_data() -> None:
    shared, rgb, x = _draw(3000, 2, 0), _draw(3000, 1, 1), _draw(3000, 2, 2)
    rgb, x = torch.cat([rgb, shared], 1) + 5, torch.cat([x, shared + 0.3 * _draw(3000, 2, 3)], 1)
    fused = rgb @ _draw(3, 2, 4) + x @ _draw(4, 2, 5) + _draw(3000, 2, 6)
    found = gaussian_pid(_moments(rgb, x, fused).centred(), ridge=0)
    want = _pid(np.cov(torch.cat([rgb, x, fused], 1).numpy().T, bias=True), (3, 4, 2))
    assert found.parts == pytest.approx(want.parts, abs=1e-6) and min(found.parts[:3]) > 0.02


def test_leading_components_are_those_of_scikit_learn() -> None:
    rows = _draw(400, 5, 0) @ _draw(5, 5, 1)
    moments = Moments(("a", "b"))
    moments.update(rows, rows[:, :2])
    kept = leading_components(moments.centred(), ("a", "b"), (2, 8))
    pca = PCA(2).fit(rows.numpy())
    assert kept.dims == (2, 2)
    assert kept.variance == pytest.approx((float(pca.explained_variance_ratio_.sum()), 1.0))
    assert np.abs(pca.components_ @ kept.bases[0].numpy()) == pytest.approx(np.eye(2), abs=1e-6)
    want = np.cov(np.concatenate([rows @ kept.bases[0], rows[:, :2] @ kept.bases[1]], 1).T, bias=True)
    assert kept.covariance(moments.centred(), ("a", "b")).numpy() == pytest.approx(want)


def test_few_samples_warn() -> None:
    rows = [_draw(300, 6, seed) for seed in range(3)]
    with pytest.warns(UserWarning, match="300 samples for 18 dimensions: information is overestimated"):
        many = gaussian_pid(_moments(*rows).centred())
    few = gaussian_pid(_moments(*rows).centred(), components=(2, 2))
    assert few.information < many.information


def test_wrong_use() -> None:
    moments = _moments(_draw(90, 1, 0), _draw(90, 1, 1), _draw(90, 1, 2)).centred()
    with pytest.raises(InputError, match="three different points"):
        gaussian_pid(moments, "rgb", "x", "x")
    for cov, dims, ridge, said in (
        (np.eye(3), (1, 1, 2), 0.0, "add up to the covariance"),
        (np.eye(3) * np.nan, (1, 1, 1), 0.0, "not finite"),
        (np.eye(3), (1, 1, 1), -1.0, "must not be negative"),
    ):
        with pytest.raises(InputError, match=said):
            _pid(cov, dims, ridge)
