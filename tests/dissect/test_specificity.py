"""Consistent and specific concepts through the engine: toys whose truth is known, and a trained model."""

from __future__ import annotations

import pytest

from fusionzoo.dissect import dissect
from tests.dissect.test_engine import blurred
from tests.dissect.toy import Toy, ToyData


def test_the_toys_truth():
    (level,) = dissect(Toy(), ToyData(), tau=None, metrics=["concepts"], progress=False).rows
    found = level.specificity
    assert found.rgb == ["paint"] and found.x == ["dent"] and found.unencoded == []
    variance = level.concepts.variance["rgb_x"]
    low, high = variance.interval
    assert low < variance.value < high and high - low == pytest.approx(2 * 1.96 * variance.error)
    same = dissect(Toy(same=True), ToyData(), tau=None, metrics=["concepts"], progress=False).rows[0]
    assert same.specificity.rgb == same.specificity.x == [] and same.concepts.variance["rgb_x"].error == 0.0


def test_interval_and_agreement_are_there_for_any_reducer():
    found = dissect(Toy(), blurred(), metrics=["concepts"], reducer="mean_signed", progress=False).rows[0]
    assert found.concepts.variance["rgb_x"].error > 0
    assert len(found.specificity.difference) == 3


@pytest.mark.slow
def test_the_planted_truth_is_recovered_by_a_trained_model():
    from fusionzoo import from_pretrained
    from fusionzoo.data import Planted

    model = from_pretrained("hybrid_mobilenetv1-025_fpn.planted")
    data = Planted("test", n=48)
    found = dissect(model, data, metrics=["concepts", "contribution"], progress=False)
    kinds = {kind: [n for n, k in data.concepts.items() if k == kind] for kind in ("rgb", "x", "both")}
    lists = [level.specificity for level in found.rows]
    for name in kinds["rgb"]:
        assert any(name in a.rgb for a in lists) and not any(name in a.x for a in lists), name
    for name in kinds["x"]:
        assert any(name in a.x for a in lists) and not any(name in a.rgb for a in lists), name
    for name in kinds["both"]:
        assert any(name in a.consistent for a in lists), name
    share = {s: found.contribution.shapley[s].iou for s in ("rgb", "x")}
    lost = {s: found.contribution.perceptual[s].iou for s in ("rgb", "x")}
    for kind, other in (("rgb", "x"), ("x", "rgb")):
        for name in kinds[kind]:
            k = data.class_names.index(name)
            assert share[kind][k] > share[other][k] and lost[kind][k] > lost[other][k], name
