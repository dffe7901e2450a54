from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fusionzoo.dissect.results import Dissection
from fusionzoo.errors import InputError
from fusionzoo.report.sections.concepts import concepts
from fusionzoo.report.sections.health import probes
from fusionzoo.report.sections.planted import planted
from fusionzoo.report.sections.scores import scores
from fusionzoo.report.sections.stages import best_stage, comparison, stages
from fusionzoo.report.table import Table
from fusionzoo.report.verdict import as_dissection, checks, verdict
from tests.report.conftest import typed


@pytest.fixture(name="made")
def file_checks(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request.getfixturevalue("checks")
    return found


def cell(table: Table, row: str, column: str) -> str:
    line = next(r for r in table.rows if r[0] == row)
    return line[table.columns.index(column)]


def test_the_example_is_a_dissection(example: dict[str, Any]) -> None:
    made = Dissection.from_dict(example).to_dict()
    assert made["format_version"] == 2 and made["data"]["n"] == 64
    assert made["results"]["similarity"]["stages"][0]["cka"]["gap"]["unbiased"] == -0.03


def test_segmentation_states_changes_with_their_errors(example: dict[str, Any]) -> None:
    table = scores(typed(example))
    assert [r[:3] for r in table.rows] == [
        ("both", "61.2", ""),
        ("without rgb", "30.1", "-31.1 ±0.8"),
        ("without depth", "40.0", "-21.2"),
    ]
    assert "mean" in table.note


def test_levels_give_floor_and_mean_over_concepts_that_are_there(example: dict[str, Any]) -> None:
    table = stages(typed(example))
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
    values = [row[3] for row in stages(typed(example)).rows[:3]]
    assert values == ["2.0~", "2.1", "0.1"]


def test_best_level_is_the_one_with_the_highest_mean_fused_iou(example: dict[str, Any]) -> None:
    assert best_stage(typed(example)).stage == 5  # type: ignore[union-attr]
    example["levels"][1]["concept_iou"]["fused"] = [0.99] * 13
    assert best_stage(typed(example)).stage == 2  # type: ignore[union-attr]
    for level in example["levels"]:
        level["concept_iou"] = {}
    assert best_stage(typed(example)) is None
    assert cell(concepts(typed(example)), "poster", "rgb") == "-"


def test_concepts_of_one_level(example: dict[str, Any]) -> None:
    table = concepts(typed(example), typed(example).rows[1])
    iou = example["levels"][1]["concept_iou"]
    assert cell(table, "box", "visible in") == "x"
    assert cell(table, "box", "rgb-depth") == f"{100 * (iou['rgb'][5] - iou['x'][5]):+.1f}"
    assert cell(table, "void pattern", "fused") == "-"
    assert cell(table, "void pattern", "both") == "-"
    assert "stage 2" in table.note


def test_a_model_with_one_stream_has_gaps_not_errors(example: dict[str, Any]) -> None:
    example["model"]["modalities"] = ["rgb", "depth"]
    for level in example["levels"]:
        level["points"].pop("x")
        level["cka"] = {"gap": None, "pix": None}
        level["semantic_variance"] = {}
        level["concept_iou"].pop("x")
    row = stages(typed(example)).rows[0]
    assert row[1:6] == ("-",) * 5
    assert cell(concepts(typed(example)), "poster", "rgb-depth") == "-"


def test_planted_truth(example: dict[str, Any]) -> None:
    table = planted(typed(example))
    assert table is not None
    assert table.rows[2] == ("painted wall", "yes", "rgb", "55.6", "6.4", "61.2", "+49.2", "5")
    example["planted"]["rows"][2].update(found=False, level=None, x=None)
    table = planted(typed(example))
    assert table is not None and table.rows[2] == ("painted wall", "NO", "rgb", "55.6", "-", "61.2", "-", "-")
    example["planted"] = None
    assert planted(typed(example)) is None


def test_flagged_probes(example: dict[str, Any]) -> None:
    table = probes(typed(example), only_flagged=True)
    assert [r[0] for r in table.rows] == ["stage5.fusion.gate_rgb", "stage4.fusion.gate_x"]
    assert "17 probe points: 1 with dead channels" in table.note
    assert len(probes(typed(example)).rows) == 17


def test_verdict(example: dict[str, Any], made: list[dict[str, Any]]) -> None:
    assert verdict(typed(example), made) == (
        True,
        "all 3 file checks passed; planted truth found (6 of 6 one-modality concepts).",
    )
    made[1]["ok"] = False
    good, words = verdict(typed(example), made)
    assert not good and words.startswith("1 of 3 file checks failed: keys;")
    example["planted"]["found"] = example["planted"]["rows"][3]["found"] = False
    good, words = verdict(typed(example), None)
    assert not good and words == "planted truth NOT found (5 of 6 one-modality concepts)."
    example["planted"] = None
    assert verdict(typed(example), ()) == (True, "dissected; no files were checked.")


def test_verification_in_any_shape(made: list[dict[str, Any]]) -> None:
    objects = SimpleNamespace(checks=[SimpleNamespace(**c) for c in made])
    assert checks(objects) == checks(made) == checks({"checks": made})
    assert checks(None) == []


def test_comparison_has_a_row_each(example: dict[str, Any]) -> None:
    other = {**example, "model": {**example["model"], "name": "second"}}
    table = comparison([typed(example), typed(other)])
    assert [r[0] for r in table.rows] == ["hybrid_mobilenetv1-025_fpn.planted", "second"]
    assert table.rows[0][1:4] == ("61.2", "30.1", "40.0")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format_version": 3}, "format_version is 3"), ({"model": ...}, "field 'model' is missing")],
)
def test_other_formats_are_refused(example: dict[str, Any], change: dict[str, Any], message: str) -> None:
    values = {k: v for k, v in {**example, **change}.items() if v is not ...}
    with pytest.raises(InputError, match=message):
        as_dissection(values)


def test_a_crooked_table_is_refused() -> None:
    with pytest.raises(ValueError, match="crooked"):
        Table("crooked", ("a", "b"), (("1",),), "<>")
