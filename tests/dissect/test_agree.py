"""Consistent and specific concepts, the error of semantic variance: constructed scores, plain loops, planted truth."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.dissect import dissect
from fusionzoo.dissect.measures.concepts import variance as semantic_variance
from fusionzoo.dissect.measures.specificity import agreement, fill_fused
from fusionzoo.metrics import ConceptCurve
from tests.dissect.test_engine import blurred
from tests.dissect.toy import Toy, ToyData

NAMES = ["both", "rgb", "x", "neither", "far better by rgb", "missing"]
"""What the two made-up streams below encode."""
SHOWN = {
    "rgb": (3.0, 3.0, 0.0, 0.0, 4.0, 3.0),
    "x": (3.0, 0.0, 3.0, 0.0, 1.5, 3.0),
    "fused": (5.0, 1.5, 3.0, 0.0, 4.0, 3.0),
}


def scored(stream, n=48, groups=8, keep=None, seed=0, shown=SHOWN):
    """Curve of one stream: scores are noise, higher by SHOWN where the concept is. Even images are held out."""
    curve = ConceptCurve(6, groups=groups)
    for i in range(n):
        drawn = torch.Generator().manual_seed(100 + i)
        masks = torch.rand(1, 6, 12, 16, generator=drawn) < 0.2
        masks[:, 5] = False
        noise = torch.randn(
            1, 6, 12, 16, generator=torch.Generator().manual_seed(10_000 * (1 + list(SHOWN).index(stream)) + seed + i)
        )
        scores = noise + masks * torch.tensor(shown[stream])[:, None, None]
        group = i // 2 % groups
        if i % 2 or keep is None or group in keep:
            curve.update(scores, masks, train=bool(i % 2), group=group)
    return curve


def test_each_concept_goes_where_it_was_made_to():
    floors = [torch.full((6,), 0.01).double()] * 2
    found = agreement(scored("rgb"), scored("x"), floors, NAMES)
    assert found.consistent == ["both"] and found.rgb == ["rgb", "far better by rgb"] and found.x == ["x"]
    assert found.unencoded == ["neither"] and found.undecided == []
    assert "missing" not in found.consistent + found.rgb + found.x + found.undecided + found.unencoded
    assert found.difference[5].value is None and found.chance[5] is None
    assert found.chance[0] == pytest.approx(0.2, abs=0.02)
    rgb, x = scored("rgb").compute().iou, scored("x").compute().iou
    assert found.difference[1].value == pytest.approx(float(rgb[1] - x[1]), abs=1e-12)


def test_what_the_fusion_gains_and_loses():
    curves = [scored(s) for s in ("rgb", "x", "fused")]
    found = agreement(curves[0], curves[1], [torch.zeros(6).double()] * 2, NAMES)
    fill_fused(found, curves, [torch.full((6,), 0.01).double()] * 3, NAMES)
    assert found.gained == ["both"] and found.lost == ["rgb"]
    fill_fused(found, curves, [torch.zeros(6).double()] * 2 + [torch.full((6,), 0.9).double()], NAMES)
    assert found.gained == found.lost == []  # below the noise of the fused representation
    fill_fused(found, [curves[0], curves[1], curves[0]], [torch.zeros(6).double()] * 3, NAMES)
    assert found.gained == [] and found.lost == ["x"]


def test_a_difference_that_is_real_but_small_is_no_specialty():
    shown = {"rgb": (3.0,) * 6, "x": (2.4, 2.0, 1.5, 1.0, 0.5, 0.0)}
    curves = [scored(s, n=200, shown=shown) for s in ("rgb", "x")]
    gains = [c.compute() for c in curves]
    share = (gains[1].iou - gains[1].curve[:, 0]) / (gains[0].iou - gains[0].curve[:, 0])
    assert float(share[0]) > 0.55 > 0.45 > float(share[3])
    found = agreement(*curves, [torch.full((6,), 0.01).double()] * 2, NAMES)
    assert found.difference[0].value > 5 * found.difference[0].error
    for k, name in enumerate(NAMES[:5]):
        assert name in (found.consistent if share[k] >= 0.5 else found.rgb), name


def test_a_difference_below_the_noise_is_never_specific():
    rgb, x = scored("rgb"), scored("x")
    loud = [torch.full((6,), 0.9).double()] * 2
    found = agreement(rgb, x, loud, NAMES)
    assert found.rgb == found.x == [] and "rgb" in found.unencoded
    # noise of the x stream alone: rgb encodes the concept, but whether x does not is not known
    one = [torch.full((6,), 0.01).double(), torch.full((6,), 0.9).double()]
    found = agreement(rgb, x, one, NAMES)
    assert found.rgb == [] and "rgb" in found.undecided
    # one draw of noise that happens to be small does not pass for certainty: the mean over concepts counts
    uneven = [torch.tensor([0.9, 0.0, 0.9, 0.9, 0.9, math.nan]).double()] * 2
    assert "rgb" in agreement(rgb, x, uneven, NAMES).unencoded


def test_the_same_stream_has_no_specific_concept():
    one = scored("rgb")
    found = agreement(one, one, [torch.zeros(6).double()] * 2, NAMES)
    assert found.rgb == found.x == found.undecided == []
    assert found.consistent == ["both", "rgb", "far better by rgb"]
    assert all(d.value in (0.0, None) for d in found.difference)


def spread(values):
    g, mean = len(values), sum(values) / len(values)
    return math.sqrt((g - 1) / g * sum((v - mean) ** 2 for v in values))


def test_errors_are_those_of_leaving_groups_out():
    whole = [scored("rgb"), scored("x")]
    found = agreement(*whole, [torch.zeros(6).double()] * 2, NAMES)
    value, error = semantic_variance(*whole, "mean_abs")
    gaps, variances = [], []
    for group in range(8):
        keep = set(range(8)) - {group}
        rgb, x = (scored(s, keep=keep).compute().iou for s in ("rgb", "x"))
        gaps.append(float(rgb[1] - x[1]))
        variances.append(float((rgb - x).abs().nanmean()))
    assert found.difference[1].error == pytest.approx(spread(gaps), rel=1e-9)
    assert error == pytest.approx(spread(variances), rel=1e-9) and error > 0
    rgb, x = (c.compute().iou for c in whole)
    assert value == pytest.approx(float((rgb - x).abs().nanmean()), abs=1e-12)


def test_interval_covers_the_value_that_more_images_give():
    exact = semantic_variance(scored("rgb", 500), scored("x", 500), "mean_abs")[0]
    inside = 0
    for draw in range(12):
        value, error = semantic_variance(scored("rgb", seed=5000 * draw), scored("x", seed=5000 * draw), "mean_abs")
        inside += abs(value - exact) < 1.96 * error
    assert inside >= 9


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
