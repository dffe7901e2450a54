"""Channel health against NumPy over all the data at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics import ChannelHealth
from fusionzoo.metrics.health.channels import effective_rank, participation_ratio


def test_equals_numpy_in_batches() -> None:
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(10, 6, 4, 5, generator=g) @ torch.randn(5, 5, generator=g) + 100
    maps[:, 2] = 0.3  # dead
    maps[:, 4] = 0.0  # dead
    health = ChannelHealth(6)
    for batch in maps.split(3):
        health.update(batch)
    scores = health.compute()
    rows = maps.double().permute(0, 2, 3, 1).reshape(-1, 6).numpy()
    assert scores.dead_channels == (2, 4) and scores.dead == 2 and scores.n == 200 and scores.channels == 6
    np.testing.assert_allclose(scores.channel_mean.numpy(), rows.mean(0), rtol=1e-12)
    alive = [0, 1, 3, 5]
    np.testing.assert_allclose(scores.channel_std.numpy()[alive], rows.std(0)[alive], rtol=1e-9)
    assert (scores.mean, scores.std) == pytest.approx((rows.mean(), rows.std()), rel=1e-9)
    values = np.linalg.svd(rows[:, alive] - rows[:, alive].mean(0), compute_uv=False) ** 2
    p = values / values.sum()
    assert scores.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)
    assert scores.saturated is None
    assert (scores.low, scores.high) == (rows.min(), rows.max())


def test_effective_rank_of_known_spectra() -> None:
    line = torch.outer(torch.arange(50.0) - 20, torch.tensor([1.0, -2.0, 3.0]))
    health = ChannelHealth(3)
    health.update(line)
    assert health.compute().effective_rank == pytest.approx(1, abs=1e-6)
    assert effective_rank(torch.eye(7)) == pytest.approx(7)
    assert math.isnan(effective_rank(torch.zeros(3, 3)))


def test_saturated_share_of_a_declared_range() -> None:
    values = torch.tensor([[0.0, 0.5], [0.005, 0.5], [0.02, 0.995], [1.0, 0.98]])
    health = ChannelHealth(2, low=0, high=1)
    health.update(values[:1])
    health.update(values[1:])
    assert health.compute().saturated == pytest.approx(4 / 8)
    only_low = ChannelHealth(2, low=0)
    only_low.update(values)
    assert only_low.compute().saturated == pytest.approx(1 / 8)


def test_saturated_and_silent_units() -> None:
    g = torch.Generator().manual_seed(1)
    values = 0.1 + 0.8 * torch.rand(200, 4, generator=g)
    values[:, 1] = (values[:, 1] > 0.5).float()  # always at a bound
    values[:191, 2] = 1.0  # 95.5 %
    values[:189, 3] = 0.0  # 94.5 %
    health = ChannelHealth(4, low=0, high=1)
    for part in values.split(64):
        health.update(part)
    scores = health.compute()
    assert scores.saturated_channels == (1, 2) and scores.dead == 0
    silent = (values == 0).double().mean(0)
    assert torch.equal(scores.channel_silent, silent) and scores.silent == pytest.approx(float(silent.mean()))
    assert ChannelHealth(2).info and scores.channel_silent is not None
    free = ChannelHealth(4)
    free.update(values)
    assert free.compute().saturated_channels is None


def test_participation_ratio_equals_the_eigenvalues() -> None:
    rows = torch.randn(300, 5, generator=torch.Generator().manual_seed(2)).double() * torch.tensor([5, 3, 1, 1, 0.1])
    health = ChannelHealth(5)
    health.update(rows + 7)
    values = np.linalg.eigvalsh(np.cov(rows.numpy().T, bias=True))
    assert health.compute().participation == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-9)
    assert participation_ratio(torch.eye(7)) == pytest.approx(7) and math.isnan(participation_ratio(torch.zeros(3, 3)))
    assert health.compute().participation <= health.compute().effective_rank  # Renyi entropies fall with their order


def test_everything_dead() -> None:
    health = ChannelHealth(3)
    health.update(torch.full((2, 3, 4, 4), 0.1))
    scores = health.compute()
    assert scores.dead == 3 and math.isnan(scores.effective_rank) and scores.std == pytest.approx(0, abs=1e-9)
    for n in range(2, 40):  # means that round leave a trace of variance, which must not count
        health = ChannelHealth(2)
        health.update(torch.full((n, 2), 0.1, dtype=torch.float64))
        assert math.isnan(health.compute().effective_rank), n


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="expected 3 channels, got 2"):
        ChannelHealth(3).update(torch.randn(1, 2, 4, 4))
    with pytest.raises(InputError, match="not finite"):
        ChannelHealth(1).update(torch.tensor([[float("inf")]]))
    with pytest.raises(InputError, match="no samples"):
        ChannelHealth(1).compute()
    with pytest.raises(InputError, match="low must be below high"):
        ChannelHealth(1, low=1, high=0)
