"""Result types of interventions and corruptions: strict JSON; and what the findings say of them."""

from __future__ import annotations

import json
import re

import pytest

from fusionzoo.dissect.effects import (
    ClassTrace,
    Curve,
    Effects,
    Failures,
    Rest,
    Robustness,
    Scores,
    Setting,
    Trace,
    TraceRow,
)
from fusionzoo.dissect.findings import effect_findings
from fusionzoo.dissect.results import Dissection
from fusionzoo.errors import InputError
from tests.dissect.test_results import example

SETTING = Setting("m", "toy", "test", 9, ["wall", "paint", "dent"], [24, 32], ["rgb", "depth"])
CLEAN = Scores(0.6, 0.02, [0.7, 0.5, None], [0.1, None, None])


def traced(found: bool | None = True) -> Trace:
    rows = [
        TraceRow("l1.x", "x", 1, "mean", "onward", "", "", 0.4, 0.2, 0.01, 0.33, [0.1, 0.0, None], [0.01, 0.0, None])
    ]
    ranking = [
        Rest("x", 4, "l4.x", 0.2, 0.01, 0.3, True),
        Rest("rgb", 3, "l3.rgb", 0.05, 0.001, 0.1, True),
        Rest("rgb", 4, "l4.rgb", 0.04, 0.03, 0.1, False),
    ]
    restored = [Rest("rgb", 3, "l3.rgb", 0.25, 0.01, 0.8, True), Rest("x", 4, "l4.x", 0.2, 0.01, 0.66, True)]
    classes = [
        ClassTrace("wall", "both", 0.7, 0.1, 0.01, 0.1, 0.01, "both"),
        ClassTrace("paint", "rgb", 0.5, 0.5, 0.01, 0.0, 0.01, "rgb", "l3.rgb", 3),
        ClassTrace("dent", "x", 0.8, 0.4, 0.01, 0.0, 0.01, "x" if found else "rgb", "l4.x", 4),
    ]
    return Trace(SETTING, CLEAN, {"rgb": CLEAN}, ["mean", "restore"], rows, ranking, restored, classes, found)


def curves() -> Robustness:
    def curve(name: str, unit: str, miou: list[float | None], kept: float) -> Curve:
        n = len(miou)
        nothing: list[float | None] = [None] * n
        rows: list[list[float | None]] = [[None] * 3] * n
        return Curve(
            name, "x", unit, [float(i) for i in range(n)], miou, nothing, nothing, nothing, rows, rows, 0.3, kept
        )

    failures = Failures("EMM", {"none": 0.6, "rgb": 0.1}, 0.15, 0.01, [0.1, 0.2], [0.5, 0.4], [0.01, None], "how")
    found = [
        curve("missing_x", "probability", [0.6, 0.2], 0.4),
        curve("noise_x", "metres", [0.6, 0.5, 0.3, 0.1], 0.6),
        curve("low_light", "stops", [0.6, None, 0.31], 0.7),
    ]
    return Robustness(SETTING, CLEAN, found, [failures])


def test_round_trip_through_text_and_files(tmp_path) -> None:
    whole = Effects(traced(), curves())
    assert Effects.from_dict(json.loads(json.dumps(whole.to_dict(), allow_nan=False))) == whole
    assert Effects.from_dict(Effects().to_dict()) == Effects()
    for one in (whole, whole.trace, whole.robustness):
        one.save(tmp_path / "a.json")
        assert type(one).load(tmp_path / "a.json") == one
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_trace_of_the_first_format_loads() -> None:
    """There a stage was a level; robustness is as it was. Inside of effects and of a dissection too."""
    whole = Effects(traced(), curves())
    old = json.loads(re.sub(r'"stage":', '"level":', json.dumps(whole.to_dict())))
    old["trace"]["format_version"] = 1
    assert Trace.from_dict(old["trace"]) == whole.trace and Effects.from_dict(old) == whole
    kept = example()
    kept.effects = whole
    assert Dissection.from_dict(kept.to_dict() | {"effects": old}) == kept
    with pytest.raises(InputError, match=r"rows\[0\]: unknown field 'level'"):
        Trace.from_dict(old["trace"] | {"format_version": 2})
    for broken in ({"rows": [3]}, {"rows": None}, {"classes": [{"level": 1}]}):
        with pytest.raises(InputError, match="^trace: "):
            Trace.from_dict(old["trace"] | broken)
    with pytest.raises(InputError, match="effects: trace: format_version is 3, this fusionzoo reads 1 and 2"):
        Effects.from_dict(old | {"trace": old["trace"] | {"format_version": 3}})


def test_what_is_not_of_the_schema_is_named() -> None:
    values = Effects(traced(), curves()).to_dict()
    values["trace"]["rows"][0]["efect"] = values["trace"]["rows"][0].pop("effect")
    with pytest.raises(InputError, match=r"effects: trace: rows\[0\]: unknown field 'efect'; did you mean 'effect"):
        Effects.from_dict(values)
    with pytest.raises(InputError, match="trace: format_version is 7"):
        Trace.from_dict({"format_version": 7})
    values = curves().to_dict()
    values["curves"][1]["miou"][0] = "high"
    with pytest.raises(InputError, match=r"robustness: curves\[1\]: miou\[0\] is 'high', wanted float"):
        Robustness.from_dict(values)
    one = curves()
    one.curves[1].miou[0] = float("nan")
    assert Robustness.from_dict(one.to_dict()).curves[1].miou[0] is None


def test_signal_needs_three_errors() -> None:
    row = traced().rows[0]
    assert row.signal
    for effect, error, signal in ((0.03, 0.01, False), (-0.031, 0.01, True), (0.0, 0.0, False), (0.1, None, False)):
        row.effect, row.effect_error = effect, error
        assert row.signal is signal


def test_the_findings_say_it() -> None:
    said = [(f.level, f.text) for f in effect_findings(Effects(traced(), curves()), "depth")]
    assert said == [
        ("info", "Where: the prediction rests most on depth at stage 4 (20.0 +- 1.0) and rgb at stage 3"
                 " (5.0 +- 0.1): points of mIoU lost when ablated."),
        ("info", "causal tracing: without rgb, its clean feature brings most back at stage 3 (80 %) of the loss"),
        ("info", "causal tracing: without depth, its clean feature brings most back at stage 4 (66 %) of the loss"),
        ("info", "causal tracing: 'paint' rests more on rgb; 'dent' rests more on depth"),
        ("info", "causal tracing against the planted truth: every recognised class that one modality alone shows rests"
                 " on it"),
        ("info", "robustness: it keeps least under missing_x: 40 % of its mIoU, averaged over the severities"),
        ("info", "robustness: half of its mIoU is lost from noise_x of 2 (metres) on"),
        ("info", "robustness: expected mIoU 40.0 instead of 60.0 when rgb and depth each fail with probability 0.2"),
    ]  # fmt: skip
    last = effect_findings(Effects(traced(False)), "depth")[-1]
    assert last.level == "warn" and last.text.endswith("'dent' show in one modality but do not rest on it")
    empty = Effects(Trace(SETTING, CLEAN), Robustness(SETTING, CLEAN))
    assert effect_findings(empty) == [] and effect_findings(None) == []
