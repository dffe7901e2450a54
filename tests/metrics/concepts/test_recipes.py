"""Recipes in one call: each equals its parts fed by hand, and all find what is planted."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import ConceptCurve, ConceptStatistics, Quantiles, fit_concepts, net2vec_2018, spearman
from fusionzoo.metrics.concepts import RECIPES, fit_logistic


def _planted(n: int = 70, k: int = 5, c: int = 20, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Concept i is coded by i + 1 channels; the last occurs nowhere."""
    g = torch.Generator().manual_seed(seed)
    small = functional.max_pool2d((torch.rand(n, k, 8, 8, generator=g) < 0.02).float(), 3, 1, 1) > 0
    small[:, -1] = False
    maps = torch.randn(n, c, 8, 8, generator=g)
    for i in range(k):
        maps[:, 4 * i : 4 * i + i + 1] += 1.5 * small[:, i : i + 1]
    return maps, small.repeat_interleave(3, 2).repeat_interleave(3, 3), torch.arange(n) % 2 == 0


@pytest.mark.parametrize("tau", [0.05, None])
@pytest.mark.parametrize("recipe", ["ridge", "logistic"])
def test_equals_its_parts(recipe: str, tau: float | None) -> None:
    maps, masks, train = _planted()
    got = fit_concepts(maps, masks, train, recipe, tau=tau, groups=5)
    thresholds = None
    if tau is not None:
        sketch = Quantiles(20, tau)
        sketch.update(maps)
        thresholds = sketch.compute()
    small = functional.avg_pool2d(masks.float(), 3)
    if recipe == "ridge":
        statistics = ConceptStatistics(20, 5, thresholds)
        statistics.update(maps[train], small[train])
        weights = statistics.solve()
    else:
        fit = fit_logistic(lambda s: s.update(maps[train], small[train]), 20, 5, thresholds=thresholds)
        weights = fit.weights
    torch.testing.assert_close(got.weights.weight, weights.weight, rtol=1e-4, atol=1e-5)
    curve = ConceptCurve(5, groups=5)
    curve.update(weights.score(maps), masks, train=train, group=(torch.arange(70) // 2 * 5 // 35).clamp(max=4))
    want = curve.compute()
    torch.testing.assert_close(got.iou, want.iou, rtol=1e-3, atol=1e-3, equal_nan=True)
    torch.testing.assert_close(got.iou_se, want.iou_se, rtol=2e-2, atol=1e-3, equal_nan=True)
    assert math.isnan(got.iou[4]) and not bool(got.weights.present[4])


def test_the_reference_is_the_reference() -> None:
    maps, masks, train = _planted()
    got, want = fit_concepts(maps, masks, train, "net2vec-2018", tau=0.05), net2vec_2018(maps, masks, train, tau=0.05)
    torch.testing.assert_close(got.iou, want.iou, rtol=0, atol=1e-3, equal_nan=True)
    assert math.isnan(got.iou_se[0])
    torch.testing.assert_close(got.weights.weight[:4], want.weight[:4])
    score = got.weights.score(maps)[:, :4]  # no bias: nothing fires, nothing scores
    assert bool((score[~(maps > want.thresholds[:, None, None]).any(1, keepdim=True).expand_as(score)] == 0).all())


def test_all_recipes_rank_concepts_alike_and_the_fast_ones_find_more() -> None:
    maps, masks, train = _planted(n=120)
    iou = {recipe: fit_concepts(maps, masks, train, recipe, tau=0.05).iou[:4] for recipe in RECIPES}
    assert spearman(iou["ridge"], iou["logistic"]) > 0.9
    for fast in ("ridge", "logistic"):
        assert bool((iou[fast] > iou["net2vec-2018"]).all())
        assert bool((iou[fast].diff() > -0.02).all())  # more channels, better coded


def test_wrong_use() -> None:
    maps, masks, train = _planted(n=8)
    with pytest.raises(UnknownNameError, match="did you mean 'ridge'"):
        fit_concepts(maps, masks, train, "rigde")
    with pytest.raises(InputError, match="give a tau"):
        fit_concepts(maps, masks, train, "net2vec-2018", tau=None)
    with pytest.raises(InputError, match="train"):
        fit_concepts(maps, masks, train[:3])
