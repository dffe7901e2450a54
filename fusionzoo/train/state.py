"""What a run keeps on the disk: the best checkpoint so far, and the state from which it goes on."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fusionzoo.errors import InputError
from fusionzoo.files import atomic_path, atomic_write, dump_json
from fusionzoo.hub.layout import CONFIG, README, RECORD, WEIGHTS
from fusionzoo.hub.records import read_record
from fusionzoo.hub.store import save
from fusionzoo.models import FusionModel
from fusionzoo.train.settings import Settings

__all__ = ["LOG", "SETTINGS", "STATE", "finish", "meaning", "nothing_done", "publish", "read_state", "write_state"]

SETTINGS, LOG, STATE, PART = "settings.json", "log.jsonl", "state.pt", ".next"


def nothing_done(out: Path) -> bool:
    """Whether `out` holds no more than a run leaves that ended in its first epoch: nothing is lost by beginning again.

    Hidden files (of the system, or of a write that was cut off) do not count.
    """
    names = {p.name for p in out.iterdir() if not p.name.startswith(".")} if out.exists() else set()
    return names <= {SETTINGS, STATE}


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
    """Ends a run: its state goes, the record says how long all of it took."""
    record = read_record(out)
    if record.recipe is not None:
        record = replace(record, recipe=replace(record.recipe, seconds=round(seconds, 1)))
    atomic_write(out / RECORD, dump_json(record.to_dict()))
    (out / STATE).unlink(missing_ok=True)


def meaning(settings: Settings, model: FusionModel, train: Any, val: Any) -> dict[str, Any]:
    """What two runs must have in common for one to go on with the other's state, in plain values.

    The settings, but of the names of files what they stand for: of the data its images and classes, of the model its
    config. What changes no number (cache, workers) is left out.
    """
    values = {k: v for k, v in settings.to_dict().items() if k not in Settings.free()}
    values["init"] = bool(settings.init)
    for role, data in (("training", train), ("validation", val)):
        ids = [] if data is None else [str(i) for i in data.ids]
        values[f"{role} images"] = f"{len(ids)} ({hashlib.sha256(chr(0).join(ids).encode()).hexdigest()[:12]})"
    config = model.config()
    return values | {"classes": config["class_names"], "architecture": config["architecture"],
                     "model_args": config["model_args"]}  # fmt: skip


def write_state(out: Path, state: dict[str, Any]) -> None:
    """Replaces the state in `out`, all or nothing; InputError when the disk is full."""
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


def read_state(out: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """The state in `out`; InputError where it cannot be read, or is of a run that differs from `wanted` (`meaning`)."""
    path = out / STATE
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        kept = dict(state["meaning"])
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise InputError(f"{path} cannot be read ({reason}); delete it and begin again") from error
    for key, value in wanted.items():
        if kept.get(key) != value:
            raise InputError(f"{path} is of a run with {key} = {kept.get(key)!r}, not {value!r}")
    return state
