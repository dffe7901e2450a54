"""Semantic variance against sums written out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import ConceptCurve, semantic_variance
from fusionzoo.metrics.concepts import compare_curves, semantic_variance_matrix
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


def test_all_pairs_are_the_single_ones() -> None:
    iou = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).double()
    iou[1, 2] = math.nan
    for name in REDUCERS:
        matrix = semantic_variance_matrix(iou, name)
        for p in range(4):
            for q in range(4):
                assert float(matrix[p, q]) == pytest.approx(semantic_variance(iou[p], iou[q], name), abs=1e-14)
    signed = semantic_variance_matrix(iou, "mean_signed")
    torch.testing.assert_close(signed, -signed.T, rtol=0, atol=1e-14)


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
        result = compare_curves(u, v)
        one, two = u.compute(), v.compute()
        torch.testing.assert_close(result.delta, one.iou - two.iou, equal_nan=True)
        assert result.concepts == 2 and math.isnan(result.delta[2])
        for name, score in result.variance.items():
            assert score.value == pytest.approx(semantic_variance(one.iou, two.iou, name), abs=1e-12)
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
        se = lambda values: np.sqrt(3 / 4 * ((values - values.mean(0)) ** 2).sum(0))  # noqa: E731
        np.testing.assert_allclose(result.se[:2].numpy(), se(deltas), atol=1e-12)
        score = result.variance["mean_abs"]
        assert score.se == pytest.approx(float(se(np.abs(deltas).mean(1))), abs=1e-12)
        assert score.high - score.low == pytest.approx(2 * 1.96 * score.se)

    def test_a_pair_shares_its_errors(self) -> None:
        u, v = self._feed(4, 1), self._feed(4, 1)
        same = compare_curves(u, v)
        assert float(same.se[0]) == 0 and float(u.compute().iou_se[0]) > 0

    def test_below_the_floor_there_is_no_signal(self) -> None:
        halves = [(self._feed(2, 3), self._feed(2, 4)), (self._feed(2, 5), self._feed(2, 6))]
        far = compare_curves(self._feed(6, 1), self._feed(0.5, 2), halves)
        near = compare_curves(self._feed(2, 7), self._feed(2, 8), halves)
        for name in REDUCERS:
            floors = [abs(semantic_variance(a.compute().iou, b.compute().iou, name)) for a, b in halves]
            assert far.variance[name].floor == pytest.approx(max(floors), abs=1e-12)
            assert far.variance[name].signal
            near_score = near.variance[name]
            assert not near_score.signal or near_score.low > max(floors)
        assert not near.variance["mean_abs"].signal
        assert far.signal.tolist() == [True, True, False] and near.signal.tolist() == [False, False, False]
        pairs = torch.stack([(a.compute().iou - b.compute().iou).abs() for a, b in halves])
        torch.testing.assert_close(far.floor, pairs.amax(0), equal_nan=True)

    def test_without_a_floor_nothing_is_called_a_signal(self) -> None:
        result = compare_curves(self._feed(6, 1), self._feed(0.5, 2))
        assert not any(s.signal for s in result.variance.values()) and not bool(result.signal.any())
        assert result.variance["mean_abs"].floor is None

    def test_own_reducer_and_strangers(self) -> None:
        def largest(delta: Tensor, weight: Tensor) -> Tensor:
            return delta.abs().max()

        u, v = self._feed(4, 1), self._feed(1, 2)
        result = compare_curves(u, v, reducers={"largest": largest})
        assert result.variance["largest"].value == pytest.approx(float(result.delta[:2].abs().max()))
        with pytest.raises(InputError, match="share concepts"):
            compare_curves(u, ConceptCurve(3, bins=64, groups=4))
