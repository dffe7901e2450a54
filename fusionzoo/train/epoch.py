"""One epoch of training: batches, forward, loss, backward, step, average."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from fusionzoo.data import WithTransform, collate, train_transform
from fusionzoo.errors import InputError, unknown
from fusionzoo.models import FusionModel
from fusionzoo.train.average import update_average
from fusionzoo.train.data import loader
from fusionzoo.train.dropout import drop_modality
from fusionzoo.train.losses import segmentation_loss, total
from fusionzoo.train.optim import clip_gradients
from fusionzoo.train.rule import losses
from fusionzoo.train.settings import AUXILIARY, Settings

__all__ = ["train_epoch"]


def train_epoch(
    model: FusionModel,
    average: FusionModel,
    train: Any,
    settings: Settings,
    optimiser: torch.optim.Optimizer,
    schedule: Any,
    weight: Tensor | None,
    epoch: int,
    steps: int,
    stop: Callable[[], None] | None,
) -> float:
    """Trains `model` for one epoch and moves `average` along; returns the mean loss of its steps.

    Its random numbers depend on (seed, epoch) only, so that a resumed run equals an unbroken one.

    Args:
        average: the averaged copy of `model`, or `model` itself: none.
        train: samples at the size of the largest zoom, not augmented.
        weight: (K,) class weights, or None.
        epoch: from 0. steps: of each epoch.
        stop: called after every step.

    Raises:
        InputError: a loss or gradient that is not finite, with the images of its batch.
        UnknownNameError: a factor for an auxiliary loss that the model does not have.
    """
    torch.manual_seed(settings.seed * 100003 + epoch)
    device = next(model.parameters()).device
    model.train()
    augmented = WithTransform(
        train, train_transform(settings.size, settings.base, settings.scale, jitter=settings.jitter)
    )
    batches = loader(augmented, settings.batch_size, workers=settings.workers, collate_fn=collate, shuffle=True,
                     drop_last=len(train) >= settings.batch_size)  # fmt: skip
    sum_loss = 0.0
    for i, batch in enumerate(batches):
        rgb, x = model.preprocess(batch["rgb"].to(device), batch["x"].to(device))
        if settings.drop_modality:
            rgb, x = drop_modality(rgb, x, settings.drop_modality)
        rgb, label = rgb.contiguous(memory_format=torch.channels_last), batch["label"].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.amp):
            logits, auxiliary = losses(model, rgb, x, label, settings.auxiliary, step=2)
        for name in settings.auxiliary.keys() - auxiliary.keys() - AUXILIARY.keys():
            raise unknown(f"auxiliary loss of {settings.model}", name, auxiliary, "--auxiliary NAME=FACTOR")
        main = segmentation_loss(logits, label, weight)
        loss = total(main, auxiliary, settings.auxiliary)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip_gradients(model)
        value = float(loss.detach())
        if not abs(value + norm) < float("inf"):
            raise InputError(
                f"the loss is {value} and its gradient {norm} in epoch {epoch + 1}, step {i + 1} (images"
                f" {', '.join(map(str, batch['id'][:8]))}); the last whole epoch is kept;"
                " lower --lr or drop --amp"
            )
        optimiser.step()
        schedule.step()
        sum_loss += value
        if average is not model:
            update_average(average, model, settings.ema, epoch * steps + i)
        if stop is not None:
            stop()
    return sum_loss / (i + 1)
