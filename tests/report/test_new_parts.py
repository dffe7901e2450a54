"""Contribution, shares, agreement, causal tracing, robustness and evolution: the numbers that are shown are the right
ones, at their place, and nothing below its error looks like a difference."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fusionzoo.dissect.results import Checkpoint, Dissection, Evolution
from fusionzoo.report import card, comparison, evolution, svg, terminal
from fusionzoo.report import html as page
from fusionzoo.report.sections import trace as tracing
from fusionzoo.report.sections.concepts import concepts
from fusionzoo.report.sections.contribution import contribution, sentence
from fusionzoo.report.sections.stages import contributions, sharing
from tests.report.conftest import typed
from tests.report.test_html import Reader

NEW = ("Contribution", "Shared and specific", "Causal tracing", "Robustness", "Failing modalities")


def test_the_example_is_in_the_schema(full: dict[str, Any]) -> None:
    made = Dissection.from_dict(full)
    assert made.effects is not None and made.effects.trace is not None and made.contribution is not None


def test_the_terminal_shows_all_parts_in_a_hundred_columns(full: dict[str, Any]) -> None:
    text = terminal(full, None, ["The answer."])
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    titles = [lines.index(title) for title in ("Segmentation", "Contribution", "Stages", "Shared and specific")]
    assert lines.index("  * The answer.") < titles[0] and titles == sorted(titles)
    assert all(title in lines for title in NEW)


def test_the_old_parts_alone(example: dict[str, Any]) -> None:
    lines = terminal(example).splitlines()
    assert not any(title in lines for title in NEW)


def test_contribution_rows(full: dict[str, Any]) -> None:
    table = contribution(typed(full))
    assert table is not None
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["score with it alone"] == ("40.0 ±0.8", "30.1 ±0.8", "61.2 ±0.8")
    assert rows["Shapley value"] == ("33.6 ±0.8", "23.7 ±0.8", "57.2")  # 61.23 - 4.0
    assert rows["share of the sum"] == ("59 %", "41 %", "")  # 33.57 / 57.24
    assert rows["interaction"] == ("", "", "-4.9 ±0.8")
    assert rows["perceptual score"] == ("52.0 ±0.8", "45.0 ±0.8", "")


def test_sharing_rows(full: dict[str, Any]) -> None:
    table = sharing(typed(full))
    assert table is not None
    assert table.rows[0] == ("1", "40.0 ±0.4", "20.0 ±0.4", "30.0 ±0.4", "2", "3", "3", "0", "0")
    assert table.rows[4] == ("5", "8.0 ±0.4", "60.0 ±0.4", "10.0 ±0.4", "6", "3", "3", "1", "0")


def test_trace_rows_keep_the_sign(full: dict[str, Any]) -> None:
    table = tracing.trace(typed(full))
    assert table is not None
    assert table.columns == (
        "stage", "rgb alone", "rgb onward", "depth alone", "depth onward", "rgb back", "depth back",
    )  # fmt: skip
    assert table.rows[2] == ("3", "3.0 ±0.2", "15.0 ±0.2", "-1.5 ±0.2", "-7.5 ±0.2", "3 %", "-2 %")


def test_a_gain_is_not_drawn_as_a_loss(full: dict[str, Any]) -> None:
    drawing = tracing.SECTION.plot(typed(full)).drawing  # type: ignore[union-attr]
    assert "stage 5, rgb, onward: 25.0" in drawing and "stage 5, depth, onward: 0.0" in drawing


def test_the_page_folds_what_is_long(full: dict[str, Any]) -> None:
    said = [f"finding {i}" for i in range(20)]
    reader = Reader(page(full, None, said))
    titles = [w for t, w in reader.words if t == "h2"]
    assert titles[:3] == ["Segmentation: mIoU", "Contribution of each modality", "What the prediction rests on"]
    assert {"What the fused features take from each modality", "Consistent and specific concepts", "Robustness"} <= set(
        titles
    )
    folds = [w for t, w in reader.words if t == "summary"]
    assert "12 more findings" in folds and "Classes over stages" in folds and "Failing modalities" in folds
    assert reader.tags["svg"] == reader.tags["figure"] == 11


def test_warnings_are_never_folded(full: dict[str, Any]) -> None:
    said: list[Any] = [f"finding {i}" for i in range(20)] + [{"level": "warn", "text": "look here"}]
    text = page(full, None, said)
    assert text.index("look here") < text.index("more findings")
    few = page(full, None, said[:10])
    assert "more findings" not in few and "finding 9" in few


def test_the_page_opens_with_the_lines_in_front_and_folds_the_rest(full: dict[str, Any]) -> None:
    said = [{"level": "info", "text": f"line {i}", "measure": "mIoU", "evidence": "intervention", "first": i < 3}
            for i in range(5)]  # fmt: skip
    text = page(full, None, said)
    fold = text.index("2 more findings</summary>")
    assert [text.index(f"line {i}") < fold for i in range(5)] == [True, True, True, False, False]
    assert text.count("<small>[mIoU; intervention]</small>") == 5


def test_other_concepts_than_classes(full: dict[str, Any]) -> None:
    full["concept_names"] = ["horizontal", "vertical"]
    full["protocol"]["concepts"] = "geometry"
    for level in full["levels"]:
        level["concept_iou"] = {s: [0.3, 0.2] for s in ("rgb", "x", "fused")}
    table = concepts(typed(full))
    assert [row[0] for row in table.rows] == ["horizontal", "vertical"]
    assert table.rows[0][2:5] == ("-", "-", "-")  # a concept that is no class has no IoU of a prediction
    assert "horizontal" in page(full)


def test_foreign_names_stay_text(full: dict[str, Any]) -> None:
    full["effects"]["robustness"]["curves"][0]["corruption"] = "<script>x</script>\x1b[31m"
    full["effects"]["trace"]["setting"]["class_names"][0] = "<img src=x>"
    full["levels"][0]["agreement"]["consistent"][0] = "<b>bold"
    text = page(full)
    assert "<script" not in text and "<img" not in text and "<b>bold" not in text
    assert "\x1b" not in terminal(full)


def test_the_card_has_one_line(full: dict[str, Any]) -> None:
    line = sentence(typed(full))
    assert line == (
        "Contribution to the mIoU (Shapley values): rgb 33.6 ±0.8, depth 23.7 ±0.8 points; interaction -4.9 ±0.8."
    )
    numbers = {f"{k}_{m}": [0.5] for k in ("rgb", "x") for m in ("mean", "std")}
    preprocess = {"x_kind": "depth", "x_scale": 1.0, **numbers}
    record = {
        "name": "a.m",
        "architecture": "a",
        "num_params": 1,
        "files": {},
        "modalities": ["rgb", "depth"],
        "classes": [],
    }
    text = card(record, {"preprocess": preprocess}, full)
    assert text.count("Contribution to the mIoU") == 1 and "| rgb alone % |" in text


def test_checkpoints_side_by_side(full: dict[str, Any], example: dict[str, Any]) -> None:
    table = contributions([typed(full), typed(example)])
    (only,) = (dict(zip(table.columns, row, strict=True)) for row in table.rows)  # the other was measured without
    assert (only["rgb"], only["depth"], only["interact."]) == ("33.6 ±0.8", "23.7 ±0.8", "-4.9 ±0.8")
    assert (only["at"], only["alike"], only["only rgb/depth"]) == ("5", "6", "3/3")
    text = comparison([full, full])
    assert "What each modality gives" in text and max(map(len, text.splitlines())) <= 100
    assert text.count(full["model"]["name"]) == 4  # no name is cut
    assert "What each modality gives" not in comparison([example, example])


# ---------------------------------------------------------------------------------------------------------- drawings


def widths(drawing: str, kind: str) -> list[float]:
    return [float(v) for v in re.findall(rf'width="([0-9.]+)" height="18" class="fill {kind}"', drawing)]


def test_signed_bars_start_at_zero() -> None:
    rows = [("up", 20.0, 1.0, "rgb"), ("down", -10.0, None, "x"), ("none", None, None, "both")]
    drawing = svg.signed("k", "t", "d", rows)
    (up,), (down,) = widths(drawing, "rgb"), widths(drawing, "x")
    assert up == pytest.approx(2 * down, abs=0.02) and not widths(drawing, "both")
    ends = re.findall(r'<line x1="([0-9.]+)" y1="[0-9.]+" x2="([0-9.]+)" y2="[0-9.]+" class="error"', drawing)
    assert len(ends) == 1 and float(ends[0][1]) - float(ends[0][0]) == pytest.approx(up / 10, abs=0.02)
    assert ">20.0 ±1.0<" in drawing and ">-10.0<" in drawing


def test_stacked_columns_add_up_and_leave_out_what_is_below_zero() -> None:
    values = {"rgb": [30.0, 50.0], "x": [-5.0, 50.0], "fused": [20.0, None]}
    parts = [svg.Series(stream, stream, v) for stream, v in values.items()]
    drawing = svg.stacked("k", "t", "d", ["1", "2"], parts)
    tall = [float(v) for v in re.findall(r'height="([0-9.]+)" class="fill', drawing)]
    assert tall == pytest.approx([45.0, 0.0, 30.0, 75.0, 75.0, 0.0])  # 150 units are 100 percent


def test_small_charts_share_their_axis() -> None:
    one = svg.Panel("one", ["0", "1"], [80.0, 40.0], [None, 5.0], "rgb")
    panels = [one, svg.Panel("two", ["0"], [None], [None], "x")]
    drawing = svg.multiples("k", "t", "d", panels)
    marks = re.findall(r'<circle cx="[0-9.]+" cy="([0-9.]+)"', drawing)
    assert float(marks[1]) - float(marks[0]) == pytest.approx(39.0)  # half of 78 units, which are 80 points
    assert drawing.count('class="error"') == 1 and ">two<" in drawing


# ---------------------------------------------------------------------------------------------------------- evolution


@pytest.fixture
def grown(full: dict[str, Any]) -> dict[str, Any]:
    """Three checkpoints: the contribution of rgb grows by far more than its error, that of depth does not change."""
    found = Dissection.from_dict(full)
    rows = []
    for i, name in enumerate(("early", "middle", "late")):
        at = Dissection.from_dict(full)
        assert at.contribution is not None and at.segmentation["both"].miou is not None
        at.contribution.shapley["rgb"].miou = 0.1 * (i + 1)
        at.segmentation["both"].miou = 0.2 * (i + 1)
        rows.append(Checkpoint(name, results=at.results))
    return Evolution(found.model, found.data, found.protocol, rows, found.stages).to_dict()


def test_evolution_as_text(grown: dict[str, Any]) -> None:
    text = evolution.text(grown)
    lines = {line.split("  ")[1]: line.split() for line in text.splitlines() if line.startswith("  ")}
    assert lines["miou"][1:] == ["20.0", "40.0", "60.0"]
    assert lines["shapley rgb"][2:] == ["10.0", "±0.8", "20.0", "±0.8", "30.0", "±0.8"]
    assert "1: early; 2: middle; 3: late" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100


def test_evolution_as_a_page(grown: dict[str, Any]) -> None:
    text = evolution.html(grown)
    reader = Reader(text)
    assert not {"script", "link", "img"} & set(reader.tags)
    said = [w for t, w in reader.words if t == "p"]
    assert "rgb gives 10.0 ±0.8 points at 1, 30.0 ±0.8 at 3." in said
    assert "depth gives 23.7 ±0.8 points at 1, 23.7 ±0.8 at 3: no change beyond the error." in said
    titles = [w for t, w in reader.words if t == "h2"]
    assert titles[:2] == ["mIoU", "Contribution (Shapley values)"]
    assert "Variance of the fused features, stage 5" in titles and "Consistent concepts" in titles


def test_steps_name_the_positions(grown: dict[str, Any]) -> None:
    for i, checkpoint in enumerate(grown["checkpoints"]):
        checkpoint["step"] = 100 * (i + 1)
    assert "100: early; 200: middle" in " ".join(evolution.text(grown).split())
