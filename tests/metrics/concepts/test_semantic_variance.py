"""Semantic variance against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import ConceptCurve, semantic_variance
from fusionzoo.metrics.concepts import compare_curves
from fusionzoo.metrics.concepts.semantic_variance import REDUCERS

U = [0.5, 0.1, 0.3, float("nan"), 0.9]
V = [0.2, 0.4, 0.3, 0.5, float("nan")]


@pytest.mark.parametrize(
    ("reducer", "want"),
    [
        ("mean_abs", (0.3 + 0.3 + 0.0) / 3),
        ("mean_sq", (0.09 + 0.09 + 0.0) / 3),
        ("sum_abs", 0.6),
        ("mean_signed", 0.0),
        ("rms", math.sqrt(0.06)),
        ("max_abs", 0.3),
        ("median_abs", 0.3),
        ("mean_var", (0.0225 + 0.0225 + 0.0) / 3),
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


def test_statistical_variance_of_two_values_is_numpys() -> None:
    assert semantic_variance([0.7], [0.2], "mean_var") == pytest.approx(np.var([0.7, 0.2]))


class TestCurves:
    @staticmethod
    def _feed(strength: float, seed: int, noise: int = 0) -> ConceptCurve:
        """Three concepts coded with a strength; concept 2 occurs in train images only."""
        g = torch.Generator().manual_seed(0)
        masks = torch.rand(24, 3, 6, 6, generator=g) < 0.3
        train = torch.arange(24) % 3 == 0
        masks[:, 2] &= train[:, None, None]
        scores = strength * masks + torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(100 + seed))
        curve = ConceptCurve(3, bins=128, groups=4)
        curve.update(scores, masks, train=train, group=torch.arange(24) // 6)
        return curve

    def test_values_are_those_of_compute_and_errors_those_of_leaving_out_by_hand(self) -> None:
        u, v = self._feed(4, 1), self._feed(1, 2)
        one, two = u.compute(), v.compute()
        assert int((~(one.iou - two.iou).isnan()).sum()) == 2
        for name in REDUCERS:
            want = semantic_variance(one.iou, two.iou, name)
            assert compare_curves(u, v, name).value == pytest.approx(want, abs=1e-12)
        left = []
        for group in range(4):
            ious = []
            for curve, scores in ((u, one), (v, two)):
                counts = curve.state_dict()["counts"][1:].double()
                counts = counts.sum(0) - counts[group]
                row = []
                for k in range(2):
                    place = int((scores.edges == scores.threshold[k]).nonzero()[0])
                    inside, outside = counts[k, 1], counts[k, 0]
                    row.append(float(inside[place:].sum() / (inside.sum() + outside[place:].sum())))
                ious.append(row)
            left.append(np.array(ious))
        deltas = np.stack([ious[0] - ious[1] for ious in left])
        se = lambda values: float(np.sqrt(3 / 4 * ((values - values.mean(0)) ** 2).sum(0)))  # noqa: E731
        assert compare_curves(u, v).se == pytest.approx(se(np.abs(deltas).mean(1)), abs=1e-12)
        assert compare_curves(u, v, "mean_signed").se == pytest.approx(se(deltas.mean(1)), abs=1e-12)

    def test_a_pair_shares_its_errors(self) -> None:
        u, v = self._feed(4, 1), self._feed(4, 1)
        assert compare_curves(u, v).se == 0 and float(u.compute().iou_se[0]) > 0

    def test_the_floor_is_the_largest_of_one_representation_with_itself(self) -> None:
        halves = [(self._feed(2, 3), self._feed(2, 4)), (self._feed(2, 5), self._feed(2, 6))]
        for name in REDUCERS:
            far = compare_curves(self._feed(6, 1), self._feed(0.5, 2), name, halves)
            near = compare_curves(self._feed(2, 7), self._feed(2, 8), name, halves)
            floors = [abs(semantic_variance(a.compute().iou, b.compute().iou, name)) for a, b in halves]
            assert far.floor == near.floor == pytest.approx(max(floors), abs=1e-12)
            assert abs(far.value) > far.floor and abs(far.value) > abs(near.value)

    def test_a_floor_that_is_not_known_of_both_is_unknown(self) -> None:
        unseen = ConceptCurve(3, bins=128, groups=4)
        halves = [(self._feed(2, 3), self._feed(2, 4)), (unseen, unseen)]
        assert math.isnan(compare_curves(self._feed(6, 1), self._feed(0.5, 2), halves=halves).floor)
        assert math.isnan(compare_curves(self._feed(6, 1), self._feed(0.5, 2)).floor)

    def test_own_reducer_and_strangers(self) -> None:
        def largest(delta: Tensor, weight: Tensor) -> Tensor:
            return delta.abs().max()

        u, v = self._feed(4, 1), self._feed(1, 2)
        delta = u.compute().iou - v.compute().iou
        assert compare_curves(u, v, largest).value == pytest.approx(float(delta[:2].abs().max()))
        with pytest.raises(InputError, match="share concepts"):
            compare_curves(u, ConceptCurve(3, bins=64, groups=4))
