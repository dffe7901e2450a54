from __future__ import annotations

import dataclasses
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fusionzoo.cli import main
from fusionzoo.cli.check import _folders
from fusionzoo.dissect.results import JUDGED_FROM, Dissection, Evolution
from fusionzoo.hub import from_pretrained
from fusionzoo.hub.records import bundled_folder

LIMIT = ["--limit", "8", "--quiet"]


def call(*args: str) -> Result:
    return CliRunner().invoke(main, ["check", *args])


@pytest.fixture(scope="module")
def run(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """One check of the random model on as many planted scenes as are judged, with its report folder."""
    out = tmp_path_factory.mktemp("out") / "report"
    return call(str(checkpoint), "--limit", str(JUDGED_FROM), "--quiet", "--out", str(out)), out


def test_the_text_has_the_answer_first(run: tuple[Result, Path], checkpoint: Path) -> None:
    result, out = run
    lines = result.stdout.splitlines()
    assert lines[0] == f"{checkpoint.name} on planted, test, {JUDGED_FROM} images, 160x120"
    assert lines[1].startswith(("OK: ", "FAILED: ")) and "file checks passed" in lines[1]
    assert max(map(len, lines[: lines.index(f"wrote {out / 'report.json'} and {out / 'report.html'}")])) <= 100
    for title in ("Segmentation", "Stages", "What each modality tells of the concepts", "Concepts", "Planted truth",
                  "Probe points"):  # fmt: skip
        assert title in lines
    values = json.loads((out / "report.json").read_text(encoding="utf-8"))["findings"]
    hidden = [f for f in values if f["level"] == "info" and not f["first"]]
    assert f"    {len(hidden)} more findings: --findings all" in lines
    assert {f["evidence"] for f in values} == {"", "intervention", "concepts", "distribution"}
    assert result.stderr == ""


def test_random_weights_do_not_pass(run: tuple[Result, Path]) -> None:
    """An untrained model cannot show the planted truth: status 1, and both files say so."""
    result, out = run
    assert result.exit_code == 1
    values = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert values["ok"] is False and all(c["ok"] for c in values["verification"])
    assert any(f["level"] == "fail" for f in values["findings"])
    dissection = Dissection.from_dict(values["dissection"])
    assert dissection.data.n == JUDGED_FROM and [at.stage for at in dissection.stages] == [2, 3, 4, 5]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert ">FAILED</b>" in page and page.count("<svg") == 9 and "<script" not in page
    assert page.count('class="panels"') == len(dissection.images) > 0 and len(page.encode()) < 3_000_000
    assert page.count("<img") > 9 * len(dissection.images) + 2, "and what is inside the streams"
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "report.json"]


def test_json_is_all_there_is_on_stdout(checkpoint: Path) -> None:
    result = call(str(checkpoint), *LIMIT, "--json")
    values = json.loads(result.stdout)
    assert values["checkpoint"]["name"] == checkpoint.name
    assert result.exit_code == 0 and values["ok"] is True  # 8 images are too few for the planted truth
    assert any("cannot be judged on 8 images" in f["text"] for f in values["findings"])


@pytest.mark.slow
def test_effects_are_found_said_and_stored(checkpoint: Path) -> None:
    result = call(str(checkpoint), "--limit", "4", "--quiet", "--trace", "--robustness", "--json")
    values = json.loads(result.stdout)
    dissection = Dissection.from_dict(values["dissection"])
    assert dissection.effects is not None and dissection.effects.trace is not None
    assert {r.stage for r in dissection.effects.trace.ranking} == {2, 3, 4, 5}
    assert dissection.effects.robustness is not None and len(dissection.effects.robustness.curves) == 9
    assert dissection.effects.trace.clean.miou == dissection.segmentation["both"].miou
    assert any(f["text"].startswith("robustness: ") for f in values["findings"])


def test_several_names_are_compared(checkpoint: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(checkpoint, tmp_path / "copy" / checkpoint.name))
    saved = tmp_path / "pictures"
    out = ["--out", str(tmp_path / "out"), "--save-pictures", str(saved)]
    result = call(str(checkpoint), str(other), "--limit", "8", *out)
    assert result.exit_code == 0 and result.stdout.count("planted truth not judged on 8 images (16 are needed)") == 2
    tail = result.stdout[result.stdout.index("Comparison") :]
    assert tail.count(f"  {checkpoint.name}") == 4  # in two tables
    made = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("report.html"))
    assert made == [f"{checkpoint.name}-2/report.html", f"{checkpoint.name}/report.html"]
    assert result.stderr != "", "progress goes to stderr"
    names = {p.name for p in (saved / checkpoint.name).iterdir()}
    images = sorted(name for name in names if not name.endswith(".png"))
    assert images and names == {*images, *(f"{image}.png" for image in images)}
    assert f"wrote the pictures of {len(images)} images to {saved / checkpoint.name}" in result.stdout
    held = {p.name for p in (saved / checkpoint.name / images[0]).iterdir()}
    stages = {name for name in held if name.startswith("stage")}
    inside = {name for name in held if name.startswith(("stage", "concept_"))}
    assert {f"stage2_{part}.png" for part in ("rgb", "x", "fused")} < stages < inside
    assert held - inside == {
        f"{part}.png"
        for part in ("rgb", "x", "label", "errors", "predicted_both", "predicted_without_x", "predicted_without_rgb",
                     "modality_map_predicted", "modality_map_true")
    }  # fmt: skip
    page = (tmp_path / "out" / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2 + 9 * len(images) and len(page) < 3_000_000
    assert page.count(f"<b>{checkpoint.name}</b>") == page.count(f"<b>{checkpoint.name}-2</b>") == len(images)
    assert "the first, has right" in page and "Of other images" not in page


def test_several_names_are_compared_on_one_set_of_images(tmp_path: Path) -> None:
    """That of the first, so a checkpoint of other scenes is refused and not set beside it."""
    gate = "gate_mobilenetv1-025_fpn"
    result = call(f"{gate}.planted", f"{gate}.planted-2", "--limit", "2", "--quiet", "--json")
    assert result.exit_code == 2 and result.stdout == ""
    assert "18 classes and planted 12" in result.stderr and "trained on planted-2" in result.stderr
    shutil.copytree(bundled_folder(f"{gate}.planted"), tmp_path / "damaged")
    with (tmp_path / "damaged" / "model.safetensors").open("r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"\x7f")
    after = call(str(tmp_path / "damaged"), f"{gate}.planted", f"{gate}.planted-2", "--limit", "2", "--quiet", "--json")
    assert after.exit_code == 2 and "18 classes and planted 12" in after.stderr


def test_folders_are_unique() -> None:
    found = _folders("o", ("hf-hub:a/x", "hf-hub:b/x", "runs/x/", "y"))
    assert found == [Path("o/x"), Path("o/x-2"), Path("o/x-3"), Path("o/y")]
    assert _folders(None, ("a", "b")) == [None, None] and _folders("o", ("a",)) == [Path("o")]


def test_a_flipped_byte_fails_and_is_reported(checkpoint: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / checkpoint.name))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-777] ^= 8
    (copy / "model.safetensors").write_bytes(weights)
    result = call(str(copy), *LIMIT, "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == checkpoint.name and lines[1].startswith("FAILED: 1 of ") and "sha256" in lines[1]
    assert "Segmentation" not in lines
    assert json.loads((tmp_path / "out" / "report.json").read_text())["dissection"] is None
    assert "sha256" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "Missing argument 'NAME...'"),
        (["{c}", "--data", "planetd"], "did you mean 'planted'"),
        (["{c}", "--data", "nyuv2:/nowhere"], "/nowhere does not exist"),
        (["{c}", "--split", "tets"], "test"),
        (["{c}", "--limit", "0"], "0 is not in the range x>=1"),
        (["nowhere.planted"], "unknown checkpoint 'nowhere.planted'"),
        (["{c}", "--out", "/proc/none"], "/proc/none"),
    ],
)
def test_wrong_use(args: list[str], words: str, checkpoint: Path) -> None:
    result = call(*(a.format(c=checkpoint) for a in args))
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("fusionzoo: error: ") and words in line


def test_labels_of_other_classes_are_refused(checkpoint: Path, shared: Path) -> None:
    result = call(str(checkpoint), "--data", f"nyuv2:{shared / 'data' / 'nyuv2'}", "--limit", "4")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1 and "classes" in result.stderr


def test_findings_show_their_level(example_findings: list[Any]) -> None:
    from fusionzoo.report.verdict import said

    assert [row[:2] for row in said(["a", *example_findings])] == [("info", "a"), ("warn", "b"), ("fail", "c")]


@pytest.fixture
def example_findings() -> list[Any]:
    from fusionzoo._check import Finding

    return [{"level": "warn", "text": "b"}, Finding("fail", "c")]


@pytest.mark.slow
def test_only_what_is_asked_for_is_run(checkpoint: Path) -> None:
    values = json.loads(call(str(checkpoint), "--limit", "4", "--quiet", "--robustness", "--json").stdout)
    effects = Dissection.from_dict(values["dissection"]).effects
    assert effects is not None and effects.trace is None and effects.robustness is not None


def test_effects_are_off_and_the_text_says_how_to_get_them(run: tuple[Result, Path], checkpoint: Path) -> None:
    result, out = run
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["dissection"]["effects"] is None
    assert (
        f"More: fusionzoo check {checkpoint} --limit {JUDGED_FROM} --trace --robustness" in result.stdout.splitlines()
    )
    assert "Contribution" in result.stdout.splitlines()


def test_the_proposed_command_finds_checkpoint_and_data(checkpoint: Path, tmp_path: Path) -> None:
    """It is for a shell: blanks are quoted; and it is about the same images."""
    copy = shutil.copytree(checkpoint, tmp_path / "my runs" / "it's one")
    (line,) = (
        line for line in call(str(copy), *LIMIT, "--split", "val", "--robustness").stdout.splitlines() if "More" in line
    )
    words = shlex.split(line.removeprefix("More: "))
    assert words == ["fusionzoo", "check", str(copy), "--split", "val", "--limit", "8", "--trace"]


def test_one_warning_for_data_unlike_the_training_data(checkpoint: Path, tmp_path: Path) -> None:
    """Weights that saw depth of 40 m, on rooms: one line on stderr, and the report keeps it; of each command."""
    model = from_pretrained(checkpoint)
    model.preprocess = dataclasses.replace(model.preprocess, x_quantiles=(30, 35, 40, 45, 50), x_missing=(0.0, 0.1))
    model.save_pretrained(tmp_path / "far")
    result = call(str(tmp_path / "far"), "--limit", "3", "--quiet", "--size", "32x48", "--device", "cpu", "--json")
    (line,) = result.stderr.splitlines()
    assert line.startswith("fusionzoo: warning: planted: of 3 images looked at, 3 are unlike") and "30 to 50" in line
    findings = json.loads(result.stdout)["findings"]
    assert [f["level"] for f in findings if "unlike the training data" in f["text"]] == ["warn"]
    edit = ["--limit", "2", "--quiet", "--size", "32x48", "--edit", "mean", "--points", "stage5.*_in"]
    result = CliRunner().invoke(main, ["trace", str(tmp_path / "far"), *edit])
    assert result.exit_code == 0 and "unlike the training data" in result.stderr and "48x32" in result.stdout


def test_evolution_over_checkpoints(checkpoint: Path, tmp_path: Path) -> None:
    later = Path(shutil.copytree(checkpoint, tmp_path / "later"))
    out = tmp_path / "out"
    more = ["--evolution", "--no-pictures", "--out", str(out)]
    result = call(str(checkpoint), str(later), "--limit", "8", "--quiet", *more)
    made = Evolution.load(out / "evolution.json")
    assert [c.name for c in made.checkpoints] == [checkpoint.name, "later"]
    curve = [m.value for m in made.curves()["miou"]]
    first, second = (
        Dissection.from_dict(json.loads((out / name / "report.json").read_text(encoding="utf-8"))["dissection"])
        for name in (checkpoint.name, "later")
    )
    assert curve == [first.segmentation["both"].miou, second.segmentation["both"].miou]
    assert "Over the training" in result.stdout.splitlines()
    assert (out / "evolution.html").read_text(encoding="utf-8").count("<svg") > 5
    assert "<img" not in (out / "later" / "report.html").read_text(encoding="utf-8")
    nothing = call(str(checkpoint), "--no-pictures", "--save-pictures", str(out))
    assert nothing.exit_code == 2 and "--no-pictures leaves nothing for --save-pictures" in nothing.stderr


def test_absence_and_state(tmp_path: Path) -> None:
    """Another policy changes the numbers and the words; the sums that a run saved are those of that run alone."""
    name = "concat_mobilenetv1-025_fpn.planted"
    run_check = lambda *more: call(*more, *LIMIT)  # noqa: E731
    mean = json.loads(run_check(name, "--json").stdout)["dissection"]
    state = tmp_path / "sums"
    result = run_check(name, "--absence", "permute", "--state", str(state), "--json")
    other = json.loads(result.stdout)["dissection"]
    assert other["protocol"]["absence"] == "permute"
    assert other["results"]["segmentation"]["both"]["iou"] == mean["results"]["segmentation"]["both"]["iou"]
    assert other["results"]["segmentation"]["without_x"] != mean["results"]["segmentation"]["without_x"]
    assert any("replaced by that of another image" in f["text"] for f in json.loads(result.stdout)["findings"])
    for args, words in [
        ((name, name, "--state", str(state)), "--state belongs to one checkpoint"),
        ((name, "--absence", "means"), "did you mean 'mean'"),
    ]:
        result = run_check(*args)
        assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1, result.stderr
