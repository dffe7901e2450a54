"""A run: what changes while it trains, and what of it is kept on the disk, from which it goes on."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fusionzoo.errors import InputError
from fusionzoo.files import atomic_path, atomic_write, dump_json
from fusionzoo.hub.layout import CONFIG, README, RECORD, WEIGHTS
from fusionzoo.hub.records import read_record
from fusionzoo.hub.store import save
from fusionzoo.models import FusionModel
from fusionzoo.models.presets import is_architecture
from fusionzoo.train.processes import Processes
from fusionzoo.train.settings import Settings

__all__ = ["Run", "finish", "meaning", "nothing_done", "publish", "read_state", "reopen", "resumed", "write_state"]

SETTINGS, LOG, STEPS, STATE, FINISHED, PART = (
    "settings.json", "log.jsonl", "steps.jsonl", "state.pt", "finished.pt", ".next",
)  # fmt: skip
PIXELS = "training pixels of each class"


@dataclass
class Run:
    """What changes while a model trains.

    Attributes:
        model: what is trained. average: its averaged copy, or `model` itself.
        student: `model` with what a teacher needs; wrapped: the same, as processes train it together.
        optimiser: of all parameters of `student`.
        epoch, step: whole epochs, and steps of the next one, that lie behind.
        loss: sum of the losses of those steps.
        random: torch's random numbers as they stood after that step, where an epoch was entered in its middle.
        best: highest validation mIoU, -1 before the first. seconds: training and validating. line: of the last epoch.
    """

    model: FusionModel
    average: FusionModel
    student: nn.Module
    wrapped: nn.Module
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    best: float = -1.0
    seconds: float = 0.0
    line: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] | None = None

    def state(self, processes: Processes) -> dict[str, Any]:
        """All of it, with the random numbers of every process."""
        parts = {name: getattr(self, name).state_dict() for name in ("student", "average", "optimiser")}
        numbers = {name: getattr(self, name) for name in ("epoch", "step", "loss", "best", "seconds", "line")}
        random: dict[str, Any] = {"cpu": torch.get_rng_state()}
        if processes.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state(processes.device)
        return parts | numbers | {"random": processes.gather(random)}

    def load(self, state: dict[str, Any], processes: Processes) -> None:
        """Inverse of `state`; the learning rates stay those that the optimiser has.

        Raises:
            InputError: of an optimiser with other groups of parameters.
        """
        groups, kept = self.optimiser.param_groups, state["optimiser"]["param_groups"]
        if [len(g["params"]) for g in groups] != [len(g["params"]) for g in kept]:
            raise InputError("the state is of a version of fusionzoo that grouped parameters otherwise; begin anew")
        rates = [float(group["lr"]) for group in groups]
        for name in ("student", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = group["initial_lr"] = rate
        for name in ("epoch", "step", "loss", "best", "seconds", "line"):
            setattr(self, name, state[name])
        self.random = state["random"][processes.rank] if self.step else None  # an epoch begins with its own

    def restore_random(self, processes: Processes) -> None:
        """Sets torch's random numbers to where they stood, once."""
        if self.random is not None:
            torch.set_rng_state(self.random["cpu"])
            if "cuda" in self.random:
                torch.cuda.set_rng_state(self.random["cuda"], processes.device)
            self.random = None


def publish(model: FusionModel, out: Path, *, half: bool, record_fields: dict[str, Any]) -> None:
    """Puts the checkpoint of `model` into `out`; at every moment `out` holds the old one or the new one, loadable.

    The new files are whole in a folder of their own before the first is moved. The old record goes first, so that a
    kill between two moves leaves weights without checksums rather than with those of others.

    Raises:
        InputError: what `hub.save` raises, a full disk above all; the old checkpoint is as it was.
    """
    part = out / PART
    shutil.rmtree(part, ignore_errors=True)
    try:
        save(model, part, half=half, record_fields=record_fields)
        (out / RECORD).unlink(missing_ok=True)
        for name in (WEIGHTS, CONFIG, README, RECORD):
            os.replace(part / name, out / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def finish(out: Path, seconds: float) -> None:
    """Ends a run: its state is put away as `finished.pt`, the record says how long all of it took."""
    record = read_record(out)
    if record.recipe is not None:
        record = replace(record, recipe=replace(record.recipe, seconds=round(seconds, 1)))
    atomic_write(out / RECORD, dump_json(record.to_dict()))
    os.replace(out / STATE, out / FINISHED)


def nothing_done(out: Path) -> bool:
    """Whether `out` holds no more than a run leaves that kept no step: nothing is lost by beginning again.

    Hidden files (of the system, or of a write that was cut off) do not count.
    """
    names = {p.name for p in out.iterdir() if not p.name.startswith(".")} if out.exists() else set()
    if not names <= {SETTINGS, STATE, STEPS, "tensorboard"}:
        return False
    if STATE not in names:
        return True
    state = read_state(out / STATE)
    return state["epoch"] == state["step"] == 0


def reopen(out: Path, settings: Settings, resume: bool) -> None:
    """Sees to it that `out` can take the run: nothing was done in it, or with `resume` it is of one that can go on.

    A finished run can, where `settings` ask for more epochs.

    Raises:
        InputError: anything else in the folder, with what to do instead.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; name a new folder")
    if not resume:
        if not nothing_done(out):
            raise InputError(
                f"{out} is not empty; add --resume to continue a run that was cut off, or name a new folder"
            )
        return
    for cut_off in out.glob(f".{STATE}.*.tmp") if out.is_dir() else ():  # of a write that a kill ended
        cut_off.unlink(missing_ok=True)
    if (out / STATE).exists():
        return
    if (out / FINISHED).exists():
        state = read_state(out / FINISHED)
        done, theirs = state["epoch"], state["meaning"].get("architecture")
        if settings.epochs <= done and (theirs == settings.model or not is_architecture(settings.model)):
            raise InputError(f"{out} holds a run that is finished after {done} epochs; more --epochs extend it")
    elif not (out / SETTINGS).exists() or not nothing_done(out):
        raise InputError(f"{out} holds no state.pt to resume from: the run is finished, or never began")


def meaning(
    settings: Settings, model: FusionModel, train: Any, val: Any, pixels: Sequence[int], processes: int = 1
) -> dict[str, Any]:
    """What two runs must have in common for one to go on with the other's state, in plain values.

    The settings, but of the names of files what they stand for: of the data its images, classes and labels, of the
    model its config and how it normalises its inputs. What changes no number (cache, workers) is left out, and so is
    the number of epochs.

    Args:
        pixels: labelled training pixels of each class; other images may have the same names.
    """
    values = {k: v for k, v in settings.to_dict().items() if k not in Settings.free()}
    del values["epochs"]
    values |= {"init": bool(settings.init), "teacher": bool(settings.teacher), "processes": processes}
    for role, data in (("training", train), ("validation", val)):
        ids = [] if data is None else [str(i) for i in data.ids]
        values[f"{role} images"] = f"{len(ids)} ({hashlib.sha256(chr(0).join(ids).encode()).hexdigest()[:12]})"
    values[PIXELS] = [int(n) for n in pixels]
    config = model.config()
    values |= {"scenes": config["scene_names"]} if "scene_names" in config else {}
    of = model.preprocess
    values["normalisation"] = {"x_kind": of.x_kind} | {
        key: list(getattr(of, key)) for key in ("rgb_mean", "rgb_std", "x_mean", "x_std")
    }
    return values | {"classes": config["class_names"], "architecture": config["architecture"],
                     "model_args": config["model_args"]}  # fmt: skip


def write_state(out: Path, state: dict[str, Any]) -> None:
    """Replaces the state in `out`, all or nothing; InputError when the disk is full. A finished run is open again."""
    path = out / STATE
    with atomic_path(path) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:  # torch's writer does not say why
            free = shutil.disk_usage(out).free >> 20
            raise InputError(
                f"cannot write {path} ({free} MiB free); what was there before is whole: make room and go on with"
                " the same command and --resume"
            ) from error
    (out / FINISHED).unlink(missing_ok=True)


def read_state(path: Path) -> dict[str, Any]:
    """The state in a file; InputError where it cannot be read."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        dict(state["meaning"]), int(state["epoch"]), int(state["epochs"])
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise InputError(f"{path} cannot be read ({reason}); delete it and begin again") from error
    return state


def resumed(run: Run, out: Path, wanted: dict[str, Any], settings: Settings, processes: Processes) -> str:
    """Sets `run` to the state in `out`, if there is one: that of a run that was cut off, or of a finished one.

    Returns:
        What a person should know of it, or "".

    Raises:
        InputError: it cannot be read, is of a run that differs from `wanted` (`meaning`), or of more epochs.
    """
    path = out / STATE if (out / STATE).is_file() else out / FINISHED
    if not path.is_file():
        return ""
    state = read_state(path)
    kept = {**{key: wanted[key] for key in ("normalisation", PIXELS)}, **state["meaning"]}  # older states lack them
    other = {key: value for key, value in wanted.items() if kept.get(key) != value}
    for key, value in other.items():
        if key not in Settings.adjustable():
            raise InputError(f"{path} is of a run with {key} = {kept.get(key)!r}, not {value!r}; go on with that, or"
                             " begin anew in another folder")  # fmt: skip
    if settings.epochs < state["epoch"]:
        raise InputError(f"{out} has trained {state['epoch']} epochs, more than --epochs {settings.epochs}")
    run.load(state, processes)
    if not (out / WEIGHTS).is_file():
        run.best = -1.0
    before, now = state["epochs"], settings.epochs
    said = [f"with {key} = {value} instead of {kept.get(key)}" for key, value in other.items()]
    if before != now:
        said.append(f"for {now} epochs instead of {before}, at the rates of {now}")
    return f"{out} goes on {', '.join(said)} from here" if said else ""
