"""`fusionzoo trace` and `fusionzoo robustness`: text, JSON, files, exit statuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fusionzoo.cli import main
from fusionzoo.dissect.effects import (
    ClassTrace,
    Curve,
    Failures,
    Rest,
    Robustness,
    Scores,
    Setting,
    Trace,
    TraceRow,
)
from fusionzoo.report import robustness_text, trace_text

SHORT = ["--limit", "2", "--quiet"]


def call(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def test_trace_writes_what_it_prints(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "trace.json"
    result = call("trace", str(checkpoint), *SHORT, "--edit", "mean", "--edit", "restore", "--out", str(out))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"{checkpoint.name} on planted, test, 2 images, 160x120"
    assert lines[1].startswith("mIoU ") and lines[-1] == f"wrote {out}"
    assert {"Ablation", "Restoration", "Classes"} <= set(lines) and max(map(len, lines[:-1])) <= 100
    found = Trace.load(out)
    assert found.edits == ["mean", "restore"] and found.setting.n == 2 and found.setting.modalities == ["rgb", "depth"]
    assert {r.stage for r in found.ranking} == {2, 3, 4, 5}
    assert result.stderr == ""


def test_trace_json_is_all_there_is(checkpoint: Path) -> None:
    result = call("trace", str(checkpoint), *SHORT, "--edit", "zero", "--points", "stage5.*_in", "--json")
    assert result.exit_code == 0, result.output
    found = Trace.from_dict(json.loads(result.stdout))
    assert {r.point for r in found.rows if r.edit == "zero"} == {"stage5.fusion.rgb_in", "stage5.fusion.x_in"}
    assert {r.edit for r in found.rows} == {"zero", "absent"}


def test_robustness_with_severities(checkpoint: Path, tmp_path: Path) -> None:
    options = ["--corruption", "noise_x=0.1,0.3", "--corruption", "missing_rgb", "--no-failures", "--seed", "3"]
    result = call("robustness", str(checkpoint), *SHORT, *options, "--json")
    assert result.exit_code == 0, result.output
    found = Robustness.from_dict(json.loads(result.stdout))
    assert [(c.corruption, c.severities) for c in found.curves] == [
        ("noise_x", [0, 0.1, 0.3]), ("missing_rgb", [0, 0.25, 0.5, 0.75, 1]),
    ]  # fmt: skip
    assert found.failures == [] and found.setting.seed == 3
    again = call("robustness", str(checkpoint), *SHORT, *options)
    assert "0.1: " in again.stdout and "Curves" in again.stdout.splitlines() and "Failures" not in again.stdout


@pytest.mark.parametrize("command", ["trace", "robustness"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "Missing argument 'NAME'"),
        (["nowhere.planted"], "unknown checkpoint 'nowhere.planted'"),
        (["{c}", "--data", "planetd"], "did you mean 'planted'"),
        (["{c}", "--limit", "0"], "0 is not in the range x>=1"),
        (["{c}", "--limit", "2", "--quiet", "--out", "/proc/none/a.json", "{few}"], "/proc/none"),
    ],
)
def test_wrong_use(command: str, args: list[str], words: str, checkpoint: Path) -> None:
    few = {"trace": "--edit=mean", "robustness": "--corruption=missing_x"}[command]
    result = call(command, *(a.format(c=checkpoint, few=few) for a in args))
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("fusionzoo: error: ") and words in line


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["trace", "{c}", "--edit", "men"], "unknown edit 'men'; did you mean 'mean'"),
        (["trace", "{c}", "--points", "stage9.rgb"], "stage"),
        (["trace", "{c}", "--edit", "concept", "--concept", "pster"], "unknown class 'pster'; did you mean 'poster'"),
        (["robustness", "{c}", "--corruption", "nois_x"], "unknown corruption 'nois_x'; did you mean 'noise_x'"),
        (["robustness", "{c}", "--corruption", "noise_x=a"], "'noise_x=a' is not NAME or NAME=A,B,... with numbers"),
        (["robustness", "{c}", "--corruption", "holes_x=2"], "severity 2 is not 0 to 1"),
    ],
)
def test_wrong_choices(args: list[str], words: str, checkpoint: Path) -> None:
    result = call(*(a.format(c=checkpoint) for a in args), *SHORT)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and words in result.stderr, result.output


def test_a_damaged_checkpoint_is_not_traced(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / checkpoint.name))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-777] ^= 8
    (copy / "model.safetensors").write_bytes(weights)
    result = call("trace", str(copy), *SHORT)
    assert result.exit_code == 1 and "sha256" in result.stderr and result.stdout == ""


@pytest.mark.parametrize("command", ["check", "trace", "robustness"])
def test_images_without_depth(command: str, tmp_path: Path) -> None:
    import numpy as np
    import torch

    from fusionzoo.models import create_model
    from tests.train.rooms import SMALL, rooms

    torch.manual_seed(0)
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=3, **SMALL)
    model.set_classes(["wall", "floor", "box"])
    model.save_pretrained(tmp_path / "ck")
    data = rooms(tmp_path / "d", val=3, depth=lambda i, mm: mm.astype(np.uint16) * (i != 5))
    args = [command, str(tmp_path / "ck"), "--data", data, "--split", "val", "--quiet", "--json"]
    args += {"trace": ["--edit", "zero"], "robustness": ["--corruption", "noise_x=0.1", "--no-failures"]}.get(
        command, []
    )
    refused = call(*args)
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1 and "--empty skip" in refused.stderr
    for way, n in (("skip", 2), ("keep", 3)):
        found = call(*args, "--empty", way)
        assert found.exit_code == 0, found.output
        values = json.loads(found.stdout)
        assert (values["dissection"]["data"] if command == "check" else values["setting"])["n"] == n
        assert "1 of 3 val images have no valid depth in any pixel (005)" in found.stderr


def test_the_text_says_what_the_result_holds() -> None:
    setting = Setting("m", "toy", "test", 9, ["wall", "a\x1b[31m"], [24, 32], ["rgb", "thermal"])
    rows = [
        TraceRow("", "rgb", None, "absent", "input", effect=0.2, effect_error=0.01),
        TraceRow("l1.x", "x", 1, "mean", "onward", effect=0.123, effect_error=0.004),
        TraceRow("l1.x", "x", 1, "restore", "onward", absent="x", effect=0.1, effect_error=0.0, share=0.51),
        TraceRow("l2.x", "x", 2, "restore", "onward", absent="x", effect=0.009, effect_error=0.0, share=5.21),
        TraceRow(
            "l1.x", "x", 1, "concept", "onward", "wall", effect=0.05, class_effect=[0.3, 0], class_effect_error=[0.1, 0]
        ),
    ]
    classes = [
        ClassTrace("wall", "both", 0.7, 0.1, 0.01, 0.4, None, "x", "l1.x", 1),
        ClassTrace("b", "", *[None] * 5, ""),
    ]
    ranking = [Rest("x", 1, "l1.x", 0.123, 0.004, 0.2, True), Rest("rgb", 1, "l1.rgb", 0.0, 0.1, 0.0, False)]
    scores = Scores(0.6, 0.02, [0.7, 0.5], [None, None])
    text = trace_text(Trace(setting, scores, {}, ["mean", "restore", "concept"], rows, ranking, [], classes, False))
    assert text.startswith("m on toy, test, 9 images, 32x24\nmIoU 60.0 ±2.0\n")
    assert "The prediction rests most on thermal at stage 1 (12.3 ±0.4)." in text
    assert (
        "do NOT all rest on it" in text
        and "51 %" in text
        and "521 %" not in text
        and "30.0 ±10.0" in text
        and "\x1b" not in text
    )
    curve = Curve("noise_x", "x", "standard deviation, metres", [0, 0.1], [0.6, 0.3], [0.0, 0.0], [0, 0.3], [0, 0.0],
                  [[0.7, 0.5]] * 2, [[0.0, 0.0]] * 2, 0.3, 0.5)  # fmt: skip
    failures = Failures(
        "EMM", {"none": 0.6, "rgb": 0.1, "x": 0.2, "both": None}, 0.15, 0.01, [0.1], [0.5], [None], "how"
    )
    text = robustness_text(Robustness(setting, scores, [curve], [failures]))
    assert "noise_x: 50 % of its mIoU" in text and "0.1: 30.0" in text and "metres" in text
    assert "15.0 ±1.0" in text and "p=0.1" in text and "EMM: how" in text
