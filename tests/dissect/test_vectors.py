"""What carries concepts, what each modality gives them: against NumPy and plain loops on features held at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fusionzoo.dissect import dissect
from fusionzoo.dissect.dissection import plan
from fusionzoo.dissect.measures.base import PointInfo, Setup
from fusionzoo.errors import UnknownNameError
from fusionzoo.metrics import ConceptCurve, ConceptStatistics, concept_masks
from tests.dissect.test_engine import blurred, features
from tests.dissect.toy import Toy, ToyData

N = 20
TRAIN, HELD = [i for i in range(N) if i % 2 == 0], [i for i in range(N) if i % 2]


@pytest.fixture(scope="module")
def seen():
    return features(Toy().eval(), blurred(N))


def fitted(maps, labels, thresholds=None):
    area, share = concept_masks(labels, 3, (6, 8))
    statistics = ConceptStatistics(maps.shape[1], 3, thresholds)
    statistics.update(maps[TRAIN], area[TRAIN], share[TRAIN])
    return statistics.solve(1e-2)


def test_correlation_of_vectors_is_that_of_their_scores(seen):
    maps, labels = seen
    found = dissect(Toy(), blurred(N), tau=None, metrics=["concepts"], progress=False)
    valid = concept_masks(labels, 3, (3, 4), mode="nearest")[1][HELD].flatten().numpy()
    scores = {}
    for stream in ("rgb", "x", "fused"):
        own = fitted(maps[f"{stream}_at"], labels).score(maps[f"{stream}_at"][HELD])
        small = F.interpolate(own.double(), (3, 4), mode="bilinear", align_corners=False)
        scores[stream] = small.permute(1, 0, 2, 3).flatten(1).numpy()[:, valid]
    matrix = np.zeros((3, 3, 3))
    for i, a in enumerate(scores):
        for j, b in enumerate(scores):
            matrix[i, j] = [np.corrcoef(scores[a][k], scores[b][k])[0, 1] for k in range(3)]
            if i < j:
                got = found.rows[0].concepts.correlation[f"{a}_{b}"]
                assert got == pytest.approx(matrix[i, j].tolist(), abs=1e-6)
    (mean,) = found.matrices
    assert (mean.measure, mean.view, mean.n) == ("concept correlation", "pix", int(valid.sum()))
    assert np.allclose(mean.values, matrix.mean(2), atol=1e-6) and mean.names[2] == "stage 1 fused"


def test_units_and_channels_that_carry_a_concept(seen):
    maps, labels = seen
    found = dissect(Toy(), blurred(N), tau=0.2, metrics=["concepts"], progress=False).rows[0]
    red = maps["rgb_at"][TRAIN][:, 0]
    bar = torch.quantile(maps["rgb_at"][:, 0].double(), 0.8)  # of all images
    marked, small = red > bar, F.avg_pool2d(F.one_hot(labels.clamp(max=3), 4).permute(0, 3, 1, 2)[TRAIN].float(), 4)
    hit = union = 0.0
    for i in range(len(TRAIN)):
        known = 1 - small[i, 3]
        if small[i, 1].sum() > 0:
            both = float((marked[i] * small[i, 1]).sum())
            hit += both
            union += float((marked[i] * known).sum() + small[i, 1].sum()) - both
    assert found.concepts.unit_iou["rgb"][1] == pytest.approx(hit / union, abs=1e-6) and hit / union > 0.25
    assert found.concepts.channels["rgb"][1] == 1  # its other channel never varies
    fused = dissect(Toy(), blurred(N), tau=None, metrics=["concepts"], progress=False).rows[0]
    assert fused.concepts.unit_iou == {}
    assert fused.concepts.channels["fused"][0] == 2  # wall is neither paint nor dent: red and depth
    assert fused.concepts.channels["x"][2] == 1


def test_contribution_to_concepts_equals_plain_loops(seen):
    maps, labels = seen
    model, data = Toy().eval(), blurred(N)
    found = dissect(model, data, tau=None, metrics=["concept_contribution"], progress=False)
    weights = fitted(maps["fused_at"], labels)
    crisp, valid = concept_masks(labels, 3, (6, 8), mode="nearest")
    curve = ConceptCurve(3)
    for images, train in ((TRAIN, True), (HELD, False)):
        curve.update(weights.score(maps["fused_at"][images]), crisp[images], valid[images], train=train)
    threshold = curve.compute().threshold
    v = {}
    for name, absent in {"both": (), "rgb": ("x",), "x": ("rgb",), "none": ("rgb", "x")}.items():
        hit, union = torch.zeros(3), torch.zeros(3)
        for i in HELD:
            rgb, x = model.preprocess(data[i]["rgb"][None], data[i]["x"][None])
            rgb, x = (torch.zeros_like(t) if s in absent else t for s, t in (("rgb", rgb), ("x", x)))
            one, two = F.avg_pool2d(rgb[:, :1], 4), F.avg_pool2d(x, 4)
            fused = torch.cat([one, torch.ones_like(one), two, torch.ones_like(two)], 1)
            mark = (weights.score(fused)[0] >= threshold[:, None, None]) & valid[i]
            for k in range(3):
                if crisp[i, k].any():
                    hit[k] += (mark[k] & crisp[i, k]).sum()
                    union[k] += (mark[k] | (crisp[i, k] & valid[i])).sum()
        v[name] = torch.cat([(hit / union).mean()[None], hit / union])
    got = found.contribution.concepts["1"]
    want = {
        "rgb": (v["rgb"] - v["none"] + v["both"] - v["x"]) / 2,
        "x": (v["x"] - v["none"] + v["both"] - v["rgb"]) / 2,
        "interaction": v["both"] - v["rgb"] - v["x"] + v["none"],
    }
    for name, value in want.items():
        assert [got[name].miou, *got[name].iou] == pytest.approx(value.tolist(), abs=1e-6), name
    paint, dent = 1, 2
    assert got["rgb"].iou[paint] > 0.2 > abs(got["x"].iou[paint]) and got["x"].iou[dent] > 0.2
    assert got["rgb"].iou_error[paint] > 0
    assert found.rows[0].concepts.iou["fused"] == pytest.approx(v["both"][1:].tolist(), abs=1e-6)


def test_contribution_to_concepts_costs_only_where_it_is_asked_for():
    setup = Setup(3, {f"{s}_at": PointInfo(2) for s in ("rgb", "x", "fused")}, Toy().levels)
    assert {m.condition for m in plan(setup)[2]} == {"both"}
    passes = plan(setup, ["concept_contribution"])
    assert {m.condition for m in passes[2]} == {"both", "without_rgb", "without_x", "neither"} and len(passes) == 3
    assert all(m.roles == {"held"} for each in passes for m in each if m.kind == "curve" and m.condition != "both")
    model, calls = Toy(), []
    model.rgb_at.register_forward_hook(lambda _m, _a, out: calls.append(len(out)))
    found = dissect(model, ToyData(16), tau=None, metrics=["concept_contribution"], batch_size=8, progress=False)
    # shapes; first pass: nothing once, 5 conditions; last: all images, and those held out under 3 conditions
    assert sum(calls) == 1 + (1 + 5 * 16) + (16 + 3 * 8) and found.protocol.passes == 2
    assert found.protocol.metrics == ["concept_contribution"]
    alone = dissect(Toy(), ToyData(16), tau=None, progress=False)
    assert alone.contribution.concepts == {}
    with pytest.raises(UnknownNameError, match="did you mean 'concept_contribution'"):
        plan(setup, ["concept_contributions"])


@pytest.mark.parametrize("policy", ["permute", "zero", "noise"])
def test_policies_hold_for_concepts_whatever_the_batches(policy):
    options = {"tau": None, "metrics": ["concept_contribution"], "absence": policy, "progress": False}
    one, two = (dissect(Toy(), blurred(12), batch_size=b, **options).contribution for b in (3, 12))
    assert one.values == two.values
    for name in ("rgb", "x", "interaction"):
        assert one.concepts["1"][name].iou == pytest.approx(two.concepts["1"][name].iou, abs=1e-9)
    if policy == "zero":
        mean = dissect(Toy(), blurred(12), **(options | {"absence": "mean"})).contribution
        assert mean.concepts["1"]["x"] != one.concepts["1"]["x"]
