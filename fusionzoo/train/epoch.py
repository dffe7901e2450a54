"""One epoch of training: batches, forward, loss, backward, step, average."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusionzoo.data import collate, train_transform
from fusionzoo.data.augment import Augment
from fusionzoo.errors import DivergedError, InputError
from fusionzoo.modalities import parts_of
from fusionzoo.models.base import SIDE
from fusionzoo.models.two_stream import SCENE
from fusionzoo.tasks import SEGMENTATION, data_task
from fusionzoo.train.average import update_average
from fusionzoo.train.batches import Augmented, Batches, steps_of
from fusionzoo.train.data import loader
from fusionzoo.train.distill import Teacher
from fusionzoo.train.dropout import drop_modality
from fusionzoo.train.freeze import train_mode
from fusionzoo.train.losses import Criterion, on_grid, on_side_grid, total
from fusionzoo.train.optim import clip_gradients
from fusionzoo.train.processes import Processes
from fusionzoo.train.schedule import schedule, set_rates
from fusionzoo.train.settings import Settings
from fusionzoo.train.state import Run

__all__ = ["Plan", "planned", "train_epoch"]

AHEAD = 7919
"""Between the seeds of the batches and of what the model draws itself in each process."""


@dataclass(frozen=True)
class Plan:
    """What stays the same while a run trains.

    Attributes:
        batch: images of a step, over all processes. steps: of an epoch.
        rate: factor of the learning rates at each step of the whole run.
        teacher: None: no distillation.
        task: of the data.
    """

    settings: Settings
    augment: Augment
    criterion: Criterion
    batch: int
    steps: int
    rate: Callable[[int], float]
    teacher: Teacher | None
    processes: Processes
    task: str = SEGMENTATION


def planned(
    settings: Settings, train: Any, weight: Tensor | None, teacher: Teacher | None, processes: Processes
) -> Plan:
    """The plan of a run over the samples `train` with (K,) class weights, or none."""
    n = len(train)
    transform = train_transform(settings.size, settings.base, settings.scale, settings.flip, settings.jitter,
                                depth_scale=settings.depth_scale)  # fmt: skip
    augment = Augment(transform, settings.corrupt, train.x_kind)
    weight = None if weight is None else weight.to(processes.device)
    criterion = Criterion(settings.loss, weight, settings.ohem, settings.label_smoothing)
    steps = steps_of(n, settings.batch_size, settings.accumulate * processes.count)
    rate = schedule(settings.schedule, settings.epochs * steps, settings.warmup)
    return Plan(settings, augment, criterion, min(n, settings.batch_size), steps, rate, teacher, processes,
                data_task(train))  # fmt: skip


def train_epoch(run: Run, train: Any, plan: Plan, after: Callable[[float, float], None]) -> float:
    """Trains `run` to the end of its epoch, from the step where it stands; returns the mean loss of the steps.

    Its random numbers depend on (seed, epoch) and on those drawn in it before, so that a resumed run equals an unbroken
    one.

    Args:
        train: samples at the size of the largest zoom, not augmented.
        after: called after every step with its loss and the norm of its gradient.

    Raises:
        DivergedError: a loss or gradient that is not finite, with the images of its batch.
    """
    settings = plan.settings
    batches = _batches(run, train, plan)
    run.restore_random(plan.processes)
    train_mode(run.model)
    for batch in batches:
        done = run.epoch * plan.steps + run.step
        set_rates(run.optimiser, plan.rate(done))
        value, norm = _gradients(run, batch, plan)
        if not abs(value + norm) < float("inf"):
            raise DivergedError(
                f"the loss is {value} and its gradient {norm} in epoch {run.epoch + 1}, step {run.step + 1} (images"
                f" {', '.join(map(str, batch['id'][:8]))}); the last state before it is kept;"
                f" the same command with {settings.calmer()} goes on from there"
            )
        run.optimiser.step()
        if run.average is not run.model:
            update_average(run.average, run.model, settings.ema, done)
        run.step += 1
        run.loss += value
        after(value, norm)
    return run.loss / plan.steps


def _batches(run: Run, train: Any, plan: Plan) -> Any:
    """The rest of the epoch's batches, this process's share of each."""
    settings, processes = plan.settings, plan.processes
    seed = settings.seed * 100003 + run.epoch
    torch.manual_seed(seed + AHEAD * (processes.rank + 1))  # what the model draws, between its own steps
    sampler = Batches(
        len(train),
        settings.batch_size,
        plan.augment.draws,
        torch.Generator().manual_seed(seed),
        extra=int(settings.drop_modality > 0),
        first=run.step,
        rank=processes.rank,
        processes=processes.count,
    )
    samples = Augmented(train, plan.augment)
    return loader(samples, 1, workers=settings.workers, collate_fn=collate, batch_sampler=sampler,
                  generator=torch.Generator())  # fmt: skip


def _gradients(run: Run, batch: dict[str, Any], plan: Plan) -> tuple[float, float]:
    """Gradients of the loss of a batch, part by part: (the loss, the norm of the gradient before it was clipped)."""
    processes, parts = plan.processes, plan.settings.accumulate
    height, width = batch["label"].shape[-2:]
    batch = {k: v.to(processes.device) if isinstance(v, Tensor) else v for k, v in batch.items()}
    batch["target"] = on_grid(batch["label"], (-(-height // 2), -(-width // 2)))  # of the logits, on half the grid
    whole = processes.sum(plan.criterion.share(batch["target"]))
    sides = _Sides(plan, batch["label"], run.model.stride)
    run.optimiser.zero_grad(set_to_none=True)
    value, n = torch.zeros((), device=processes.device), len(batch["id"])
    for k in range(parts):
        part = {key: v[k * n // parts : (k + 1) * n // parts] for key, v in batch.items()}
        with nullcontext() if k + 1 == parts else processes.apart(run.wrapped):
            loss = _loss(run, part, plan, whole, sides)
            (loss * processes.count).backward()  # processes' gradients are averaged
        value += loss.detach()
    norm = clip_gradients(run.student, plan.settings.clip or float("inf"))
    return float(processes.sum(value)), norm


class _Sides:
    """The loss of a batch's side heads: the mean of the segmentation losses of each, at its own resolution.

    Args:
        label: (B, H, W) of the whole batch. stride: of the model.
    """

    def __init__(self, plan: Plan, label: Tensor, stride: int) -> None:
        self.plan, self.label, self.stride = plan, label, stride
        self.shares: dict[tuple[int, int], Tensor] = {}

    def loss(self, scores: list[Tensor], label: Tensor, fraction: float) -> Tensor:
        """Of a part of the batch, so that the losses of all parts add up to that of the batch.

        Args:
            scores: (B', K, h, w) of each head. label: (B', H, W). fraction: images of this part / images of the batch.
        """
        found, criterion = [], self.plan.criterion
        for side in scores:
            size = (side.shape[-2], side.shape[-1])
            if size not in self.shares:
                share = criterion.share(on_side_grid(self.label, size, self.stride))
                self.shares[size] = self.plan.processes.sum(share)
            target = on_side_grid(label, size, self.stride)
            fitting = side[..., : target.shape[-2], : target.shape[-1]]
            found.append(criterion(fitting, target, self.shares[size], fraction))
        return torch.stack(found).mean()


def _loss(run: Run, part: dict[str, Any], plan: Plan, whole: Tensor, sides: _Sides) -> Tensor:
    """What a part of a batch adds to the batch's loss."""
    settings, target = plan.settings, part["target"]
    fraction = len(part["id"]) / plan.batch
    rgb, x = run.model.preprocess(part["rgb"], part["x"])
    if settings.drop_modality:
        parts = parts_of(run.model.preprocess.x_kind, x.shape[1])
        rgb, x = drop_modality(rgb, x, settings.drop_modality, torch.tensor([e[0] for e in part["extra"]]), parts)
    if settings.channels_last:
        rgb = rgb.contiguous(memory_format=torch.channels_last)
    scene = part[SCENE] if run.model.num_scenes else None
    shown = None if plan.teacher is None else plan.teacher(part["rgb"], part["x"], amp=settings.amp)
    try:
        with torch.autocast(rgb.device.type, torch.bfloat16, enabled=settings.amp):
            logits, auxiliary, seen, distilled = run.wrapped(rgb, x, part["label"], shown, scene)
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        reason = str(error).partition("\n")[0][:150]
        raise InputError(f"torch.compile cannot compile this training step here ({reason}); drop --compile") from error
    given = dict.fromkeys(auxiliary, 1.0) | run.model.loss_factors | settings.auxiliary
    loss = plan.criterion(logits[..., : target.shape[-2], : target.shape[-1]], target, whole, fraction)
    for values, factors in ((auxiliary, given), (distilled, settings.distill)):
        loss = total(loss, {name: fraction * value for name, value in values.items()}, factors)
    return loss + given[SIDE] * sides.loss(seen, part["label"], fraction) if seen else loss
