"""A run that is killed or stopped in an epoch goes on as if nothing had been; a finished one is extended."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.errors import InputError
from fusionzoo.hub.load import from_pretrained
from fusionzoo.train import Settings, finetune
from tests.train.rooms import SMALL, rooms, settings

EPOCHS = 12
"""Of 4 steps each."""


def losses(out: Path) -> list[tuple[int, float, float]]:
    """(step, loss, norm of the gradient) of every step, as written: floats to the last bit."""
    lines = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["norm"]) for line in lines]


def run_until(out: Path, step: int, sent: int, pause: float, resume: bool) -> subprocess.Popen[str]:
    """`fusionzoo finetune` in a process of its own, which gets the signal `sent` at some time after `step`."""
    code = (
        "import json, sys\n"
        "from fusionzoo.cli.finetune import stoppable\nfrom fusionzoo.train import Settings, finetune\n"
        "given = Settings.from_dict(json.loads(sys.argv[1]))\n"
        "with stoppable(sys.argv[2]) as look: finetune(given, sys.argv[2], resume=sys.argv[3] == '1', stop=look)"
    )
    given = json.dumps(json.loads((out.parent / "settings.json").read_text()))
    run = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, given, str(out), str(int(resume))],
                           stderr=subprocess.PIPE, text=True)  # fmt: skip
    log, end = out / "steps.jsonl", time.monotonic() + 120
    while run.poll() is None and time.monotonic() < end:
        if log.is_file() and log.read_text().count("\n") >= step:
            time.sleep(pause)
            os.kill(run.pid, sent)
            run.communicate(timeout=120)
            return run
        time.sleep(0.01)
    run.kill()
    raise AssertionError(run.communicate()[1])


@pytest.mark.slow
def test_killed_and_stopped_at_any_step_it_equals_an_unbroken_run(tmp_path: Path) -> None:
    """Dropout in the decoder, dropped modalities, corruptions, averaged weights: all that draws or remembers."""
    data = rooms(tmp_path / "d", n=8)
    given = settings(data, epochs=EPOCHS, val_split="", drop_modality=0.3, state_steps=3,
                     corrupt={"holes_x": 0.3, "shift_x": 2, "noise_x": 0.1})  # fmt: skip
    (tmp_path / "settings.json").write_text(json.dumps(given.to_dict()))
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finetune(given, whole)
    assert len(losses(whole)) == 4 * EPOCHS
    clock = random.Random()
    killed = run_until(cut, clock.randint(3, 9), signal.SIGKILL, clock.random() / 10, False)
    assert killed.returncode == -signal.SIGKILL
    at = torch.load(cut / "state.pt", weights_only=True)
    assert (4 * at["epoch"] + at["step"]) % 3 == 0 or at["step"] == 0
    stopped = run_until(cut, clock.randint(12, 20), signal.SIGTERM, clock.random() / 10, True)
    assert stopped.returncode not in (0, -signal.SIGTERM)
    at = torch.load(cut / "state.pt", weights_only=True)
    assert losses(cut)[-1][0] == 4 * at["epoch"] + at["step"]  # not a step was lost
    finetune(given, cut, resume=True)
    assert losses(cut) == losses(whole)
    one, two = (from_pretrained(str(p)).state_dict() for p in (whole, cut))
    assert all(torch.equal(value, two[key]) for key, value in one.items())


class Cut(Exception):
    pass


def stop_after(count: int) -> Any:
    calls: list[int] = []

    def stop() -> None:
        calls.append(0)
        if len(calls) == count + 1:  # the first call comes before the first step
            raise Cut

    return stop


@pytest.mark.parametrize("changes", [{"workers": 2}, {"accumulate": 2, "ema": 0.0}, {"amp": True}], ids=str)
def test_stopped_in_an_epoch_it_equals_an_unbroken_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    given = settings(rooms(tmp_path / "d", n=9), epochs=2, batch_size=4, drop_modality=0.5, **changes)
    finetune(given, tmp_path / "whole")
    with pytest.raises(Cut):
        finetune(given, tmp_path / "cut", stop=stop_after(1))
    assert len(losses(tmp_path / "cut")) == 1
    finetune(given, tmp_path / "cut", resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_stopped_in_validation_it_validates_again(tmp_path: Path) -> None:
    given = settings(rooms(tmp_path / "d"), epochs=2)
    finetune(given, tmp_path / "whole")
    with pytest.raises(Cut):
        finetune(given, tmp_path / "cut", stop=stop_after(3))  # two steps, then a batch of validation
    assert not (tmp_path / "cut" / "log.jsonl").exists()
    finetune(given, tmp_path / "cut", resume=True)
    logs = [[json.loads(line) | {"seconds": 0} for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
            for name in ("whole", "cut")]  # fmt: skip
    assert logs[0] == logs[1] and len(logs[0]) == 2


def test_other_images_of_the_same_names_are_refused(tmp_path: Path) -> None:
    """Recordings are numbered alike; encoders with normalisation of their own do not tell them apart."""
    data = rooms(tmp_path / "d")
    finetune(settings(data, val_split=""), tmp_path / "run")
    state = torch.load(tmp_path / "run" / "finished.pt", weights_only=True)
    counted = state["meaning"]["training pixels of each class"]
    # read once, at the largest scale of a crop: 1.2 times 32x48
    labels = [np.asarray(Image.open(tmp_path / "d" / "label" / f"{i:03d}.png").resize((58, 38), 0)) for i in range(4)]
    assert counted == np.bincount(np.stack(labels).ravel(), minlength=3).tolist()
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(tmp_path / "d" / "label" / "001.png")
    with pytest.raises(InputError, match=r"of a run with training pixels of each class = \[\d+"):
        finetune(settings(data, val_split="", epochs=2), tmp_path / "run", resume=True)
    del state["meaning"]["training pixels of each class"]  # of an older version, which did not count
    torch.save(state, tmp_path / "run" / "finished.pt")
    finetune(settings(data, val_split="", epochs=2), tmp_path / "run", resume=True, note=list[str]().append)


def test_a_finished_run_of_another_model_says_so_first(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    finetune(settings(data, val_split=""), tmp_path / "run")
    (tmp_path / "run" / ".state.pt.0a1b2c3d4e5f.tmp").write_bytes(b"cut off")
    with pytest.raises(InputError, match="architecture = 'concat_mobilenetv1-025_fpn', not 'sum_mobilenetv1-025_fpn'"):
        finetune(settings(data, model="sum_mobilenetv1-025_fpn", val_split="", **SMALL), tmp_path / "run", resume=True)
    assert not list((tmp_path / "run").glob(".state.pt.*")), "what a kill left of a write is cleared away"


def test_a_finished_run_is_extended(tmp_path: Path) -> None:
    """At a constant rate, two epochs and two more are four."""
    data = rooms(tmp_path / "d")
    options: dict[str, Any] = {"schedule": "constant", "warmup": 0, "val_split": ""}
    finetune(settings(data, epochs=4, **options), tmp_path / "whole")
    finetune(settings(data, epochs=2, **options), tmp_path / "run")
    for fewer in (1, 2):
        with pytest.raises(InputError, match="finished after 2 epochs; more --epochs extend it"):
            finetune(settings(data, epochs=fewer, **options), tmp_path / "run", resume=True)
    said: list[str] = []
    finetune(settings(data, epochs=4, **options), tmp_path / "run", resume=True, note=said.append)
    assert "goes on for 4 epochs instead of 2" in said[-1]
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    one, two = (from_pretrained(str(tmp_path / n)).state_dict() for n in ("whole", "run"))
    assert all(torch.equal(value, two[key]) for key, value in one.items())
    assert not (tmp_path / "run" / "state.pt").exists()


def test_an_extended_run_follows_the_longer_schedule(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    rates: dict[str, list[float]] = {"whole": [], "run": []}
    for name, epochs, resume in (("whole", 4, False), ("run", 2, False), ("run", 4, True)):
        if resume:
            rates[name] = []
        finetune(settings(data, epochs=epochs, val_split=""), tmp_path / name, resume=resume, note=lambda text: None,
                 step=lambda line, of=rates[name]: of.append(line["lr"][0]))  # fmt: skip
    assert rates["run"] == rates["whole"][4:]


def test_a_state_of_a_longer_run_is_refused(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    with pytest.raises(Cut):
        finetune(settings(data, epochs=4), tmp_path / "cut", progress=cut_after(3))
    with pytest.raises(InputError, match="has trained 3 epochs, more than --epochs 2"):
        finetune(settings(data, epochs=2), tmp_path / "cut", resume=True)


def cut_after(epoch: int) -> Any:
    def progress(line: dict[str, Any]) -> None:
        if line["epoch"] == epoch:
            raise Cut

    return progress


def test_rates_clipping_and_precision_may_change_and_that_is_said(tmp_path: Path) -> None:
    given = settings(rooms(tmp_path / "d"), epochs=2, val_split="", schedule="constant", warmup=0, encoder_lr=2e-3)
    with pytest.raises(Cut):
        finetune(given, tmp_path / "cut", progress=cut_after(1))
    said: list[str] = []
    rates: list[list[float]] = []
    calm = dataclasses.replace(given, lr=1e-4, encoder_lr=2e-4, clip=1.0, amp=True)
    finetune(calm, tmp_path / "cut", resume=True, note=said.append, step=lambda line: rates.append(line["lr"]))
    assert rates == [[2e-4, 1e-4]] * 2
    assert said[-1].endswith("with lr = 0.0001 instead of 0.001, with encoder_lr = 0.0002 instead of 0.002, with"
                             " clip = 1.0 instead of 5.0, with amp = True instead of False from here")  # fmt: skip
    with pytest.raises(InputError, match="is of a run with weight_decay = 0.01, not 0.5"):
        finetune(dataclasses.replace(calm, weight_decay=0.5, epochs=3), tmp_path / "cut", resume=True)


def test_a_state_of_other_groups_of_parameters(tmp_path: Path) -> None:
    given = settings(rooms(tmp_path / "d"), epochs=2, val_split="")
    with pytest.raises(Cut):
        finetune(given, tmp_path / "cut", progress=cut_after(1))
    state = torch.load(tmp_path / "cut" / "state.pt", weights_only=True)
    state["optimiser"]["param_groups"].pop()
    torch.save(state, tmp_path / "cut" / "state.pt")
    with pytest.raises(InputError, match="grouped parameters otherwise; begin anew"):
        finetune(given, tmp_path / "cut", resume=True)


def test_lines_behind_the_state_are_not_written_twice(tmp_path: Path) -> None:
    """A kill may come after a step was logged, before it is in the state; the last line may be half a line."""
    given: Settings = settings(rooms(tmp_path / "d"), epochs=3, val_split="")
    finetune(given, tmp_path / "whole")
    with pytest.raises(Cut):
        finetune(given, tmp_path / "cut", progress=cut_after(1))
    with open(tmp_path / "cut" / "steps.jsonl", "a") as log:
        log.write('{"step": 3, "epoch": 2, "loss": 9.0, "norm": 1.0, "lr": [0.1]}\n{"step": 4, "epo')
    finetune(given, tmp_path / "cut", resume=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
