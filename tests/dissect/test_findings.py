"""Words: the answer comes first, and nothing below its error or floor is called a difference."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from fusionzoo.dissect import dissect
from fusionzoo.dissect.findings import findings
from fusionzoo.dissect.words import Finding
from fusionzoo.models import create_model
from tests.dissect import made as r
from tests.dissect.test_effects import traced
from tests.dissect.toy import Toy, ToyData

CLASSES = ["window", "sofa", "door", "lamp"]


def drop(miou, error, iou=None, iou_error=None):
    return r.Drop(miou, error, iou or [0.0] * 4, iou_error or [0.01] * 4)


def scored(both, no_rgb, no_x, **more):
    """A dissection with mIoU 0.31 and the given drops."""
    segmentation = {
        "both": r.Segmentation(0.31, 0.7, both),
        "without_rgb": r.Segmentation(0.31 - no_rgb.miou, 0.5, both, no_rgb),
        "without_x": r.Segmentation(0.31 - no_x.miou, 0.6, both, no_x),
    }
    return r.dissection(
        r.ModelInfo("m", "m", 1, ["rgb", "depth"]),
        r.DataInfo("nyuv2", "test", 100, CLASSES, [120, 160]),
        r.RunInfo("mean", "fast", 0.005),
        more.pop("levels", [r.stage(4, {"rgb": "a", "x": "b"})]),
        segmentation=segmentation,
        **more,
    )


def texts(d, level=None):
    return [f.text for f in findings(d) if level in (None, f.level)]


def front(d):
    """The lines that stand in front."""
    return [f.text for f in findings(d) if f.first]


MEAN = "(an absent modality is replaced by its mean)"


def test_the_answer_in_three_lines():
    no_rgb = drop(0.2, 0.01, [0.5, 0.1, 0.5, 0.05])
    no_x = drop(0.061, 0.01, [0.01, 0.3, 0.49, 0.0])
    d = scored([0.5, 0.5, 0.5, 0.05], no_rgb, no_x, levels=[shares(2, 0.4, 0.1), shares(3, 0.39, 0.12)])
    assert front(d) == [
        "The model uses both modalities: mIoU 31.0 with both, 20.0 +- 1.0 points less without rgb, 6.1 +- 1.0 less"
        f" without depth {MEAN}.",
        "Where: rgb shapes the fused features alike at all stages (39 to 40 % of their variance comes from it alone);"
        " depth alike at all stages (10 to 12 %).",
        "Without rgb 'window' is lost; without depth no other class is lost; 'door' needs both: lost without either.",
    ]
    found = findings(d)
    assert [(f.claim, f.evidence) for f in found[:3]] == [
        ("use", "intervention"), ("where", "distribution"), ("breaks", "intervention"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("miou", "error", "iou", "level", "said"),
    [
        (0.061, 0.01, None, "info", "The model uses both modalities: "),
        (0.004, 0.0001, None, "warn", "The model uses rgb; it does not measurably use depth: "),
        (0.061, 0.03, None, "warn", "The model uses rgb; whether it uses depth cannot be told from 100 images: "),
        (0.061, None, None, "warn", "The model uses rgb; whether it uses depth cannot be told from 100 images: "),
        (-0.05, 0.001, None, "warn", "The model uses both modalities, depth to its harm: "),
        (0.001, 0.001, [0.2, -0.19, 0.0, 0.0], "info", "The model uses both modalities, depth for some classes only: "),
        (0.001, 0.001, [0.039, -0.03, 0.0, 0.0], "warn", "The model uses rgb; it does not measurably use depth: "),
        (0.0, 0.0, None, "warn", "The model uses rgb only: "),
    ],
)
def test_what_is_said_of_the_use_of_depth(miou, error, iou, level, said):
    d = scored([0.5] * 4, drop(0.2, 0.01), drop(miou, error, iou))
    d.stages[0].points["fused"] = "c"
    first = findings(d)[0]
    assert (first.level, first.text[: len(said)]) == (level, said)


def test_what_changes_without_a_modality():
    def ends(miou, error):
        return findings(scored([0.5] * 4, drop(0.2, 0.01), drop(miou, error)))[0].text.removesuffix(f" {MEAN}.")

    assert ends(-0.05, 0.001).endswith("20.0 +- 1.0 points less without rgb, 5.0 +- 0.1 more without depth")
    assert ends(0.02, None).endswith(", 2.0 less without depth (error unknown)")
    assert ends(0.0, 0.0).endswith("20.0 +- 1.0 points less without rgb, exactly the same without depth")


def test_neither_is_used():
    said = findings(scored([0.5] * 4, drop(0.001, 0.005), drop(0.001, 0.005)))
    assert said[0].level == "warn" and "does not measurably use either modality" in said[0].text
    said = findings(scored([0.5] * 4, drop(0.001, 0.01), drop(0.001, 0.03)))
    assert said[0].level == "warn" and "Whether the model uses rgb or depth cannot be told" in said[0].text


def test_nothing_breaks_without_a_modality_that_is_not_used():
    """A class may change beyond its error, as one of many does: the mIoU does not, so nothing is claimed."""
    d = scored([0.5] * 4, drop(0.2, 0.01, [0.1, 0.0, 0.0, 0.0]), drop(0.001, 0.001, [0.0, 0.035, 0.0, 0.0]))
    assert front(d)[-1] == "Without rgb 'window' (10.0) loses most IoU; without depth no class changes measurably."


def test_classes_that_gain_are_named():
    d = scored([0.5] * 4, drop(0.2, 0.01, [0.1, 0.3, -0.06, 0.0]), drop(0.1, 0.01, [-0.2, -0.3, 0.2, 0.0]))
    assert front(d)[-1] == (
        "Without rgb 'sofa' (30.0) and 'window' (10.0) lose most IoU, 'door' (6.0) gains IoU; without depth 'door'"
        " (20.0) loses most IoU, 'sofa' (30.0) and 'window' (20.0) gain IoU."
    )


def test_a_claim_is_stated_once_by_its_strongest_evidence():
    """Where: shares of variance, until causal tracing has looked; how alike: CKA, until concepts were measured."""
    rows = [shares(2, 0.4, 0.1), shares(3, 0.2, 0.1)]
    plain = scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=rows)
    with_trace = dataclasses.replace(plain, effects=r.Effects(trace=traced()))
    for d, measure, said in (
        (plain, "commonality", "Where: rgb shapes"), (with_trace, "causal tracing", "Where: the prediction rests"),
    ):  # fmt: skip
        (where,) = (f for f in findings(d) if f.claim == "where")
        assert where.measure == measure and where.text.startswith(said) and where.first
    for d in (plain, with_trace):
        claims = [f.claim for f in findings(d) if f.claim]
        assert len(set(claims)) == len(claims)
    alike = [r.stage(n, {"rgb": "a", "x": "b"}, r.CKAViews(r.CKAValue(0.2, 0.2, 9))) for n in (2, 3)]
    cka = scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=alike)
    assert [f.measure for f in findings(cka) if f.claim == "alike"] == ["CKA"]
    cka.results["concepts"].stages[0].variance["rgb_x"] = r.Variance(0.1, "mean_abs", 0.01)
    assert [f.measure for f in findings(cka) if f.claim == "alike"] == ["semantic variance"]


def level(number, value, floor, rgb=None, x=None, error=0.01):
    row = r.stage(number, {"rgb": "a", "x": "b"}, variance={"rgb_x": r.Variance(value, "mean_abs", floor)})
    if rgb:
        row.concepts.iou = {"rgb": rgb, "x": x}
        row.concepts.error = {s: [error] * 4 for s in ("rgb", "x")}
        row.concepts.floor = {s: [error] * 4 for s in ("rgb", "x")}
    return row


def test_levels_at_and_above_the_noise_floor():
    rows = [
        level(1, 0.03, 0.02),
        level(2, 0.07, 0.01),
        level(3, 0.06, 0.02),
        level(4, 0.02, 0.02),
        level(5, 0.01, 0.03),
    ]
    said = texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=rows))
    none = "no difference between the streams is measurable (semantic variance at its noise floor)"
    assert (
        "at stages 2 and 3 the streams encode concepts differently: semantic variance 7.0 and 6.0 points, noise floor"
        " 1.0 and 2.0; at stage 1 the streams differ little: semantic variance 3.0 points, noise floor 2.0; at stages 4"
        f" and 5 {none}" in said
    )
    unknown = [level(2, 0.07, None)]
    assert not any("stage 2" in t for t in texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=unknown)))


def test_concepts_that_only_one_stream_encodes():
    rows = [
        level(2, 0.07, 0.01, [0.45, 0.02, 0.3, 0.09], [0.06, 0.01, 0.2, 0.01]),
        level(3, 0.07, 0.01, [0.3, 0.05, 0.3, 0.09], [0.1, 0.6, 0.2, 0.01]),
    ]
    said = texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=rows))
    tail = ": concept IoU, best stage of each stream"
    assert f"only the rgb stream encodes 'window' (45.0 against 10.0){tail}" in said
    assert f"only the depth stream encodes 'sofa' (60.0 against 5.0){tail}" in said
    noisy = [level(2, 0.07, 0.01, [0.45, 0.02, 0.3, 0.09], [0.06, 0.01, 0.2, 0.01], error=0.2)]
    assert not any("only the" in t for t in texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=noisy)))


def test_dead_and_saturated_probes():
    health = [
        r.ProbeHealth("stage5.x", 8, 8, 0.0, 0.0, None),
        r.ProbeHealth("stage5.fusion.gate", 8, 0, 1.0, 0.0, 1.0, 0.97),
        r.ProbeHealth("stage1.rgb", 8, 3, 0.0, 1.0, 2.0),
        r.ProbeHealth("stage2.rgb", 8, 0, 0.0, 1.0, 2.0, 0.3),
    ]
    d = scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), health=health)
    assert texts(d, "warn") == [
        "dead: stage5.x (no channel ever varies)",
        "saturated: stage5.fusion.gate (97 %) of the values at an end of the range",
    ]
    assert "1 of 4 probe points have channels that never vary; most: stage1.rgb, 3 of 8" in texts(d)
    well = scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), health=health[3:])
    assert "no dead channel and no saturated probe among 1 probe points" in texts(well)


def test_planted_truth_that_is_not_found_fails():
    rows = [
        r.PlantedRow("window", "rgb", 0.2, 0.3, 0.3, 2, False),
        r.PlantedRow("sofa", "x", 0.1, 0.3, 0.3, 2, True),
        r.PlantedRow("door", "both", 0.3, 0.31, 0.3, 2, True),
        r.PlantedRow("lamp", "none", None, None, None, None, False),
    ]
    said = findings(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), planted=r.Planted(rows, False)))
    assert [f for f in said if f.level == "fail"] == [Finding(
        "fail",
        "The planted truth is NOT found: 1 of 2 one-modality concepts are encoded better by the right stream; mean"
        " difference between the streams: 10.0 (rgb-only concepts), 20.0 (depth-only), 1.0 (visible in both); not"
        " 'window'.",
        "planted truth", "concept set IoU against the planted truth", "concepts",
    )]  # fmt: skip


def test_a_whole_run_in_words():
    said = texts(dissect(Toy(), ToyData(), tau=None, progress=False))
    assert said[0].startswith("The model uses both modalities")
    assert said[1] == "Without rgb 'paint' is lost, 'dent' (3.2) gains IoU; without depth 'dent' is lost."
    assert said[2].startswith("The planted truth is found: 2 of 2")
    agreed = "encoded at stage 1: 'wall' in both streams alike (consistent); 'paint' specific to rgb; 'dent' specific"
    assert f"{agreed} to depth" in said
    assert "dead: gate (no channel ever varies)" in said


def test_models_of_one_modality():
    torch.manual_seed(0)
    found = findings(dissect(create_model("x_only_mobilenetv1-025_fpn", num_classes=3), ToyData(4), progress=False))
    assert found[0].text.startswith(("The model reads depth only: mIoU ", "The model reads depth only, and "))
    assert "without it" in found[0].text and not any("rgb" in f.text for f in found)
    one = scored([0.5, 0.7, 0.0, 0.1], drop(0.2, 0.01), drop(0.0, 0.0))
    one.stages[0].points = {"rgb": "a"}
    assert front(one) == [
        f"The model reads rgb only: mIoU 31.0, 20.0 +- 1.0 points less without it {MEAN}.",
        "From rgb alone it recognises 'window' and 'sofa'; not 'door' and 'lamp' (IoU below 40.0).",
    ]


def test_swapped_modalities_swap_the_words():
    d = scored([0.5] * 4, drop(0.2, 0.01), drop(0.0, 0.005))
    d.segmentation["without_rgb"], d.segmentation["without_x"] = (
        d.segmentation["without_x"],
        d.segmentation["without_rgb"],
    )
    assert findings(d)[0].text.startswith("The model uses depth; it does not measurably use rgb")


# ------------------------------------------------------------------------------- contribution, levels, shared concepts


def contribution(rgb, x, interaction, alone=(0.2, 0.1), error=0.01):
    """Shapley values and interaction with one error for all; V(rgb), V(x) as given."""
    whole = lambda v: r.Estimate(v, error, [v] * 4, [error] * 4)  # noqa: E731
    values = {"both": 0.4, "without_x": alone[0], "without_rgb": alone[1], "neither": 0.02}
    values = {name: whole(value) for name, value in values.items()}
    return r.Contribution("mean", values, {"rgb": whole(rgb), "x": whole(x)}, whole(interaction))


def said_of(made, **more):
    return texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), contribution=made, **more))


def test_the_split_and_synergy_with_their_errors():
    said = said_of(contribution(0.3, 0.1, 0.08))
    assert (
        "contribution, with and without each: rgb 30.0 +- 1.0 and depth 10.0 +- 1.0 points,"
        " so 75 % rgb and 25 % depth" in said
    )
    assert (
        "the modalities help each other (synergy): together 8.0 +- 1.0 points more than the two by themselves" in said
    )


def test_redundancy():
    said = said_of(contribution(0.3, 0.1, -0.08))
    assert any("give much of the same (redundancy): together 8.0 +- 1.0 points less" in t for t in said)


@pytest.mark.parametrize("interaction", [0.029, -0.029, 0.0])
def test_an_interaction_within_three_errors_is_none(interaction):
    said = " ".join(said_of(contribution(0.3, 0.1, interaction)))
    assert "neither synergy nor redundancy is measurable" in said
    assert "(synergy)" not in said and "(redundancy)" not in said


def test_shares_that_errors_do_not_tell_apart():
    """V(rgb) and V(x), whose difference is that of the Shapley values, must differ by three times both errors."""
    near, far = (said_of(contribution(0.21, 0.2, 0.0, alone)) for alone in ((0.159, 0.1), (0.161, 0.1)))
    assert any(t.endswith("which gives more is within the error") for t in near)
    assert not any("within the error" in t for t in far)


def test_no_split_of_what_is_not_there():
    assert not any("contribution" in t for t in said_of(contribution(0.3, 0.02, 0.0)))
    unknown = contribution(0.3, 0.1, 0.08, error=None)
    assert not any("contribution" in t or "synergy" in t for t in said_of(unknown))


def shares(number, rgb, x, error=0.01):
    row = r.stage(number, {"rgb": "a", "x": "b", "fused": "c"})
    row.similarity.commonality["pix"] = r.CommonalityShares(
        100, r.Measured(rgb, error), r.Measured(x, error), r.Measured(0.1, error), r.Measured(0.1, error)
    )
    return row


def test_where_each_modality_matters_most():
    rows = [shares(2, 0.4, 0.1), shares(3, 0.39, 0.12), shares(4, 0.2, 0.13)]
    assert (
        "Where: rgb shapes the fused features most at stages 2 and 3 (40 % and 39 % of their variance comes from it"
        " alone; least at stage 4, 20 %); depth alike at all stages (10 to 13 %)." in said_of(None, levels=rows)
    )
    sharp = [shares(n, v, 0.0, 0.0001) for n, v in ((2, 0.40), (3, 0.36), (4, 0.34))]
    assert (
        "Where: rgb shapes the fused features most at stages 2 and 3 (40 % and 36 % of their variance comes from it"
        " alone; least at stage 4, 34 %); depth nowhere measurably." in said_of(None, levels=sharp)
    )


def test_where_needs_no_scores():
    d = scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=[shares(2, 0.4, 0.1), shares(3, 0.2, 0.1)])
    del d.results["segmentation"]
    assert front(d)[0].startswith("Where: rgb shapes the fused features most at stage 2 (40 %")


def test_what_shapes_the_features_need_not_matter():
    rows = [shares(2, 0.4, 0.3), shares(3, 0.4, 0.3)]
    d = scored([0.5] * 4, drop(0.2, 0.01), drop(0.001, 0.001), levels=rows)
    assert front(d)[1].endswith(
        "depth alike at all stages (30 to 30 %); yet the prediction does not measurably use depth."
    )


def test_shared_and_specific_concepts():
    rows = [level(2, 0.07, 0.01), level(3, 0.07, 0.01, [0.5] * 4, [0.4] * 4)]
    rows[0].specificity = r.StageSpecificity(2, [], ["sofa"], ["door"])
    rows[1].specificity = r.StageSpecificity(3, ["window", "lamp"], ["sofa"], [], gained=["door"], lost=["lamp"])
    said = said_of(None, levels=rows)
    assert "encoded at stage 3: 'window' and 'lamp' in both streams alike (consistent); 'sofa' specific to rgb" in said
    assert "fusion at stage 3 gains 'door' and loses 'lamp' against the better of the streams" in said
    assert "concepts over the stages: 0 consistent and 2 specific at stage 2, 2 and 1 at stage 3" in said


def test_levels_of_uneven_maps_have_no_shares_by_position():
    rows = [shares(2, 0.4, 0.1), shares(3, 0.2, 0.1), shares(4, 0.1, 0.1)]
    rows[1].similarity.commonality = {"gap": rows[1].similarity.commonality["pix"]}
    said = said_of(None, levels=rows)
    assert any(t.startswith("Where: rgb shapes the fused features most at stage 2 (40 %") for t in said)
