"""The result schema: roundtrip, refusal of foreign files, atomic writing."""

from __future__ import annotations

import copy
import json
import math
import os

import pytest

from fusionzoo.dissect.effects import Effects
from fusionzoo.dissect.measures.specificity import Specificity
from fusionzoo.dissect.results import Checkpoint, Evolution
from fusionzoo.errors import InputError
from tests.dissect import made as r


def example() -> r.Dissection:
    variance = {"rgb_x": r.Variance(0.125, "mean_abs", 0.02), "rgb_fused": r.Variance(None, "mean_abs", None)}
    stage = r.stage(
        3,
        {"rgb": "stage3.rgb", "x": "stage3.x", "fused": "stage3.fusion.fused"},
        r.CKAViews(r.CKAValue(-0.01, 0.2, 4), None),
        variance,
        {"rgb": [0.25, None], "x": [0.5, 0.0], "fused": [1.0, None]},
    )
    return r.dissection(
        r.ModelInfo("sum_toy", "sum_toy", 12, ["rgb", "depth"], "memory"),
        r.DataInfo("planted", "test", 4, ["wall", "rug"], [8, 10], {"wall": "rgb", "rug": "x"}),
        r.RunInfo("mean", "fast", 0.005, {"torch": "2"}, 0, 1.5, ["cka"], 3, [4, 5], 2),
        [stage],
        segmentation={
            "both": r.Segmentation(0.5, 0.75, [0.5, None]),
            "without_x": r.Segmentation(0.25, 0.5, [0.25, None], r.Drop(0.25, 0.125, [0.25, None], [0.0, None])),
        },
        health=[r.ProbeHealth("stage3.rgb", 8, 1, 0.0, 1.0, 3.5, None, "rgb", "input")],
        planted=r.Planted([r.PlantedRow("wall", "rgb", 0.25, 0.125, None, 3, True)], True),
    )


def deep() -> r.Dissection:
    """`example` with everything that can be measured."""
    one = example()
    number, score = r.Measured(0.5, None), r.Estimate(0.5, 0.125, [0.5, None], [None, None])
    pair = r.PairSimilarity(4, r.Measured(0.25, 0.5), number, number, number, number, r.Measured(None))
    assert one.similarity and one.concepts
    one.similarity.stages[0].pairs = {"rgb_x": {"gap": pair}}
    one.similarity.stages[0].commonality = {"pix": r.CommonalityShares(80, number, number, number, number)}
    one.similarity.matrices = [
        r.PairMatrix("cka", "gap", 4, ["a", "b"], ["stage 1 rgb", "stage 1 x"], [[1.0, None], [0.5, 1.0]])
    ]
    kinds = r.StageSpecificity(3, ["wall"], ["rug"], [], difference=[number, number], chance=[0.25, None])
    one.results["specificity"] = Specificity([kinds])
    one.concepts.stages[0].variance["rgb_x"] = r.Variance(0.125, "mean_abs", 0.02, 0.05, [0.027, 0.223])
    one.segmentation["neither"] = r.Segmentation(0.125, 0.25, [0.25, 0.0])
    both = {"rgb": score, "x": score}
    values = {"both": score, "without_x": score, "without_rgb": score, "neither": score}
    one.results["contribution"] = r.Contribution("mean", values, both, score, both, {"3": {"rgb": score}})
    one.effects = Effects()
    return one


def test_everything_survives_a_roundtrip(tmp_path):
    deep().save(tmp_path / "d.json")
    assert r.Dissection.load(tmp_path / "d.json") == deep()
    values = deep().to_dict()
    values["results"]["similarity"]["stages"][0]["commonality"]["pix"]["unique_rbg"] = 1.0
    with pytest.raises(
        InputError, match=r"commonality\['pix'\]: unknown field 'unique_rbg'; did you mean 'unique_rgb'"
    ):
        r.Dissection.from_dict(values)


def test_a_file_from_before_the_later_fields_loads():
    values = example().to_dict()
    for stage in values["results"]["similarity"]["stages"]:
        del stage["pairs"], stage["commonality"]
    for stage in values["results"]["concepts"]["stages"]:
        for variance in stage["variance"].values():
            del variance["error"], variance["interval"]
    del values["effects"], values["protocol"]["concepts"], values["protocol"]["positions"]
    assert r.Dissection.from_dict(values) == example()


FIRST = {
    "format_version": 1,
    "model": {"name": "sum_toy", "architecture": "sum_toy", "num_params": 12, "modalities": ["rgb", "depth"],
              "source": "memory"},
    "data": {"name": "planted", "split": "test", "n": 4, "class_names": ["wall", "rug"], "size": [8, 10],
             "concepts": {"wall": "rgb", "rug": "x"}},
    "protocol": {"absence": "mean", "recipe": "fast", "tau": 0.005, "versions": {"torch": "2"}, "seed": 0,
                 "seconds": 1.5, "metrics": ["cka"], "passes": 3, "grid": [4, 5], "block": 2},
    "segmentation": {
        "both": {"miou": 0.5, "pixel_accuracy": 0.75, "iou": [0.5, None], "drop": None},
        "no_x": {"miou": 0.25, "pixel_accuracy": 0.5, "iou": [0.25, None],
                 "drop": {"miou": 0.25, "miou_error": 0.125, "iou": [0.25, None], "iou_error": [0.0, None]}},
    },
    "levels": [
        {"level": 3, "points": {"rgb": "stage3.rgb", "x": "stage3.x", "fused": "stage3.fusion.fused"},
         "cka": {"gap": {"unbiased": -0.01, "biased": 0.2, "n": 4}, "pix": None},
         "semantic_variance": {"rgb_x": {"value": 0.125, "reducer": "mean_abs", "floor": 0.02},
                               "rgb_fused": {"value": None, "reducer": "mean_abs", "floor": None}},
         "concept_iou": {"rgb": [0.25, None], "x": [0.5, 0.0], "fused": [1.0, None]},
         "concept_error": {}, "concept_floor": {}}],
    "probes": [{"name": "stage3.rgb", "channels": 8, "dead": 1, "mean": 0.0, "std": 1.0, "effective_rank": 3.5,
                "saturated": None, "modality": "rgb", "role": "input"}],
    "planted": {"rows": [{"concept": "wall", "kind": "rgb", "rgb": 0.25, "x": 0.125, "fused": None, "level": 3,
                          "found": True}], "found": True},
}  # fmt: skip
"""`example` as the first format wrote it."""


def test_files_of_the_first_format_load():
    assert r.Dissection.from_dict(copy.deepcopy(FIRST)) == example()
    whole = {"miou": 0.5, "miou_error": 0.125, "iou": [0.5, None], "iou_error": [None, None]}
    number = {"value": 0.5, "error": None}
    pair = dict.fromkeys(("cka", "angular", "svcca", "rcca", "predicts", "predicted"), number)
    later: dict = copy.deepcopy(FIRST)
    later["levels"][0] |= {
        "similarity": {"rgb_x": {"gap": {"n": 4, **pair}}},
        "commonality": {"pix": {"n": 80, **dict.fromkeys(("unique_rgb", "unique_x", "redundant", "rest"), number)}},
        "agreement": {"consistent": ["wall"], "rgb": ["rug"], "x": []},
    }
    later["segmentation"]["none"] = {"miou": 0.125, "pixel_accuracy": 0.25, "iou": [0.25, 0.0], "drop": None}
    later["contribution"] = {
        "absence": "mean", "values": {"both": whole, "rgb": whole | {"miou": 0.75}, "x": whole, "none": whole},
        "shapley": {"rgb": whole, "x": whole}, "interaction": whole,
    }  # fmt: skip
    matrix = {"view": "gap", "n": 4, "points": ["a"], "names": ["stage 1 rgb"], "values": [[1.0]]}
    later["matrices"] = [{"measure": "cka", **matrix}, {"measure": "concept correlation", **matrix}]
    later["concept_names"] = ["edge", "plane"]
    found = r.Dissection.from_dict(later)
    (row,) = found.rows
    assert row.similarity.pairs["rgb_x"]["gap"].svcca.value == 0.5 and row.similarity.commonality["pix"].n == 80
    assert row.specificity is not None and row.specificity.rgb == ["rug"] and row.specificity.stage == 3
    assert found.segmentation["neither"].miou == 0.125 and found.concept_names == ["edge", "plane"]
    assert found.contribution is not None and found.contribution.values["without_x"].miou == 0.75
    assert [m.measure for m in found.matrices] == ["cka", "concept correlation"]
    assert found.concepts is not None and len(found.concepts.matrices) == 1
    for wrong in ({**later, "levles": []}, {**later, "levels": [{**later["levels"][0], "agreemnt": {}}]}):
        with pytest.raises(InputError, match="unknown field '(levles|agreemnt)'"):
            r.Dissection.from_dict(wrong)


@pytest.mark.parametrize("broken", [
    {"levels": [{"points": {}}]}, {"levels": 3}, {"levels": [3]}, {"planted": {"rows": 3}},
    {"contribution": {"values": {"y": 1}}}, {"segmentation": ["both"]}, {"data": None}, {"protocol": None},
    {"effects": 3},
])  # fmt: skip
def test_what_is_no_file_of_the_first_format_is_refused(broken):
    with pytest.raises(InputError, match="^dissection: "):
        r.Dissection.from_dict(copy.deepcopy(FIRST) | broken)
    checkpoint = {"name": "a", **{k: v for k, v in broken.items() if k not in ("data", "protocol", "effects")}}
    whole = {k: FIRST[k] for k in ("format_version", "model", "data", "protocol")} | {"checkpoints": [checkpoint]}
    if len(checkpoint) > 1:
        with pytest.raises(InputError, match="^evolution: "):
            Evolution.from_dict(whole)


def test_training_curves_of_the_first_format_load():
    keys = ("segmentation", "levels", "probes", "planted")
    one = {"name": "a", "step": 10, **{k: copy.deepcopy(FIRST[k]) for k in keys}}
    values = {k: FIRST[k] for k in ("format_version", "model", "data", "protocol")}
    found = Evolution.from_dict({**values, "checkpoints": [one, {"name": "b"}], "concept_names": []})
    assert found.checkpoints[0].results == example().results and found.checkpoints[1].results == {}
    assert found.curves()["stage 3 semantic variance"][0].value == 0.125
    assert found.curves()["miou without_x"][0].value == 0.25


def test_evolution_roundtrip(tmp_path):
    one = deep()
    first = Checkpoint("a", 10, 0.5, one.results)
    made = Evolution(one.model, one.data, one.protocol, [first, Checkpoint("b")], one.stages)
    made.save(tmp_path / "e.json")
    again = Evolution.load(tmp_path / "e.json")
    assert again == made and again.curve(lambda c: c.step) == [10, None]
    with pytest.raises(InputError, match="evolution: format_version is 7, this fusionzoo reads 1 and 2"):
        Evolution.from_dict({"format_version": 7})


def test_roundtrip_through_a_file(tmp_path):
    path = tmp_path / "new" / "d.json"
    example().save(path)
    assert r.Dissection.load(path) == example()
    assert os.listdir(path.parent) == ["d.json"]  # no temporary file stays
    values = json.loads(path.read_text())
    assert list(values)[:4] == ["format_version", "model", "data", "protocol"]
    assert list(values)[4:] == ["results", "stages", "effects"]
    found = values["results"]
    assert list(found) == ["segmentation", "health", "planted", "similarity", "concepts"]
    assert found["similarity"]["stages"][0]["cka"]["gap"] == {"unbiased": -0.01, "biased": 0.2, "n": 4}
    assert found["segmentation"]["both"]["iou"] == [0.5, None] and found["planted"]["rows"][0]["found"] is True


def test_nan_becomes_null():
    one = example()
    one.rows[0].concepts.iou["rgb"][0] = math.nan
    one.segmentation["both"].miou = math.inf
    values = one.to_dict()
    found = values["results"]
    assert (
        found["concepts"]["stages"][0]["iou"]["rgb"] == [None, None] and found["segmentation"]["both"]["miou"] is None
    )
    json.dumps(values, allow_nan=False)


def test_whole_numbers_stand_for_floats_but_not_the_reverse():
    values = example().to_dict()
    values["results"]["segmentation"]["both"]["miou"] = 1
    assert r.Dissection.from_dict(values).segmentation["both"].miou == 1.0
    values["data"]["n"] = 4.5
    with pytest.raises(InputError, match=r"dissection: data: n is 4.5, wanted int"):
        r.Dissection.from_dict(values)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("results", "similarity", "stages", 0, "cka", "gaps"), {}, r"stages\[0\]: cka: unknown field 'gaps'; did you"),
        (("format_version",), 3, "format_version is 3, this fusionzoo reads 1 and 2"),
        (("stages",), {}, "dissection: stages is {}, wanted a list"),
        (("results", "concepts", "stages", 0, "iou"), [], r"iou is \[\], wanted an object"),
        (("results", "concepts", "stages", 0, "iou", "rgb", 0), "0.5", r"iou\['rgb'\]\[0\] is '0.5', wanted float"),
        (("results", "health", 0, "dead"), True, r"health\[0\]: dead is True, wanted int"),
        (("results", "planted", "rows", 0, "found"), 1, r"rows\[0\]: found is 1, wanted bool"),
        (("results", "planned"), {}, "results: unknown field 'planned'; did you mean 'planted'"),
        (("model",), None, "dissection: model is a NoneType, wanted an object"),
    ],
)
def test_foreign_values_are_refused_with_their_place(path, value, message):
    values = copy.deepcopy(example().to_dict())
    at = values
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(InputError, match=message):
        r.Dissection.from_dict(values)


def test_missing_key_is_refused():
    values = example().to_dict()
    del values["model"]["architecture"]
    with pytest.raises(InputError, match="dissection: model: field 'architecture' is missing"):
        r.Dissection.from_dict(values)


def test_files_that_are_no_dissection(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        r.Dissection.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        r.Dissection.load(tmp_path / "bad.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(InputError, match="holds a JSON list, wanted an object"):
        r.Dissection.load(tmp_path / "list.json")


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "d.json"
    example().save(path)
    before = path.read_bytes()

    def full(_handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        example().save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["d.json"]


def test_signal_only_above_the_floor():
    assert r.Variance(0.2, "mean_abs", 0.1).signal
    assert not r.Variance(0.1, "mean_abs", 0.1).signal
    assert not r.Variance(0.2, "mean_abs", None).signal
