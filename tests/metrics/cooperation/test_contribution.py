"""Contribution against every subset's IoU with groups left out by hand; curves against SciPy and NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics import ConfusionMatrix, contribution, interactions, perceptual_scores, shapley

SUBSETS = ((), ("rgb",), ("x",), ("rgb", "x"))
WRONG = {(): 0.7, ("rgb",): 0.3, ("x",): 0.4, ("rgb", "x"): 0.1}


def _predictions() -> tuple[Tensor, dict[tuple[str, ...], Tensor]]:
    g = torch.Generator().manual_seed(0)
    target = torch.randint(0, 3, (8, 5, 6), generator=g)
    preds = {}
    for subset in SUBSETS:
        noise = torch.rand(target.shape, generator=g) < WRONG[subset]
        preds[subset] = torch.where(noise, torch.randint(0, 3, target.shape, generator=g), target)
    return target, preds


def _iou(target: Tensor, pred: Tensor, keep: list[int]) -> np.ndarray:
    iou = jaccard_score(target[keep].flatten(), pred[keep].flatten(), labels=[0, 1, 2], average=None)
    return np.concatenate([[iou.mean()], iou])


def test_equals_every_subset_by_hand_and_leaving_out_groups() -> None:
    target, preds = _predictions()
    matrices = {subset: ConfusionMatrix(3, groups=4) for subset in SUBSETS}
    for subset, matrix in matrices.items():
        for i in range(8):
            matrix.update(preds[subset][i : i + 1], target[i : i + 1], group=i // 2)
    result = contribution(matrices)

    def by_hand(keep: list[int]) -> dict[str, np.ndarray]:
        none, rgb, x, both = (_iou(target, preds[s], keep) for s in SUBSETS)
        return {
            "rgb": (rgb - none + both - x) / 2,
            "x": (x - none + both - rgb) / 2,
            "marginal": both - rgb,
            "interaction": both - rgb - x + none,
            "both": both,
        }

    whole = by_hand(list(range(8)))
    without = [by_hand([i for i in range(8) if i // 2 != g]) for g in range(4)]
    got = {
        "rgb": result.shapley["rgb"],
        "x": result.shapley["x"],
        "marginal": result.marginal["x"],
        "interaction": result.interaction["rgb", "x"],
        "both": result.score[frozenset({"rgb", "x"})],
    }
    for name, estimate in got.items():
        left = np.stack([w[name] for w in without])
        se = np.sqrt(3 / 4 * ((left - left.mean(0)) ** 2).sum(0))
        np.testing.assert_allclose([estimate.mean, *estimate.classes.tolist()], whole[name], atol=1e-12)
        np.testing.assert_allclose([estimate.mean_se, *estimate.classes_se.tolist()], se, atol=1e-12)


def test_perceptual_score_per_class() -> None:
    target, preds = _predictions()
    full, permuted = ConfusionMatrix(3), ConfusionMatrix(3)
    full.update(preds["rgb", "x"], target)
    permuted.update(preds["rgb",], target)
    result = perceptual_scores(full, permuted)
    keep = list(range(8))
    one, two = _iou(target, preds["rgb", "x"], keep), _iou(target, preds["rgb",], keep)
    np.testing.assert_allclose([result.mean, *result.classes.tolist()], (one - two) / one, atol=1e-11)
    assert math.isnan(result.mean_se)


def test_matrices_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="same groups and classes"):
        contribution({(): ConfusionMatrix(2), ("rgb",): ConfusionMatrix(2, groups=2)})
    with pytest.raises(InputError, match="missing"):
        contribution({("rgb",): ConfusionMatrix(2), ("rgb", "x"): ConfusionMatrix(2)})
    with pytest.raises(InputError, match="same groups and classes"):
        perceptual_scores(ConfusionMatrix(2), ConfusionMatrix(3))


def _random_game(m: int) -> tuple[list[str], dict[frozenset[str], Tensor]]:
    names = [f"m{i}" for i in range(m)]
    g = torch.Generator().manual_seed(m)
    sets = [frozenset(c) for size in range(m + 1) for c in itertools.combinations(names, size)]
    return names, {s: torch.rand(2, generator=g).double() for s in sets}


@pytest.mark.parametrize("m", [2, 3, 4])
def test_interactions_equal_the_average_over_orders(m: int) -> None:
    names, v = _random_game(m)
    got = interactions(v)
    assert list(got) == list(itertools.combinations(names, 2))
    for i, j in got:
        # the pair joins as one player, at a place drawn evenly among the orders of the other players and itself
        others = [n for n in names if n not in (i, j)]
        gains = []
        for order in itertools.permutations([*others, "pair"]):
            s = frozenset(order[: order.index("pair")])
            gains.append(v[s | {i, j}] - v[s | {i}] - v[s | {j}] + v[s])
        torch.testing.assert_close(got[i, j], sum(gains) / len(gains), rtol=0, atol=1e-12)


def test_an_additive_game_has_no_interaction_and_its_summands_as_values() -> None:
    worth = {"a": 0.1, "b": 0.3, "c": 0.2}
    v = {frozenset(c): sum(worth[n] for n in c) for m in range(4) for c in itertools.combinations(worth, m)}
    for value in interactions(v).values():
        assert float(value) == pytest.approx(0, abs=1e-12)
    for name, value in shapley(v).items():
        assert float(value) == pytest.approx(worth[name])
    with pytest.raises(InputError, match="between two modalities"):
        interactions({(): 0.0, ("a",): 1.0})
