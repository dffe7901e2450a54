from __future__ import annotations

import json
import os
import re
import shlex
import signal
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from fusionzoo.cli import main
from fusionzoo.cli.finetune import command
from fusionzoo.hub import from_pretrained, records, verify
from fusionzoo.models import TwoStream
from fusionzoo.train import Settings
from fusionzoo.train.recipe import command as recorded_command

SMALL = [
    "--data", "planted", "--epochs", "2", "--batch-size", "4", "--limit", "8", "--size", "64x64", "--base", "64x64",
    "--val-split", "val",
]  # fmt: skip


def call(*args: str) -> Result:
    return CliRunner().invoke(main, ["finetune", *args])


def test_flags_are_the_settings_with_the_same_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {"out", "resume", "device", "tensorboard", "as_json_"}
    assert {p.name for p in command.params} - own == {f.name for f in fields(Settings)}
    assert all(f.default is not MISSING or f.name in ("model", "data", *_dicts()) for f in fields(Settings))
    seen: list[Settings] = []

    def fake(settings: Settings, out: str, **options: Any) -> dict[str, Any]:
        seen.append(settings)
        return {}

    monkeypatch.setattr("fusionzoo.train.finetune", fake)
    assert call("m", "--data", "planted", "--out", "o").exit_code == 0
    assert seen == [Settings("m", "planted")]


def _dicts() -> set[str]:
    return {"auxiliary", "corrupt", "decoder_args", "distill", "fusion_args", "loss"}


def test_the_recorded_command_gives_the_same_settings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that a run writes into its record is read back by this parser to equal settings."""
    settings = Settings(
        "gate_mobilenetv1-025_fpn", "nyuv2:set", num_classes=13, init="encoder", val_split="", val_every=3, epochs=7,
        batch_size=5, seed=2, lr=0.002, encoder_lr=1e-05, weight_decay=0.1, size=(96, 128), base=(90, 120),
        scale=(0.5, 2.0), test_size=(120, 160), jitter=0.0, ema=0.0, balance=0.5,
        auxiliary={"consistency": 0.25}, drop_modality=0.1, decoder_args={"pyramid_channels": 64},
        fusion_args={"groups": 4, "mode": "soft"}, amp=True, half=True, limit=9,
    )  # fmt: skip
    seen: list[Settings] = []
    monkeypatch.setattr("fusionzoo.train.finetune", lambda settings, out, **options: seen.append(settings) or {})
    words = shlex.split(recorded_command(settings, "out"))
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, result.stderr
    assert seen == [settings]


def test_a_small_run_writes_a_checkpoint_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "run"
    result = call("sum_mobilenetv1-025_fpn", *SMALL, "--out", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    last = json.loads(result.stdout)
    assert last["epoch"] == 2 and 0 <= last["best_miou"] <= 1
    assert [line.split("  ")[0] for line in result.stderr.splitlines() if line.startswith("epoch")] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    assert verify(out).ok
    assert records.read_record(out).recipe is not None
    page = (out / "training.html").read_text(encoding="utf-8")
    assert "2 of 2 epochs" in page and f"mIoU: {100 * last['best_miou']:.1f}" in page
    assert len(list((out / "samples").iterdir())) == 4 * 3  # four images: label, two validations
    whole = from_pretrained(out).state_dict()

    # the same run, cut off in its second epoch, then resumed, ends with the same weights
    cut = tmp_path / "cut"
    calls = []

    def interrupt(line: dict[str, Any], epochs: int) -> str:
        calls.append(line)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fusionzoo.cli.finetune._line", interrupt)
        stopped = call("sum_mobilenetv1-025_fpn", *SMALL, "--out", str(cut))
    assert stopped.exit_code == 130 and len(calls) == 1
    again = call("sum_mobilenetv1-025_fpn", *SMALL, "--out", str(cut))
    assert again.exit_code == 2 and "--resume" in again.stderr
    other = call("sum_mobilenetv1-025_fpn", *SMALL, "--weight-decay", "0.5", "--out", str(cut), "--resume")
    assert other.exit_code == 2 and "weight_decay" in other.stderr
    resumed = call("sum_mobilenetv1-025_fpn", *SMALL, "--out", str(cut), "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    for key, value in from_pretrained(cut).state_dict().items():
        assert (value == whole[key]).all(), key


@pytest.mark.parametrize("lost", [False, True], ids=["raised", "lost in a finaliser"])
@pytest.mark.parametrize(
    ("sent", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped")]
)
def test_a_stopped_run_leaves_its_best_and_says_how_to_go_on(
    sent: int, status: int, word: str, lost: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def kill(line: dict[str, Any], epochs: int) -> str:
        seen.append(line["epoch"])
        try:
            os.kill(os.getpid(), sent)
            signal.sigtimedwait([], 0)  # a place where Python looks for signals
        except BaseException:
            if not lost:
                raise
        return f"epoch {line['epoch']}"

    before = signal.getsignal(sent)
    monkeypatch.setattr("fusionzoo.cli.finetune._line", kill)
    out = tmp_path / "out"
    result = call("sum_mobilenetv1-025_fpn", *SMALL, "--out", str(out))
    assert result.exit_code == status and seen == [1]
    assert result.stderr.splitlines()[-1].startswith(f"fusionzoo: error: {word}; {out} holds the best weights so far")
    assert "--resume goes on" in result.stderr and verify(out).ok
    assert signal.getsignal(sent) is before


def test_a_run_stopped_in_its_first_epoch_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionzoo.train.epoch.update_average", lambda *a: os.kill(os.getpid(), signal.SIGTERM))
    result = call("sum_mobilenetv1-025_fpn", *SMALL, "--out", str(tmp_path / "out"))
    assert result.exit_code == 143 and "before the first epoch ended" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["sum_mobilenetv1-025_fpn"], "Missing option '--data'"),
        (["sum_mobilenetv1-025_fpn", "--data", "planted", "--size", "12"], "two numbers such as 120x160"),
        (["sum_mobilenetv1-025_fpn", "--data", "planted", "--auxiliary", "x"], "KEY=VALUE"),
        (["sum_mobilenetv1-025_fpn", "--data", "plantde"], "did you mean 'planted'"),
        (["sum_mobilenetv1-025_fpn", "--data", "planted", "--epochs", "0"], "epochs (0)"),
        (["smu_mobilenetv1-025_fpn", "--data", "planted"], "smu_mobilenetv1-025_fpn"),
        (["sum_mobilenetv1-025_fpn", "--data", "planted", "--resume"], "no state.pt to resume from"),
    ],
)
def test_wrong_use(args: list[str], words: str, tmp_path: Path) -> None:
    result = call(*args, "--out", str(tmp_path / "o"))
    assert result.exit_code == 2, result.stderr
    assert words in result.stderr and result.stderr.count("\n") == 1 and result.stdout == ""


def test_what_is_said_of_a_diverged_run_is_a_command_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["sum_mobilenetv1-025_fpn", *SMALL, "--out", str(tmp_path / "out"), "--lr", "0.02", "--clip", "0", "--amp"]
    original, calls = TwoStream.losses, []

    def losses(self: TwoStream, *args: Any, **options: Any) -> Any:
        logits, auxiliary = original(self, *args, **options)
        calls.append(0)
        return (logits * float("nan") if len(calls) == 4 else logits), auxiliary

    monkeypatch.setattr(TwoStream, "losses", losses)
    diverged = call(*words)
    assert diverged.exit_code == 2
    found = re.search("the same command with (.*) goes on from there", diverged.stderr)
    assert found is not None and found[1] == "--resume --lr 0.002 --clip 5 --no-amp"
    again = call(*words, *found[1].split())
    assert again.exit_code == 0, again.stderr
    assert "goes on with lr = 0.002 instead of 0.02" in again.stderr
    rates = [json.loads(line)["lr"] for line in (tmp_path / "out" / "steps.jsonl").read_text().splitlines()]
    assert len(rates) == 4 and max(rates[1]) > 0.009 > 0.002 >= max(rates[2] + rates[3])


def test_options_that_no_decoder_takes(tmp_path: Path) -> None:
    wrong = call("sum_mobilenetv1-025_fpn", *SMALL, "--out", str(tmp_path), "--decoder-args", "pyramid_channels=0")
    assert wrong.exit_code == 2 and "pyramid_channels is a whole number from 1, not 0" in wrong.stderr
