"""The shared dictionary against sources that are planted: which there are, where they are, whose they are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from fusionzoo.errors import InputError
from fusionzoo.metrics.concepts import match, shared_dictionary

SHARED, OWN, N = 3, 2, 3000


def drawn(n, k, seed):
    """(n, k) sparse sources, none below 0: at most positions nearly nothing."""
    g = torch.Generator().manual_seed(seed)
    there = torch.rand(n, k, generator=g, dtype=torch.float64) < 0.15
    return there * (0.5 + torch.rand(n, k, generator=g, dtype=torch.float64))


def mixed(sources, channels, seed, noise=0.02):
    g = torch.Generator().manual_seed(seed)
    ways = torch.randn(sources.shape[1], channels, generator=g, dtype=torch.float64)
    return 5 + sources @ ways + noise * torch.randn(len(sources), channels, generator=g, dtype=torch.float64)


@pytest.fixture(scope="module")
def planted():
    """rgb, x, the sources; the first three are in both streams, two more in rgb alone, two more in x alone."""
    hidden = drawn(N, SHARED + 2 * OWN, 0)
    both, rgb, x = hidden.split([SHARED, OWN, OWN], 1)
    return mixed(torch.cat([both, rgb], 1), 12, 1), 100 * mixed(torch.cat([both, x], 1), 20, 2), hidden


def matched(code, hidden):
    """Source -> its element, and |correlation| of the two, by an assignment of SciPy's."""
    k = hidden.shape[1]
    r = np.abs(np.corrcoef(hidden.numpy().T, code.numpy().T)[:k, k:])
    _, columns = linear_sum_assignment(-r)
    return columns, r[np.arange(k), columns]


def test_planted_sources_are_found_again_and_told_apart(planted):
    rgb, x, hidden = planted
    found = shared_dictionary(rgb, x, 7)
    at, r = matched(found.code(rgb, x), hidden)
    assert r.min() > 0.97 and len(found) == 7
    assert [found.kinds[i] for i in at] == ["shared"] * SHARED + ["rgb"] * OWN + ["x"] * OWN
    assert found.shared[at[:SHARED]].min() > 0.9 and found.shared[at[SHARED:]].max() < 0.1


@pytest.mark.parametrize("kind", ["there or not", "heavy tails"])
def test_sources_that_are_only_skewed_or_only_heavy_are_found(kind):
    g = torch.Generator().manual_seed(0)
    u = torch.rand(1000, 3, generator=g, dtype=torch.float64)
    laplace = (u - 0.5).sign() * torch.log1p(-2 * (u - 0.5).abs())
    hidden = (u < 0.2).double() if kind == "there or not" else laplace
    for seed in range(4):
        found = shared_dictionary(hidden[:, [0, 1]], hidden[:, [0, 2]], seed=seed)
        assert sorted(found.kinds) == ["rgb", "shared", "x"]


def test_decoders_give_the_streams_back_from_one_code(planted):
    rgb, x, _ = planted
    found = shared_dictionary(rgb, x, 7)
    code = found.code(rgb, x)
    for rows, mean, decoder in (
        (rgb, found.mean_rgb, found.decoder_rgb),
        (x, found.mean_x, found.decoder_x),
    ):
        rest = rows - mean - code @ decoder
        assert rest.square().sum() < 0.002 * (rows - rows.mean(0)).square().sum()
    torch.testing.assert_close(code.T @ code / N, torch.eye(7, dtype=torch.float64), atol=1e-8, rtol=0)
    assert code.pow(3).mean(0).min() > 0, "the long tail lies above 0"
    share = np.square(found.decoder_rgb.numpy()).sum(1) / rgb.numpy().var(0).sum()
    np.testing.assert_allclose(found.energy_rgb, share, rtol=1e-6)


def test_one_seed_one_dictionary_and_another_finds_the_same_sources(planted):
    rgb, x, _ = planted
    one, again, other = (shared_dictionary(rgb, x, 7, seed=s) for s in (0, 0, 1))
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(again, field.name)
        assert a == b if isinstance(a, int) else torch.allclose(a, b, rtol=1e-9, atol=1e-9)
    assert match(one.code(rgb, x), other.code(rgb, x)).min() > 0.99


def test_equal_streams_share_everything_and_independent_ones_nothing():
    hidden = drawn(1500, 8, 3)
    rgb, x = mixed(hidden[:, :4], 6, 4), mixed(hidden[:, 4:], 6, 5)
    same = shared_dictionary(rgb, rgb, 4)
    assert same.kinds == ["shared"] * 4 and same.shared.min() > 0.999
    apart = shared_dictionary(rgb, x, 8)
    assert sorted(apart.kinds) == ["rgb"] * 4 + ["x"] * 4


def test_elements_of_which_each_stream_tells_another_half_are_mixed_not_shared(planted):
    rgb, x, _ = planted
    found = shared_dictionary(rgb, x, 3)
    told = dataclasses.replace(found, r2_rgb=torch.tensor([0.5, 0.5, 0.6]), r2_x=torch.tensor([0.5, 0.9, 0.2]))
    assert told.kinds == ["mixed", "shared", "rgb"]


def test_never_more_elements_than_positions_or_directions_allow():
    rgb, x = mixed(drawn(100, 6, 6), 30, 7, noise=0.5), mixed(drawn(100, 6, 8), 150, 9, noise=0.5)
    assert len(shared_dictionary(rgb, x)) == 6, "100 positions, 16 for each"
    few = drawn(1000, 2, 10)
    assert len(shared_dictionary(mixed(few, 5, 1, noise=0), mixed(few, 9, 2, noise=0))) == 2
    with pytest.raises(InputError, match="at least 32 positions, got 31"):
        shared_dictionary(rgb[:31], x[:31])


def test_a_constant_stream_has_no_elements():
    rgb = mixed(drawn(500, 3, 11), 4, 12, noise=0)
    still = torch.full((500, 5), 0.1, dtype=torch.float64)
    found = shared_dictionary(rgb, still)
    assert found.kinds == ["rgb"] * 3 and found.energy_x.tolist() == [0, 0, 0]
    assert shared_dictionary(still, rgb).kinds == ["x"] * 3
    none = shared_dictionary(still, still)
    assert len(none) == 0 and none.kinds == [] and none.code(still, still).shape == (500, 0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_refused(bad):
    rgb, x = torch.rand(40, 3), torch.rand(40, 2)
    x[3, 1] = bad
    with pytest.raises(InputError, match="not finite"):
        shared_dictionary(rgb, x)


def test_streams_of_other_positions_are_refused():
    with pytest.raises(InputError, match="same positions"):
        shared_dictionary(torch.rand(40, 3), torch.rand(41, 3))
