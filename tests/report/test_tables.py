from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fusionzoo.dissect.results import Dissection
from fusionzoo.errors import InputError
from fusionzoo.report import tables


def cell(table: tables.Table, row: str, column: str) -> str:
    line = next(r for r in table.rows if r[0] == row)
    return line[table.columns.index(column)]


def test_the_example_is_a_dissection(example: dict[str, Any]) -> None:
    assert Dissection.from_dict(example).to_dict()["levels"][0]["cka"]["gap"]["unbiased"] == -0.03
    assert tables.as_dict(Dissection.from_dict(example))["data"]["n"] == 64


def test_segmentation_states_changes_with_their_errors(example: dict[str, Any]) -> None:
    table = tables.segmentation(example)
    assert [r[:3] for r in table.rows] == [
        ("both", "61.2", ""),
        ("without rgb", "30.1", "-31.1 ±0.8"),
        ("without depth", "40.0", "-21.2"),
    ]
    assert "mean" in table.note


def test_levels_give_floor_and_mean_over_concepts_that_are_there(example: dict[str, Any]) -> None:
    table = tables.levels(example)
    fused = [v for v in example["levels"][2]["concept_iou"]["fused"] if v is not None]
    assert len(fused) == 12
    assert cell(table, "3", "IoU fused") == f"{100 * np.mean(fused):.1f}"
    assert cell(table, "1", "CKA gap") == "-0.030", "a negative unbiased value is shown, not clamped"
    assert cell(table, "3", "SV rgb-x") == f"{100 * example['levels'][2]['semantic_variance']['rgb_x']['value']:.1f}"
    assert cell(table, "3", "SV dep-fus") == "1.2~", "0.012 is below its floor of 0.015"
    assert cell(table, "3", "floor") == "1.4"


def test_a_value_on_its_floor_is_marked(example: dict[str, Any]) -> None:
    example["levels"][0]["semantic_variance"]["rgb_x"] = {"value": 0.02, "reducer": "mean_abs", "floor": 0.02}
    example["levels"][1]["semantic_variance"]["rgb_x"] = {"value": 0.021, "reducer": "mean_abs", "floor": 0.02}
    example["levels"][2]["semantic_variance"]["rgb_x"] = {"value": 0.001, "reducer": "mean_abs", "floor": None}
    values = [row[3] for row in tables.levels(example).rows[:3]]
    assert values == ["2.0~", "2.1", "0.1"]


def test_best_level_is_the_one_with_the_highest_mean_fused_iou(example: dict[str, Any]) -> None:
    assert tables.best_level(example)["level"] == 5  # type: ignore[index]
    example["levels"][1]["concept_iou"]["fused"] = [0.99] * 13
    assert tables.best_level(example)["level"] == 2  # type: ignore[index]
    for level in example["levels"]:
        level["concept_iou"] = {}
    assert tables.best_level(example) is None
    assert cell(tables.concepts(example), "poster", "rgb") == "-"


def test_concepts_of_one_level(example: dict[str, Any]) -> None:
    table = tables.concepts(example, example["levels"][1])
    iou = example["levels"][1]["concept_iou"]
    assert cell(table, "box", "visible in") == "x"
    assert cell(table, "box", "rgb-depth") == f"{100 * (iou['rgb'][5] - iou['x'][5]):+.1f}"
    assert cell(table, "void pattern", "fused") == "-"
    assert cell(table, "void pattern", "both") == "-"
    assert "level 2" in table.note


def test_a_model_with_one_stream_has_gaps_not_errors(example: dict[str, Any]) -> None:
    example["model"]["modalities"] = ["rgb", "depth"]
    for level in example["levels"]:
        level["points"].pop("x")
        level["cka"] = {"gap": None, "pix": None}
        level["semantic_variance"] = {}
        level["concept_iou"].pop("x")
    row = tables.levels(example).rows[0]
    assert row[1:6] == ("-",) * 5
    assert cell(tables.concepts(example), "poster", "rgb-depth") == "-"


def test_planted_truth(example: dict[str, Any]) -> None:
    table = tables.planted(example)
    assert table is not None
    assert table.rows[2] == ("painted wall", "yes", "rgb", "55.6", "6.4", "61.2", "+49.2", "5")
    example["planted"]["rows"][2].update(found=False, level=None, x=None)
    table = tables.planted(example)
    assert table is not None and table.rows[2] == ("painted wall", "NO", "rgb", "55.6", "-", "61.2", "-", "-")
    example["planted"] = None
    assert tables.planted(example) is None


def test_flagged_probes(example: dict[str, Any]) -> None:
    table = tables.probes(example, only_flagged=True)
    assert [r[0] for r in table.rows] == ["stage5.fusion.gate_rgb", "stage4.fusion.gate_x"]
    assert "17 probe points: 1 with dead channels" in table.note
    assert len(tables.probes(example).rows) == 17


def test_verdict(example: dict[str, Any], checks: list[dict[str, Any]]) -> None:
    assert tables.verdict(example, checks) == (
        True,
        "all 3 file checks passed; planted truth found (6 of 6 one-modality concepts).",
    )
    checks[1]["ok"] = False
    good, words = tables.verdict(example, checks)
    assert not good and words.startswith("1 of 3 file checks failed: keys;")
    example["planted"]["found"] = example["planted"]["rows"][3]["found"] = False
    good, words = tables.verdict(example, None)
    assert not good and words == "planted truth NOT found (5 of 6 one-modality concepts)."
    example["planted"] = None
    assert tables.verdict(example, ()) == (True, "dissected; no files were checked.")


def test_verification_in_any_shape(checks: list[dict[str, Any]]) -> None:
    objects = SimpleNamespace(checks=[SimpleNamespace(**c) for c in checks])
    assert tables.checks(objects) == tables.checks(checks) == tables.checks({"checks": checks})
    assert tables.checks(None) == []


def test_comparison_has_a_row_each(example: dict[str, Any]) -> None:
    other = {**example, "model": {**example["model"], "name": "second"}}
    table = tables.comparison([example, other])
    assert [r[0] for r in table.rows] == ["hybrid_mobilenetv1-025_fpn.planted", "second"]
    assert table.rows[0][1:4] == ("61.2", "30.1", "40.0")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format_version": 2}, "format_version 2"), ({"levels": ...}, "lacks levels")],
)
def test_other_formats_are_refused(example: dict[str, Any], change: dict[str, Any], message: str) -> None:
    values = {k: v for k, v in {**example, **change}.items() if v is not ...}
    with pytest.raises(InputError, match=message):
        tables.as_dict(values)


def test_a_crooked_table_is_refused() -> None:
    with pytest.raises(ValueError, match="crooked"):
        tables.Table("crooked", ("a", "b"), (("1",),), "<>")
