"""finetune: train a model on a data set, validate, keep the best, resume after a kill.

One process, CPU or one GPU. `out/` holds the best checkpoint so far, loadable at any time; beside it `settings.json`,
`log.jsonl` (a line an epoch) and, until the end, `state.pt` (everything needed to go on).
"""

from __future__ import annotations

import copy
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fusionzoo.errors import CheckFailed, FusionZooWarning, InputError
from fusionzoo.files import atomic_write, dump_json
from fusionzoo.hub.layout import WEIGHTS
from fusionzoo.models import FusionModel
from fusionzoo.models.device import usable_device
from fusionzoo.train.data import training_data, validation_data
from fusionzoo.train.epoch import train_epoch
from fusionzoo.train.evaluate import evaluate
from fusionzoo.train.losses import class_weights
from fusionzoo.train.optim import parameter_groups, warmup_cosine
from fusionzoo.train.ready import ready, remarks
from fusionzoo.train.recipe import record_fields as recipe_fields
from fusionzoo.train.settings import Settings
from fusionzoo.train.start import checkpoint, encoders, fit_classes, new_model, with_statistics
from fusionzoo.train.state import LOG, SETTINGS, STATE, finish, meaning, nothing_done, publish, read_state, write_state

__all__ = ["finetune"]


def finetune(
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    record_fields: dict[str, Any] | None = None,
    device: str | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    note: Callable[[str], None] | None = None,
    stop: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Trains as `settings` say and writes the checkpoint folder `out`, anew whenever the best improves.

    Args:
        settings: see `Settings`.
        out: a new or empty folder; with `resume`, the folder of a run that was cut off, with settings of equal meaning
            (the data may have moved).
        record_fields: fields for the checkpoint's record beyond those the run knows (name, metrics, ...).
        device: "cpu", "cuda", ...; None: cuda where there is one.
        progress: called with each epoch's log line.
        note: called with each remark (what of a checkpoint was kept, x unlike what it saw, ...); None: warnings.warn.
        stop: called after every step; what it raises ends the run, which can then be resumed.

    Returns:
        The last log line: {"epoch", "loss", "miou", "best_miou", "seconds", ...}; miou is a fraction, None without
        validation.

    Raises:
        InputError: settings that do not fit the data or the model, `out` in use, a state of other settings, a loss that
            is not finite. What was kept of a run until then stays loadable, and the run can be resumed.
    """
    out, say = Path(out), note or partial(warnings.warn, category=FusionZooWarning, stacklevel=2)
    _check_folder(out, resume)
    resume = resume and not nothing_done(out)
    where = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.manual_seed(settings.seed)

    given = checkpoint(settings)
    train, val = training_data(settings, given), validation_data(settings, given)
    if given is None:
        model = new_model(settings, train)
    else:
        model, kept = fit_classes(given, train, settings.model)
        say(kept)
    train, val, found = ready(train, val, settings, say, None if given is None else model.preprocess)
    with_statistics(model, found, new=given is None)
    for remark in remarks(found, train):
        say(remark)

    model.to(where).to(memory_format=torch.channels_last)
    weight = class_weights(found.pixels, settings.balance).to(where) if settings.balance else None
    steps = max(1, len(train) // settings.batch_size)
    slow = encoders(model) if settings.init else []
    groups = parameter_groups(model, slow, lr=settings.lr, encoder_lr=settings.encoder_lr)
    optimiser = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warmup_cosine(settings.epochs * steps))
    average = copy.deepcopy(model).eval() if settings.ema else model
    parts: dict[str, Any] = {"model": model, "average": average, "optimiser": optimiser, "schedule": schedule}
    line: dict[str, Any] = {}
    epoch, best, seconds, same = 0, -1.0, 0.0, meaning(settings, model, train, val)
    if resume and (out / STATE).is_file():
        state = read_state(out, same)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        epoch, seconds, line = state["epoch"], state["seconds"], state["line"]
        best = state["best"] if (out / WEIGHTS).is_file() else -1.0
    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / SETTINGS, dump_json(settings.to_dict()))

    def keep() -> None:
        numbers = {"meaning": same, "epoch": epoch, "best": best, "seconds": seconds, "line": line}
        write_state(out, numbers | {name: part.state_dict() for name, part in parts.items()})

    keep()  # weights beside a state are of a run that has not ended, weights alone of one that has

    while epoch < settings.epochs:
        begun = time.monotonic()
        loss = train_epoch(model, average, train, settings, optimiser, schedule, weight, epoch, steps, stop)
        epoch += 1
        miou = None
        if val is not None and (epoch % settings.val_every == 0 or epoch == settings.epochs):
            miou = _validate(average, val, settings, epoch)
        seconds += time.monotonic() - begun
        if val is None or (miou is not None and miou > best):
            best = -1.0 if miou is None else miou
            fields = recipe_fields(settings, out, train, seconds) | (record_fields or {})
            publish(average, out, half=settings.half, record_fields=fields)
        line = {"epoch": epoch, "loss": round(loss, 4), "miou": miou, "best_miou": None if best < 0 else best,
                "seconds": round(seconds, 1)}  # fmt: skip
        keep()
        with open(out / LOG, "a") as log:
            log.write(json.dumps(line) + "\n")
        if progress is not None:
            progress(line)
    finish(out, seconds)
    return line


def _check_folder(out: Path, resume: bool) -> None:
    begun, lost = (out / SETTINGS).exists(), nothing_done(out)
    if resume and not (out / STATE).exists() and not (begun and lost):
        raise InputError(f"{out} holds no state.pt to resume from: the run is finished, or never began")
    if not resume and not lost:
        raise InputError(f"{out} is not empty; add --resume to continue a run that was cut off, or name a new folder")


def _validate(model: FusionModel, val: Any, settings: Settings, epoch: int) -> float:
    try:
        return evaluate(model, val, batch_size=settings.batch_size, amp=settings.amp, workers=settings.workers).miou
    except CheckFailed as error:
        raise InputError(f"after epoch {epoch}: {error}; the epoch before is kept: lower --lr or drop --amp") from error
