"""The logistic recipe against scikit-learn, in passes over batches, and against autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics import ConceptCurve, ConceptStatistics, LogisticStep
from fusionzoo.metrics.concepts import fit_logistic
from fusionzoo.metrics.concepts import logistic as logistic_module

C, K = 5, 3


def _data(n: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(n, C, 8, 8, generator=g) * torch.logspace(-1, 1, C)[:, None, None] + 2
    masks = torch.rand(n, K, 8, 8, generator=g) < torch.tensor([0.5, 0.1, 0.0])[:, None, None]
    masks[:, 0] |= maps[:, 1] > 2.6
    masks[:, 1] |= maps[:, 3] + maps[:, 4] > 12
    return maps, masks, torch.rand(n, 8, 8, generator=g) < 0.9


@pytest.mark.parametrize("positive", [1.0, 4.0])
@pytest.mark.parametrize("binary", [False, True])
def test_equals_scikit_learn(positive: float, binary: bool) -> None:
    maps, masks, valid = _data()
    thresholds = torch.full((C,), 2.05) if binary else None

    def feed(step: LogisticStep) -> None:
        step.update(maps[:2], masks[:2], valid[:2])
        step.update(maps[2:], masks[2:], valid[2:])

    ridge = 0.02
    fit = fit_logistic(feed, C, K, thresholds=thresholds, positive=positive, ridge=ridge, steps=12)
    x = (maps > 2.05).double() if binary else maps.double()
    x = x.permute(0, 2, 3, 1)[valid].numpy()
    z = (x - x.mean(0)) / x.std(0)
    for k in range(2):
        t = masks[:, k][valid].numpy()
        model = LogisticRegression(C=1 / (ridge * len(t)), tol=1e-12, max_iter=10000)
        model.fit(z, t, sample_weight=np.where(t, positive, 1.0))
        coef = model.coef_[0] / x.std(0)
        np.testing.assert_allclose(fit.weights.weight[k].numpy(), coef, rtol=2e-4, atol=1e-5)
        bias = model.intercept_[0] - (coef * x.mean(0)).sum()
        assert float(fit.weights.bias[k]) == pytest.approx(bias, abs=2e-3)
        p = model.predict_proba(z)[:, 1]
        assert float(fit.weights.r2[k]) == pytest.approx(1 - ((t - p) ** 2).sum() / (len(t) * t.var()), abs=1e-4)
    assert fit.converged[:2].all() and fit.weights.present.tolist() == [True, True, False]
    assert bool((fit.weights.weight[2] == 0).all()) and math.isnan(fit.weights.r2[2])
    assert bool((fit.losses.diff(dim=0)[:, :2] <= 1e-9).all())


def test_gradient_and_hessian_are_those_of_the_loss() -> None:
    maps, masks, valid = _data(2)
    share = masks.float() * torch.rand(masks.shape, generator=torch.Generator().manual_seed(3))  # soft targets
    part = valid.float() * 0.7
    w = torch.randn(K, C + 1, generator=torch.Generator().manual_seed(4)).double() * 0.2
    positive = torch.tensor([1.0, 2.0, 3.0])
    step = LogisticStep(C, K, w, positive=positive)
    step.update(maps, share, part)
    x = maps.permute(0, 2, 3, 1).reshape(-1, C).double()
    v = part.flatten().double()

    def loss(row: Tensor, k: int) -> Tensor:
        p = (x @ row[:-1] + row[-1]).sigmoid()
        t = torch.minimum(share[:, k].flatten().double(), v)
        return -(positive[k] * t * p.log() + (v - t) * (1 - p).log()).sum()

    for k in range(K):
        state = step.state_dict()
        gradient = torch.autograd.functional.jacobian(lambda r, k=k: loss(r, k), w[k])
        hessian = torch.autograd.functional.hessian(lambda r, k=k: loss(r, k), w[k])
        torch.testing.assert_close(-state["gradient"][k], gradient, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(state["hessian"][k], hessian, rtol=1e-8, atol=1e-8)
        assert float(state["loss"][k]) == pytest.approx(float(loss(w[k], k)), rel=1e-10)


def test_sparse_and_dense_sums_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    maps, masks, valid = _data(4)
    maps = maps[..., 1:]
    thresholds = torch.quantile(maps.transpose(0, 1).flatten(1), 0.8, dim=1)
    w = torch.randn(K, C + 1, generator=torch.Generator().manual_seed(5)).double()
    states = []
    for limit in (0.0, 1.0):
        monkeypatch.setattr(logistic_module, "SPARSE", limit)
        step = LogisticStep(C, K, w, thresholds, positive=2.0)
        step.update(maps, masks[..., 1:].float() * 0.8, valid[..., 1:])
        states.append(step.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-12, atol=1e-12, msg=name)


def test_separable_concepts_do_not_run_away() -> None:
    maps, _, _ = _data()
    masks = (maps[:, :1] > 2).expand(-1, K, -1, -1)
    fit = fit_logistic(lambda step: step.update(maps, masks), C, K, ridge=1e-6, steps=15)
    assert bool(torch.isfinite(fit.weights.weight).all()) and bool((fit.losses[-1] < 0.01).all())
    always = fit_logistic(lambda step: step.update(maps, torch.ones(len(maps), K, 8, 8)), C, K)
    assert bool((always.weights.weight == 0).all())


def test_dead_channels_get_no_weight() -> None:
    maps, masks, valid = _data()
    maps[:, 2] = 0.7
    fit = fit_logistic(lambda step: step.update(maps, masks, valid), C, K)
    assert bool((fit.weights.weight[:, 2].abs() < 1e-3).all()) and bool(fit.converged[:2].all())


def test_finds_more_than_ridge_where_a_concept_is_rare() -> None:
    g = torch.Generator().manual_seed(8)
    small = torch.nn.functional.max_pool2d((torch.rand(60, 1, 16, 16, generator=g) < 0.004).float(), 3, 1, 1) > 0
    maps = torch.randn(60, 12, 16, 16, generator=g)
    for c in range(4):
        maps[:, c] += 1.5 * small[:, 0]
    train = torch.arange(60) % 2 == 0
    iou = {}
    statistics = ConceptStatistics(12, 1)
    statistics.update(maps[train], small[train])
    fit = fit_logistic(lambda step: step.update(maps[train], small[train]), 12, 1)
    for name, weights in (("ridge", statistics.solve()), ("logistic", fit.weights)):
        curve = ConceptCurve(1)
        curve.update(weights.score(maps), small, train=train)
        iou[name] = float(curve.compute().iou[0])
    assert iou["logistic"] > iou["ridge"] - 0.02 and iou["logistic"] > 0.5


def test_wrong_use() -> None:
    with pytest.raises(InputError, match="no labelled positions"):
        LogisticStep(C, K).newton()
    with pytest.raises(InputError, match="weight must be"):
        LogisticStep(C, K, torch.zeros(K, C))
    with pytest.raises(InputError, match="above 0"):
        LogisticStep(C, K, positive=0.0)
    step = LogisticStep(C, K)
    with pytest.raises(InputError, match="like the maps"):
        step.update(torch.zeros(1, C, 4, 4), torch.zeros(1, K, 8, 8))
    with pytest.raises(InputError, match="not finite"):
        step.update(torch.full((1, C, 4, 4), math.nan), torch.zeros(1, K, 4, 4))
    step.update(torch.randn(1, C, 4, 4), torch.zeros(1, K, 4, 4))
    with pytest.raises(InputError, match="ridge must be positive"):
        step.newton(0.0)
    with pytest.raises(InputError, match="steps"):
        fit_logistic(lambda s: None, C, K, steps=0)
