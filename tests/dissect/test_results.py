"""The result schema: roundtrip, refusal of foreign files, atomic writing."""

from __future__ import annotations

import copy
import json
import math
import os

import pytest

from fusionzoo.dissect import results as r
from fusionzoo.dissect.effects import Effects
from fusionzoo.errors import InputError


def example() -> r.Dissection:
    variance = {"rgb_x": r.Variance(0.125, "mean_abs", 0.02), "rgb_fused": r.Variance(None, "mean_abs", None)}
    level = r.Level(
        3,
        {"rgb": "stage3.rgb", "x": "stage3.x", "fused": "stage3.fusion.fused"},
        r.CKAViews(r.CKAValue(-0.01, 0.2, 4), None),
        variance,
        {"rgb": [0.25, None], "x": [0.5, 0.0], "fused": [1.0, None]},
    )
    return r.Dissection(
        r.ModelInfo("sum_toy", "sum_toy", 12, ["rgb", "depth"], "memory"),
        r.DataInfo("planted", "test", 4, ["wall", "rug"], [8, 10], {"wall": "rgb", "rug": "x"}),
        r.Protocol("mean", "fast", 0.005, {"torch": "2"}, 0, 1.5, ["cka"], 3, [4, 5], 2),
        {
            "both": r.Segmentation(0.5, 0.75, [0.5, None]),
            "no_x": r.Segmentation(0.25, 0.5, [0.25, None], r.Drop(0.25, 0.125, [0.25, None], [0.0, None])),
        },
        [level],
        [r.ProbeHealth("stage3.rgb", 8, 1, 0.0, 1.0, 3.5, None, "rgb", "input")],
        r.Planted([r.PlantedRow("wall", "rgb", 0.25, 0.125, None, 3, True)], True),
    )


def deep() -> r.Dissection:
    """`example` with everything that can be measured."""
    one = example()
    number, score = r.Measured(0.5, None), r.Estimate(0.5, 0.125, [0.5, None], [None, None])
    pair = r.PairSimilarity(4, r.Measured(0.25, 0.5), number, number, number, number, r.Measured(None))
    level = one.levels[0]
    level.similarity = {"rgb_x": {"gap": pair}}
    level.commonality = {"pix": r.CommonalityShares(80, number, number, number, number)}
    level.agreement = r.ConceptAgreement(["wall"], ["rug"], [], difference=[number, number], chance=[0.25, None])
    level.semantic_variance["rgb_x"] = r.Variance(0.125, "mean_abs", 0.02, 0.05, [0.027, 0.223])
    one.segmentation["none"] = r.Segmentation(0.125, 0.25, [0.25, 0.0])
    both = {"rgb": score, "x": score}
    one.contribution = r.Contribution("mean", {**both, "none": score}, both, score, both, {"3": {"rgb": score}})
    one.matrices = [r.PairMatrix("cka", "gap", 4, ["a", "b"], ["stage 1 rgb", "stage 1 x"], [[1.0, None], [0.5, 1.0]])]
    one.effects = Effects()
    return one


def test_everything_survives_a_roundtrip(tmp_path):
    deep().save(tmp_path / "d.json")
    assert r.Dissection.load(tmp_path / "d.json") == deep()
    values = deep().to_dict()
    values["levels"][0]["commonality"]["pix"]["unique_rbg"] = 1.0
    with pytest.raises(
        InputError, match=r"commonality\['pix'\]: unknown field 'unique_rbg'; did you mean 'unique_rgb'"
    ):
        r.Dissection.from_dict(values)


def test_a_file_from_before_the_later_fields_loads():
    values = example().to_dict()
    for key in ("contribution", "matrices", "concept_names", "effects"):
        del values[key]
    for level in values["levels"]:
        for key in ("similarity", "commonality", "agreement"):
            del level[key]
        for variance in level["semantic_variance"].values():
            del variance["error"], variance["interval"]
    del values["protocol"]["concepts"], values["protocol"]["positions"]
    assert r.Dissection.from_dict(values) == example()


def test_evolution_roundtrip(tmp_path):
    one = deep()
    first = r.Checkpoint("a", 10, 0.5, one.segmentation, one.contribution, one.levels, one.probes, one.planted)
    made = r.Evolution(one.model, one.data, one.protocol, [first, r.Checkpoint("b")])
    made.save(tmp_path / "e.json")
    again = r.Evolution.load(tmp_path / "e.json")
    assert again == made and again.curve(lambda c: c.step) == [10, None]
    with pytest.raises(InputError, match="evolution: format_version is 7, this fusionzoo reads 1"):
        r.Evolution.from_dict({"format_version": 7})


def test_roundtrip_through_a_file(tmp_path):
    path = tmp_path / "new" / "d.json"
    example().save(path)
    assert r.Dissection.load(path) == example()
    assert os.listdir(path.parent) == ["d.json"]  # no temporary file stays
    values = json.loads(path.read_text())
    assert list(values)[:4] == ["format_version", "model", "data", "protocol"]
    assert list(values)[4:8] == ["segmentation", "levels", "probes", "planted"]
    assert list(values)[8:] == ["contribution", "matrices", "concept_names", "effects"]
    assert values["levels"][0]["cka"] == {"gap": {"unbiased": -0.01, "biased": 0.2, "n": 4}, "pix": None}
    assert values["segmentation"]["both"]["iou"] == [0.5, None]
    assert values["planted"]["rows"][0]["found"] is True


def test_nan_becomes_null():
    one = example()
    one.levels[0].concept_iou["rgb"][0] = math.nan
    one.segmentation["both"].miou = math.inf
    values = one.to_dict()
    assert values["levels"][0]["concept_iou"]["rgb"] == [None, None] and values["segmentation"]["both"]["miou"] is None
    json.dumps(values, allow_nan=False)


def test_whole_numbers_stand_for_floats_but_not_the_reverse():
    values = example().to_dict()
    values["segmentation"]["both"]["miou"] = 1
    assert r.Dissection.from_dict(values).segmentation["both"].miou == 1.0
    values["data"]["n"] = 4.5
    with pytest.raises(InputError, match=r"dissection: data: n is 4.5, wanted int"):
        r.Dissection.from_dict(values)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("levels", 0, "cka", "gaps"), {}, r"dissection: levels\[0\]: cka: unknown field 'gaps'; did you mean 'gap'\?"),
        (("format_version",), 2, "format_version is 2, this fusionzoo reads 1"),
        (("levels",), {}, "dissection: levels is {}, wanted a list"),
        (("levels", 0, "concept_iou"), [], r"concept_iou is \[\], wanted an object"),
        (("levels", 0, "concept_iou", "rgb", 0), "0.5", r"concept_iou\['rgb'\]\[0\] is '0.5', wanted float"),
        (("probes", 0, "dead"), True, r"probes\[0\]: dead is True, wanted int"),
        (("planted", "rows", 0, "found"), 1, r"rows\[0\]: found is 1, wanted bool"),
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
