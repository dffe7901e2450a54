"""Gates, mixtures and exchanges against NumPy and SciPy on the whole data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from fusionzoo.errors import InputError
from fusionzoo.metrics import ExchangeRatio, GateStatistics, MixtureStatistics


def test_gate_equals_numpy_and_scipy() -> None:
    g = torch.Generator().manual_seed(0)
    gate = (3 * torch.randn(7, 4, 5, 6, generator=g)).sigmoid()
    gate[:, 1] = gate[:, 1].round()  # decides everywhere
    gate = 2 * gate - 1  # declared range -1 .. 1
    statistics = GateStatistics(4, low=-1, high=1)
    for part in gate.split(3):
        statistics.update(part)
    scores = statistics.compute()
    u = (gate.double().numpy() + 1) / 2
    bits = entropy(np.stack([u, 1 - u]), base=2, axis=0)
    assert scores.mean == pytest.approx(u.mean()) and scores.std == pytest.approx(u.std())
    assert scores.entropy == pytest.approx(bits.mean())
    np.testing.assert_allclose(scores.channel_entropy.numpy(), bits.mean((0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(scores.channel_mean.numpy(), u.mean((0, 2, 3)), atol=1e-12)
    assert scores.shut == pytest.approx((u <= 0.01).mean()) and scores.open == pytest.approx((u >= 0.99).mean())
    assert float(scores.channel_entropy[1]) == pytest.approx(0, abs=1e-6)
    total, images = u.var(), u.mean((2, 3))
    assert scores.by_channel == pytest.approx(images.mean(0).var() / total)
    assert scores.by_image == pytest.approx(images.var(0).mean() / total)
    assert scores.by_position == pytest.approx(u.var((2, 3)).mean() / total)
    assert scores.by_channel + scores.by_image + scores.by_position == pytest.approx(1)
    assert scores.images == 7 and scores.n == 7 * 30


def test_planted_gates_are_recognised() -> None:
    g = torch.Generator().manual_seed(1)
    shape = (9, 6, 4, 4)
    for name, varies in (("by_channel", (1, 6, 1, 1)), ("by_image", (9, 1, 1, 1)), ("by_position", (1, 1, 4, 4))):
        statistics = GateStatistics(6)
        statistics.update(torch.rand(varies, generator=g).expand(shape))
        assert getattr(statistics.compute(), name) == pytest.approx(1)
    fixed = GateStatistics(6)
    fixed.update(torch.full(shape, 0.3))
    scores = fixed.compute()
    assert math.isnan(scores.by_channel) and scores.std == pytest.approx(0, abs=1e-7)
    assert scores.entropy == pytest.approx(float(entropy([0.3, 0.7], base=2)), abs=1e-6)


def test_channel_gates_and_tokens() -> None:
    vector = torch.rand(5, 3, generator=torch.Generator().manual_seed(2))
    for shape in ((5, 3), (5, 3, 1), (5, 3, 1, 1)):
        statistics = GateStatistics(3)
        statistics.update(vector.view(shape))
        assert statistics.compute().mean == pytest.approx(float(vector.double().mean()))


def test_gate_outside_its_range_is_refused() -> None:
    statistics = GateStatistics(2)
    statistics.update(torch.full((1, 2, 2, 2), 1.0005))  # rounding
    with pytest.raises(InputError, match=r"declared within 0.0 .. 1.0 has values from 1.5 to 1.5"):
        statistics.update(torch.full((1, 2, 2, 2), 1.5))
    with pytest.raises(InputError, match="nan"):
        statistics.update(torch.full((1, 2, 2, 2), math.nan))
    with pytest.raises(InputError, match=r"\(B, 2, ...\)"):
        statistics.update(torch.rand(1, 3, 2, 2))
    with pytest.raises(InputError, match="no gates yet"):
        GateStatistics(2).compute()
    with pytest.raises(InputError, match="low below high"):
        GateStatistics(2, 1.0, 0.0)


def test_mixture_equals_scipy() -> None:
    g = torch.Generator().manual_seed(3)
    weights = (2 * torch.randn(3, 6, 1, 4, 5, generator=g)).softmax(0)
    mix = MixtureStatistics(("rgb", "depth", "thermal"))
    for part in (slice(0, 2), slice(2, 6)):
        mix.update(*(5 * w[part] for w in weights))  # any common scale
    scores = mix.compute()
    flat = weights.double().flatten(1).numpy()
    np.testing.assert_allclose(scores.share.numpy(), flat.mean(1), atol=1e-7)
    assert scores.entropy == pytest.approx(entropy(flat, axis=0, base=3).mean(), abs=1e-7)
    want = np.bincount(flat.argmax(0), minlength=3) / flat.shape[1]
    np.testing.assert_allclose(scores.largest.numpy(), want, atol=1e-12)
    with pytest.raises(InputError, match="not negative"):
        mix.update(*(-w for w in weights))
    with pytest.raises(InputError, match="one shape"):
        mix.update(weights[0], weights[1], weights[2][:1])
    with pytest.raises(InputError, match="two or more"):
        MixtureStatistics(1)


class TestExchange:
    def test_equals_counting(self) -> None:
        g = torch.Generator().manual_seed(4)
        rgb, x = torch.rand(6, 3, 4, 5, generator=g) < 0.2, torch.rand(6, 3, 4, 5, generator=g) < 0.4
        exchange = ExchangeRatio(3)
        for part in (slice(0, 1), slice(1, 6)):
            exchange.update(rgb[part], x[part].float())
        scores = exchange.compute()
        for i, mask in enumerate((rgb, x)):
            share = mask.double().mean((1, 2, 3))
            assert float(scores.ratio[i]) == pytest.approx(float(mask.double().mean()), abs=1e-12)
            assert float(scores.std[i]) == pytest.approx(float(share.std(unbiased=False)), abs=1e-9)
            np.testing.assert_allclose(scores.channel_ratio[i].numpy(), mask.double().mean((0, 2, 3)), atol=1e-12)
        assert float(scores.both[0, 1]) == pytest.approx(float((rgb & x).double().mean()), abs=1e-12)
        assert torch.equal(scores.both.diagonal(), scores.ratio)

    def test_channels_fixed_by_weights_and_tokens_below_a_score(self) -> None:
        mask = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 4, 1, 1).expand(5, 4, 1, 1)
        exchange = ExchangeRatio(4)
        exchange.update(mask, 1 - mask)
        scores = exchange.compute()
        assert scores.ratio.tolist() == [0.5, 0.5] and scores.std.tolist() == [0, 0] and float(scores.both[0, 1]) == 0
        tokens = ExchangeRatio(1, below=0.02)
        tokens.update(torch.tensor([[[0.01, 0.5, 0.019, 0.02]]]), torch.ones(1, 1, 4))
        assert tokens.compute().ratio.tolist() == [0.5, 0.0]

    def test_wrong_use(self) -> None:
        with pytest.raises(InputError, match="no masks yet"):
            ExchangeRatio(2).compute()
        with pytest.raises(InputError, match="expected 2 masks"):
            ExchangeRatio(2).update(torch.ones(1, 2))
        with pytest.raises(InputError, match=r"\(B, 2, ...\)"):
            ExchangeRatio(2).update(torch.ones(1, 3), torch.ones(1, 3))
