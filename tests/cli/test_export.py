from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fusionzoo.cli import main
from fusionzoo.export import run
from tests.export.tiny import Tiny, Whole, tiny

NAME = "concat_mobilenetv1-025_fpn"


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, args)])


def test_an_architecture_gets_random_weights_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "create_model", lambda name: tiny())
    result = call(NAME, "-o", tmp_path / "m.pt2", "--size", "32x48", "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts == json.loads((tmp_path / "m.pt2.json").read_text())
    assert facts["source"] == "random weights" and "its weights are random" in result.stderr
    assert result.stderr.startswith(f"exporting {NAME}: ")
    assert facts["shapes"] == {"batch": None, "height": 32, "width": 48, "least": 5}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.pt2", "m.pt2.json"]


def test_what_is_kept_is_said_in_the_words_of_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, of in ((Tiny, "pixels"), (Whole, "images")):
        monkeypatch.setattr(run, "create_model", lambda name, kind=kind: tiny(kind))
        result = call(NAME, "-o", tmp_path / "m.pt2", "--size", "32x48")
        assert result.exit_code == 0 and f"same class in 100.000 % of the {of}\n" in result.stdout, result.output
        assert json.loads((tmp_path / "m.pt2.json").read_text())["comparison"]["of"] == of


ONNX = "ONNX needs onnxruntime: pip install 'fusionzoo[export]'"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((NAME, "-o", "{}/m.onx"), "ends neither in .onnx nor in .pt2; did you mean {}/m.onnx?"),
        ((NAME, "-o", "{}/m"), "give model.onnx or model.pt2"),
        ((NAME, "-o", "{}/no/m.pt2"), "{}/no is no folder; make it first"),
        ((NAME, "-o", "{}/m.pt2", "--probes", "stage3.rbg"), "unknown probe 'stage3.rbg'; did you mean 'stage3.rgb'"),
        ((NAME, "-o", "{}/m.pt2", "--int8"), "int8 is for ONNX"),
        ((NAME, "-o", "{}/m.onnx", "--opset", "9"), "opset is 9; give one of 18 to 23"),
        ((NAME, "-o", "{}/m.onnx"), ONNX),
        (("concta_mobilenetv1-025_fpn.planted", "-o", "{}/m.pt2"), "did you mean 'concat_mobilenetv1-025_fpn.planted'"),
        ((NAME, "-o", "{}/m.pt2", "--limit", "3"), "--split and --limit belong to --data"),
        ((NAME, "-o", "{}/m.pt2", "--data", "plantd"), "unknown data 'plantd'; did you mean 'planted'"),
    ],
)
def test_wrong_use_is_one_line(
    args: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if said == ONNX:
        for package in ("onnx", "onnxscript"):  # the others are there, or not needed
            monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # not installed
    result = call(*(arg.format(tmp_path) for arg in args))
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and said.format(tmp_path) in result.stderr, result.stderr
    assert not list(tmp_path.iterdir())
