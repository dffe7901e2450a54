"""finetune: train a model on a data set, validate, keep the best, resume after a kill.

`out/` holds the best checkpoint so far, loadable at any time; beside it `settings.json`, `log.jsonl` (a line an epoch),
`steps.jsonl` (a line a step) and `state.pt` (everything needed to go on), which is `finished.pt` at the end.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch

from fusionzoo.errors import CheckFailed, FusionZooWarning, InputError
from fusionzoo.models import FusionModel
from fusionzoo.tasks import CLASSIFICATION, check_task
from fusionzoo.train.data import training_data, validation_data
from fusionzoo.train.distill import Student, Teacher
from fusionzoo.train.epoch import Plan, planned, train_epoch
from fusionzoo.train.evaluate import Validation, evaluate
from fusionzoo.train.freeze import freeze, idle_encoders
from fusionzoo.train.keep import Keeper
from fusionzoo.train.losses import class_weights
from fusionzoo.train.optim import optimiser_of
from fusionzoo.train.processes import joined
from fusionzoo.train.ready import check_settings, ready, remarks
from fusionzoo.train.recipe import inherited
from fusionzoo.train.recipe import record_fields as recipe_fields
from fusionzoo.train.samples import Show, show_images
from fusionzoo.train.settings import Settings
from fusionzoo.train.start import checkpoint, fit_classes, lender, new_model, with_statistics
from fusionzoo.train.state import Run, finish, meaning, nothing_done, publish, reopen, resumed

__all__ = ["finetune"]


def finetune(
    settings: Settings,
    out: str | Path,
    *,
    resume: bool = False,
    record_fields: dict[str, Any] | None = None,
    device: str | None = None,
    progress: Callable[[dict[str, Any]], None] | None = None,
    step: Callable[[dict[str, Any]], None] | None = None,
    show: Show | None = None,
    note: Callable[[str], None] | None = None,
    stop: Callable[[], None] | None = None,
    look: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Trains as `settings` say and writes the checkpoint folder `out`, anew whenever the best improves.

    Under `torchrun` all processes call it alike; the first alone writes and calls `progress`, `step` and `show`.

    Args:
        settings: see `Settings`.
        out: a new or empty folder; with `resume`, the folder of a run that was cut off, with settings of equal meaning
            (the data may have moved; learning rates, clipping and precision may differ), or of one that is finished,
            with more epochs.
        record_fields: fields for the checkpoint's record beyond those the run knows (name, metrics, ...).
        device: "cpu", "cuda", ...; None: cuda where there is one.
        progress: called with each epoch's log line.
        step: called with each step's, and in it "steps", those of the whole run.
        show: called at each validation for each of a few fixed images (see `Show`).
        note: called with each remark (what of a checkpoint was kept, x unlike what it saw, ...); None: warnings.warn.
        stop: called after every step and between batches of validation; what it raises ends the run, whose state is
            kept as it stands.
        look: called before training for every image of the last look at the data with ("training" or "validation", how
            many were read, how many there are).

    Returns:
        The last log line: {"epoch", "loss", "miou", "best_miou", "seconds", ...}; miou is a fraction, None without
        validation. Of saliency data also "saliency": the field's measures by name (`SaliencyScores`). Of scene types
        "balanced_accuracy" and "best_balanced_accuracy" instead of mIoU, and "accuracy".

    Raises:
        InputError: settings that do not fit the data or the model, `out` in use, a state of other settings, a loss that
            is not finite. What was kept of a run until then stays loadable, and the run can be resumed.
    """
    out, say = Path(out), note or partial(warnings.warn, category=FusionZooWarning, stacklevel=2)
    with joined(device) as processes:
        if processes.first:
            reopen(out, settings, resume)
        torch.manual_seed(settings.seed)

        given, record = checkpoint(settings)
        lent, of_lent = lender(settings)
        began, before = inherited(settings, record or of_lent), given or lent
        train, val = training_data(settings, before, say), validation_data(settings, before)
        teacher = Teacher(settings.teacher, train) if settings.teacher else None
        if given is None:
            model = new_model(settings, train, lent)
        else:
            model, kept = fit_classes(given, train, settings.model, keep_head=settings.keep_head)
            say(kept)
            size = settings.test_size or settings.base
            if model.input_size and tuple(model.input_size) != size:
                was, now = ("x".join(map(str, pair)) for pair in (model.input_size, size))
                say(f"{settings.model} was trained for whole images of {was}, this run is for {now}; --base, --size and"
                    " --test-size name others")  # fmt: skip
            model.input_size = size
        check_task(model, train)
        if settings.freeze:
            say(freeze(model, settings.freeze))
        check_settings(settings, model, len(train), processes.count)
        train, val, found = ready(train, val, settings, say, None if before is None else model.preprocess, look)
        with_statistics(model, found, new=before is None)
        for remark in remarks(found, train):
            say(remark)
        if show is not None and val is not None and model.task == CLASSIFICATION:
            say("pictures of validation images are left out: they show the classes of pixels")

        features = settings.distill.get("features", 0.0) > 0
        student = Student(model, settings.auxiliary, teacher, temperature=settings.temperature, features=features)
        layout = torch.channels_last if settings.channels_last else torch.contiguous_format
        for module in (student, *([teacher.model] if teacher else [])):
            module.to(processes.device).to(memory_format=layout)
        if processes.first and processes.unsynchronised(model):
            say("on CPU each process's batch norms see its own share of a batch (torch synchronises them on GPUs only):"
                " the losses are not those of one process")  # fmt: skip
        if given is None and not settings.init and (idle := idle_encoders(model)):
            has = "has" if len(idle) == 1 else "have"
            say(f"{', '.join(idle)} cannot learn and {has} random weights: --init imagenet gives trained ones")
        optimiser = optimiser_of(model, settings)
        if features and teacher:
            optimiser.add_param_group({"params": list(student.projections.parameters()), "lr": settings.lr})
        average = copy.deepcopy(model).eval() if settings.ema else model
        run = Run(model, average, student, processes.together(student), optimiser)
        if settings.compile:
            run.wrapped.compile()
        weight = class_weights(found.pixels, settings.balance, settings.balance_by) if settings.balance else None
        plan = planned(settings, train, weight, teacher, processes)

        same = meaning(settings, model, train, val, found.pixels.tolist(), processes.count)
        if resume and not nothing_done(out) and (remark := resumed(run, out, same, settings, processes)):
            say(remark)
        with closing(Keeper(out, run, plan, same, step=step, stop=stop)) as keeper:
            keeper.begin()  # weights beside a state are of a run that has not ended, weights alone of one that has
            while run.epoch < settings.epochs:
                loss = train_epoch(run, train, plan, keeper.after)
                epoch, scores = run.epoch + 1, None
                if val is not None and (epoch % settings.val_every == 0 or epoch == settings.epochs):
                    scores = _validate(average, val, plan, epoch, keeper)
                    if show is not None and processes.first and model.task != CLASSIFICATION:
                        show_images(average, val, epoch, show)
                if val is None or (scores is not None and scores.miou > run.best):
                    run.best = -1.0 if scores is None else scores.miou
                    fields = recipe_fields(settings, out, train, keeper.clock(), began) | (record_fields or {})
                    if processes.first:
                        publish(average, out, half=settings.half, record_fields=fields)
                line = keeper.epoch(loss, scores)
                if progress is not None and processes.first:
                    progress(line)
        if processes.first:
            finish(out, run.seconds)
        return run.line


def _validate(model: FusionModel, val: Any, plan: Plan, epoch: int, keeper: Keeper) -> Validation:
    settings, processes = plan.settings, plan.processes
    try:
        return evaluate(model, val, batch_size=settings.batch_size, amp=settings.amp, workers=settings.workers,
                        processes=processes, stop=keeper.look if processes.count == 1 else None)  # fmt: skip
    except CheckFailed as error:
        raise InputError(
            f"after epoch {epoch}: {error}; the epoch before is kept: the same command with {settings.calmer()} goes on"
            " from there"
        ) from error
