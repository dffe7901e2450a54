"""Semantic variance against sums written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import semantic_variance

U = [0.5, 0.1, 0.3, float("nan"), 0.9]
V = [0.2, 0.4, 0.3, 0.5, float("nan")]


@pytest.mark.parametrize(
    ("reducer", "want"),
    [
        ("mean_abs", (0.3 + 0.3 + 0.0) / 3),
        ("mean_sq", (0.09 + 0.09 + 0.0) / 3),
        ("sum_abs", 0.6),
        ("mean_signed", 0.0),
        (lambda delta, w: delta.abs().max(), 0.3),
    ],
)
def test_reducers_leave_out_absent_concepts(reducer: object, want: float) -> None:
    assert semantic_variance(U, V, reducer=reducer) == pytest.approx(want, abs=1e-12)  # type: ignore[arg-type]
    assert semantic_variance(torch.tensor(V), torch.tensor(U), reducer=reducer) == pytest.approx(want, abs=1e-7)  # type: ignore[arg-type]


def test_weights() -> None:
    assert semantic_variance([0.5, 0.1], [0.1, 0.2], weights=[1, 3]) == pytest.approx((0.4 + 0.3) / 4)
    assert semantic_variance([0.5, 0.1], [0.1, 0.2], weights=[0, 1]) == pytest.approx(0.1)


def test_nothing_left_is_nan() -> None:
    assert math.isnan(semantic_variance([float("nan")], [0.5]))
    assert math.isnan(semantic_variance([0.5], [0.4], weights=[0.0]))


def test_wrong_use() -> None:
    with pytest.raises(InputError, match="one IoU and weight per concept"):
        semantic_variance([0.1], [0.1, 0.2])
    with pytest.raises(InputError, match="negative"):
        semantic_variance([0.1], [0.2], weights=[-1.0])
    with pytest.raises(UnknownNameError, match="did you mean 'mean_abs'"):
        semantic_variance([0.1], [0.2], reducer="mean_bas")
