"""The modality map against closed forms, SciPy's softmax and averages over orders written out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.cooperation import class_probability, modality_map

BOTH, RGB, X, NONE = ("rgb", "x"), ("rgb",), ("x",), ()


def drawn(*subsets: tuple[str, ...], shape: tuple[int, ...] = (2, 5, 3, 4)) -> dict[tuple[str, ...], Tensor]:
    g = torch.Generator().manual_seed(0)
    return {s: 3 * torch.randn(shape, generator=g, dtype=torch.float64) for s in subsets}


def logits_of(*probabilities: float) -> Tensor:
    """(1, K, 1, 1) whose softmax is `probabilities`."""
    return torch.tensor(probabilities, dtype=torch.float64).log().view(1, -1, 1, 1)


def test_two_modalities_by_hand() -> None:
    """p_all 0.8, p_rgb 0.6, p_x 0.3, p_none 0.15 of the class that wins with both."""
    given = {BOTH: logits_of(0.8, 0.2), RGB: logits_of(0.6, 0.4), X: logits_of(0.3, 0.7), NONE: logits_of(0.15, 0.85)}
    found = modality_map(given)
    assert float(found.marginal["rgb"]) == pytest.approx(0.8 - 0.3)
    assert float(found.marginal["x"]) == pytest.approx(0.8 - 0.6)
    assert float(found.shapley["rgb"]) == pytest.approx(((0.8 - 0.3) + (0.6 - 0.15)) / 2)
    assert float(found.shapley["x"]) == pytest.approx(((0.8 - 0.6) + (0.3 - 0.15)) / 2)
    assert float(found.balance("rgb", "x")) == pytest.approx(0.6 - 0.3)
    assert float(found.strength) == pytest.approx(0.475 + 0.175)
    other = modality_map(given, torch.ones(1, 1, 1, dtype=torch.long))  # of two classes the other gets the reverse
    assert float(other.shapley["rgb"]) == pytest.approx(-0.475) and float(other.strength) == pytest.approx(0.65)


def test_probabilities_are_the_softmax() -> None:
    given = drawn(BOTH, RGB, X, NONE)
    classes = torch.randint(0, 5, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    found = modality_map(given, classes)
    for present, value in given.items():
        p = softmax(value.numpy(), axis=1)
        want = np.take_along_axis(p, classes.numpy()[:, None], 1)[:, 0]
        np.testing.assert_allclose(found.probability[frozenset(present)].numpy(), want, atol=1e-12)


def test_the_predicted_class_is_that_of_all_modalities() -> None:
    given = drawn(BOTH, RGB, X, NONE)
    best = softmax(given[BOTH].numpy(), axis=1).max(axis=1)
    np.testing.assert_allclose(modality_map(given).probability[frozenset(BOTH)].numpy(), best, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_shapley_values_add_up(dtype: torch.dtype) -> None:
    given = {s: v.to(dtype) for s, v in drawn(BOTH, RGB, X, NONE).items()}
    found = modality_map(given)
    total = found.probability[frozenset(BOTH)] - found.probability[frozenset()]
    assert float(total.abs().max()) > 0.1
    torch.testing.assert_close(found.shapley["rgb"] + found.shapley["x"], total, atol=1e-14, rtol=0)


def test_three_modalities_equal_the_average_over_orders() -> None:
    names = ("rgb", "thermal", "x")
    subsets = [c for size in range(4) for c in itertools.combinations(names, size)]
    given = drawn(*subsets)
    found = modality_map(given)
    chosen = given[names].argmax(1, keepdim=True).numpy()
    p = {frozenset(s): np.take_along_axis(softmax(v.numpy(), axis=1), chosen, 1)[:, 0] for s, v in given.items()}
    for name in names:
        steps = []
        for order in itertools.permutations(names):
            before = frozenset(order[: order.index(name)])
            steps.append(p[before | {name}] - p[before])
        np.testing.assert_allclose(found.shapley[name].numpy(), np.mean(steps, axis=0), atol=1e-12)


def test_a_modality_that_changes_nothing_has_none_and_equal_ones_share() -> None:
    a, b = drawn(RGB, NONE).values()
    found = modality_map({BOTH: a, RGB: a, X: b, NONE: b})
    assert float(found.shapley["x"].abs().max()) == 0 and float(found.marginal["x"].abs().max()) == 0
    torch.testing.assert_close(found.shapley["rgb"], found.marginal["rgb"])
    same = modality_map({BOTH: a, RGB: a, X: a, NONE: b})
    torch.testing.assert_close(same.shapley["rgb"], same.shapley["x"])
    assert float(same.marginal["rgb"].abs().max()) == 0, "each does without the other"


def test_ignored_pixels_are_nan_and_large_logits_are_not() -> None:
    given = {s: 1e4 * v for s, v in drawn(BOTH, RGB, X, NONE).items()}
    classes = torch.zeros(2, 3, 4, dtype=torch.long)
    classes[0, 0, 0], classes[1, 2, 3] = 255, -1
    found = modality_map(given, classes).shapley["rgb"]
    assert found.isnan().nonzero().tolist() == [[0, 0, 0], [1, 2, 3]]
    assert not bool(modality_map(given).shapley["rgb"].isnan().any())


def test_wrong_use() -> None:
    given = drawn(BOTH, RGB, X, NONE)
    with pytest.raises(InputError, match=r"missing: \{\}"):
        modality_map({k: v for k, v in given.items() if k})
    with pytest.raises(InputError, match="differ in shape"):
        modality_map({**given, RGB: given[RGB][:, :, :2]})
    with pytest.raises(InputError, match=r"classes \(2, 3, 3\), wanted"):
        class_probability(given[BOTH], torch.zeros(2, 3, 3, dtype=torch.long))
    assert math.isnan(float(class_probability(logits_of(0.5, 0.5), torch.full((1, 1, 1), 2))))
