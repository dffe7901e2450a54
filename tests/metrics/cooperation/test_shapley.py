"""Shapley values against averages over all orders of arrival, and the two-modality closed form."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics.cooperation.shapley import interactions, perceptual_score, shapley


def test_three_modalities_equal_the_average_over_orders() -> None:
    names = ("rgb", "depth", "thermal")
    g = torch.Generator().manual_seed(0)
    v = {frozenset(c): torch.rand(5, generator=g).double() for m in range(4) for c in itertools.combinations(names, m)}
    got = shapley(v)
    for name in names:
        gains = []
        for order in itertools.permutations(names):
            before = frozenset(order[: order.index(name)])
            gains.append(v[before | {name}] - v[before])
        torch.testing.assert_close(got[name], sum(gains) / len(gains), rtol=0, atol=1e-14)
    torch.testing.assert_close(sum(got.values()), v[frozenset(names)] - v[frozenset()], rtol=0, atol=1e-14)


def test_two_modalities() -> None:
    v = {(): 0.05, ("rgb",): 0.30, ("depth",): 0.20, ("depth", "rgb"): 0.42}
    assert float(shapley(v)["rgb"]) == pytest.approx(0.5 * (0.25 + 0.22))
    assert float(shapley(v)["depth"]) == pytest.approx(0.5 * (0.15 + 0.12))
    assert {pair: float(value) for pair, value in interactions(v).items()} == {("depth", "rgb"): pytest.approx(-0.03)}


def test_a_number_stands_for_every_class() -> None:
    """Chance is often one number where the other subsets have one score a class."""
    own, both = torch.tensor([0.3, 0.4]).double(), torch.tensor([0.5, 0.9]).double()
    v = {(): 0.1, ("rgb",): own, ("x",): 0.2, ("rgb", "x"): both}
    torch.testing.assert_close(shapley(v)["rgb"], torch.tensor([0.25, 0.5]).double())
    torch.testing.assert_close(shapley(v)["x"], torch.tensor([0.15, 0.3]).double())
    torch.testing.assert_close(interactions(v)["rgb", "x"], torch.tensor([0.1, 0.4]).double())


def test_per_class_scores_and_absent_classes() -> None:
    nan = math.nan
    v = {
        (): torch.tensor([0.0, 0.0, nan]),
        "rgb": torch.tensor([0.5, 0.1, nan]),
        "x": torch.tensor([0.0, 0.1, nan]),
        ("rgb", "x"): torch.tensor([0.5, 0.7, nan]),
    }
    share, interaction = shapley(v)["rgb"], interactions(v)["rgb", "x"]  # type: ignore[arg-type]
    torch.testing.assert_close(share[:2], torch.tensor([0.5, 0.35]).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(interaction[:2], torch.tensor([0.0, 0.5]).double(), rtol=0, atol=1e-6)
    assert math.isnan(interaction[2])


def test_perceptual_score() -> None:
    got = perceptual_score(torch.tensor([0.5, 0.0]), torch.tensor([0.3, 0.0]))
    assert float(got[0]) == pytest.approx(0.4, abs=1e-6) and math.isnan(got[1])


def test_missing_subsets_are_named() -> None:
    with pytest.raises(InputError, match=r"missing: \{\}, \{x\}"):
        shapley({("rgb",): 0.1, ("rgb", "x"): 0.2})
    with pytest.raises(InputError, match="between two modalities"):
        interactions({(): 0.0, ("rgb",): 0.1})
    with pytest.raises(InputError, match="every subset"):
        shapley({})
