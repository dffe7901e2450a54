"""A run that is stopped, killed, or meets a full disk; what is left of it, and how it goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.hub import verify
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import FusionModel
from fusionzoo.train import finetune, keep
from tests.train.rooms import MODEL, rooms, settings

FLAGS = ["--size", "32x32", "--base", "32x48", "--batch-size", "2", "--decoder-args", "pyramid_channels=16"]


class Cut(Exception):
    pass


def cut_after(epoch: int) -> Any:
    def progress(line: dict[str, Any]) -> None:
        if line["epoch"] == epoch:
            raise Cut

    return progress


def same_weights(one: Path, two: Path) -> bool:
    a, b = (from_pretrained(str(p)).state_dict() for p in (one, two))
    return all(torch.equal(v, b[k]) for k, v in a.items())


def begin(tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    """A long run in a process of its own, past its second epoch."""
    data = rooms(tmp_path / "d")
    args = ["finetune", MODEL, "--data", data, "--out", str(tmp_path / "out"), "--epochs", "5000", *FLAGS, *more]
    args = [sys.executable, "-c", "from fusionzoo.cli import main; main()", *args]
    run = subprocess.Popen(args, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    log, end = tmp_path / "out" / "log.jsonl", time.monotonic() + 120
    while run.poll() is None and time.monotonic() < end:
        if log.is_file() and log.read_text().count("\n") >= 2:
            return run
        time.sleep(0.05)
    run.kill()
    raise AssertionError(run.communicate()[1])


def test_a_killed_run_leaves_its_best_and_resumes(tmp_path: Path) -> None:
    run = begin(tmp_path)
    time.sleep(0.3)
    run.kill()
    run.communicate()
    from_pretrained(str(tmp_path / "out"))
    epoch = torch.load(tmp_path / "out" / "state.pt", weights_only=True)["epoch"]
    kept = json.loads((tmp_path / "out" / "settings.json").read_text())
    lines: list[dict[str, Any]] = []

    def stop(line: dict[str, Any]) -> None:
        lines.append(line)
        raise Cut

    from fusionzoo.train import Settings

    with pytest.raises(Cut):
        finetune(Settings.from_dict(kept), tmp_path / "out", resume=True, progress=stop)
    assert lines[0]["epoch"] == epoch + 1


def test_the_folder_holds_the_best_after_every_epoch_and_only_then_changes(tmp_path: Path) -> None:
    data, out = rooms(tmp_path / "d"), tmp_path / "out"
    stamps: list[tuple[float | None, str]] = []

    def look(line: dict[str, Any]) -> None:
        assert verify(out).ok
        stamps.append(
            (line["best_miou"], json.loads((out / "record.json").read_text())["files"]["model.safetensors"]["sha256"])
        )

    finetune(settings(data, epochs=4, lr=3e-3), out, progress=look)
    for (one, a), (two, b) in zip(stamps, stamps[1:], strict=False):
        assert (one == two) == (a == b)
    assert {p.name for p in out.iterdir()} == {
        "README.md", "config.json", "finished.pt", "log.jsonl", "model.safetensors", "record.json", "settings.json",
        "steps.jsonl",
    }  # fmt: skip


def test_moved_and_renamed_data_resumes_and_other_images_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rooms(tmp_path / "d")
    finetune(settings(data, epochs=3), tmp_path / "whole")
    with pytest.raises(Cut):
        finetune(settings(data, epochs=3), tmp_path / "cut", progress=cut_after(1))
    other = rooms(tmp_path / "e", n=5)
    with pytest.raises(InputError, match="training images"):
        finetune(settings(other, epochs=3), tmp_path / "cut", resume=True)
    shutil.move(tmp_path / "d", tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    finetune(settings("folder:./moved/", epochs=3, workers=0, cache=False), Path("cut"), resume=True)
    assert same_weights(tmp_path / "whole", tmp_path / "cut")


def test_a_run_cut_before_its_first_epoch_begins_again(tmp_path: Path) -> None:
    data, out = rooms(tmp_path / "d"), tmp_path / "out"
    out.mkdir()
    (out / "settings.json").write_text("{}")
    finetune(settings(data), out, resume=True)
    assert verify(out).ok
    with pytest.raises(InputError, match="finished after 1 epochs; more --epochs extend it"):
        finetune(settings(data), out, resume=True)


def test_a_loss_that_is_not_finite_keeps_the_last_epoch_and_names_step_and_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = rooms(tmp_path / "d"), tmp_path / "out"
    original, calls = FusionModel.losses, []

    def losses(self: FusionModel, *args: Any, **options: Any) -> Any:
        logits, auxiliary = original(self, *args, **options)
        calls.append(0)
        return (logits * float("nan") if len(calls) == 4 else logits), auxiliary

    monkeypatch.setattr("fusionzoo.models.TwoStream.losses", losses)
    with pytest.raises(InputError, match=r"loss is nan .* in epoch 2, step 2 \(images 00\d, 00\d\)"):
        finetune(settings(data, epochs=3), out)
    assert verify(out).ok
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["epoch"] == 1 and all(bool(v.isfinite().all()) for v in state["student"].values())
    finetune(settings(data, epochs=3), out, resume=True)
    assert verify(out).ok


def test_a_rate_that_destroys_the_model_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="in epoch 1, step 2.*the same command with --resume --lr 1e\\+29 goes on"):
        finetune(settings(rooms(tmp_path / "d"), epochs=3, lr=1e30), tmp_path / "out")


def test_a_full_disk_loses_nothing_that_was_finished(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the second epoch's files can no longer be written."""
    data, out = rooms(tmp_path / "d"), tmp_path / "out"
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(line: dict[str, Any]) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))

    try:
        with pytest.raises(InputError, match="cannot write .*before is whole"):
            finetune(settings(data, epochs=2, val_split=""), out, progress=fill)
        assert not [p.name for p in out.iterdir() if p.name.startswith(".")]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert verify(out).ok
    assert finetune(settings(data, epochs=2, val_split=""), out, resume=True)["epoch"] == 2


def test_a_state_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states, write = [], torch.save

    def save(*args: Any, **options: Any) -> None:
        states.append(args)
        if len(states) > 1:  # that of the first whole epoch; its weights are written before it
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
        write(*args, **options)

    monkeypatch.setattr("torch.save", save)
    with pytest.raises(InputError, match="MiB free.*--resume"):
        finetune(settings(rooms(tmp_path / "d")), tmp_path / "out")
    assert verify(tmp_path / "out").ok


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises((InputError, PermissionError)):
        finetune(settings(rooms(tmp_path / "d")), tmp_path / "locked" / "out")


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99"])
def test_devices_that_are_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"device '{name}'"):
        finetune(settings(rooms(tmp_path / "d")), tmp_path / "out", device=name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [({"val_split": "valid"}, "did you mean 'val'.*'' trains without validation"),
     ({"train_split": "trian"}, "did you mean 'train'"), ({"empty": "drop"}, "refuse, skip, keep"),
     ({"workers": -1}, "workers"), ({"seed": 1 << 32}, "seed"), ({"epochs": 0}, "epochs"), ({"size": (0, 8)}, "size"),
     ({"fusion_args": {"nothing": 1}}, "nothing"), ({"auxiliary": {"consistency": "x"}}, "consistency=x is no factor"),
     ({"auxiliary": {"consistency": -1}}, "consistency=-1")],
)  # fmt: skip
def test_refusals(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    data = rooms(tmp_path / "d")
    with pytest.raises((InputError, UnknownNameError), match=said):
        finetune(settings(data, **change), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [{"ohem": 0.3}, {"label_smoothing": 0.1}, {"balance": 0.5}])
def test_what_acts_on_cross_entropy_alone(change: dict[str, Any]) -> None:
    for loss in ({"dice": 1.0}, {"dice": 1.0, "cross_entropy": 0.0}):
        with pytest.raises(InputError, match=f"{next(iter(change))} .* acts on cross-entropy.*add cross_entropy=1"):
            settings("planted", loss=loss, **change)
    assert settings("planted", loss={"dice": 1.0, "cross_entropy": 0.1}, **change).loss["dice"] == 1


def test_a_folder_without_splits(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    toml = tmp_path / "d" / "dataset.toml"
    toml.write_text(toml.read_text().partition("[splits]")[0])
    way = r"unknown split 'train'; known: all .*; --train-split all --val-split '' trains on all"
    with pytest.raises(InputError, match=way):
        finetune(settings(data), tmp_path / "out")
    assert finetune(settings(data, train_split="all", val_split=""), tmp_path / "out")["epoch"] == 1


@pytest.mark.parametrize("change", [{"batch_size": 64}, {"size": (90, 130)}, {"val_every": 5}])
def test_unusual_but_right(tmp_path: Path, change: dict[str, Any]) -> None:
    """A batch larger than the data, a crop larger than the image, one validation at the end."""
    last = finetune(settings(rooms(tmp_path / "d"), epochs=2, **change), tmp_path / "out")
    assert last["best_miou"] is not None and verify(tmp_path / "out").ok


def test_weights_of_a_run_that_has_not_ended_lie_beside_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the first best checkpoint and the first whole epoch's state must not look like a finished run."""
    data, out = rooms(tmp_path / "d"), tmp_path / "out"
    calls: list[int] = []
    original = keep.write_state

    def write(*args: Any) -> None:
        if (out / "model.safetensors").is_file() and not calls:
            calls.append(0)
            raise Cut
        original(*args)

    monkeypatch.setattr(keep, "write_state", write)
    with pytest.raises(Cut):
        finetune(settings(data, epochs=2), out)
    assert verify(out).ok and (out / "state.pt").is_file()
    finetune(settings(data, epochs=2), out, resume=True)
    finetune(settings(data, epochs=2), tmp_path / "whole")
    assert same_weights(out, tmp_path / "whole")


def test_a_batch_of_one_that_a_model_cannot_train_on_is_named(tmp_path: Path) -> None:
    """At 32 x 32 the last stage is one pixel: a batch norm sees one value per channel."""
    with pytest.raises(InputError, match="batch"):
        finetune(settings(rooms(tmp_path / "d"), batch_size=1), tmp_path / "out")


def test_a_factor_for_a_loss_that_the_model_lacks(tmp_path: Path) -> None:
    run = settings(rooms(tmp_path / "d"), model="hybrid_mobilenetv1-025_fpn", auxiliary={"consistancy": 0.1})
    with pytest.raises(UnknownNameError, match="'consistancy'; did you mean 'consistency'"):
        finetune(run, tmp_path / "out")
