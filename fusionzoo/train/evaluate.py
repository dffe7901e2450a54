"""Validation: mIoU of a model on a data set, single scale, no flip, logits upsampled to the label's size."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from fusionzoo.data import collate
from fusionzoo.data.validate import Selected
from fusionzoo.errors import CheckFailed
from fusionzoo.metrics.segmentation import ConfusionMatrix, SegmentationScores
from fusionzoo.models import FusionModel, predict_labels
from fusionzoo.train.data import loader
from fusionzoo.train.processes import Processes

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(
    model: FusionModel,
    data: Any,
    *,
    batch_size: int = 16,
    amp: bool = False,
    workers: int = 0,
    processes: Processes | None = None,
    stop: Callable[[], None] | None = None,
) -> SegmentationScores:
    """Scores of `model` on `data` (samples as fusionzoo.data gives them), in eval mode; the mode is put back.

    Labels keep their own size: logits (B, K, h, w) are resized to (H, W) bilinearly (align_corners False) before
    argmax. Samples may differ in size: neighbours of one size go through the model together.

    Args:
        processes: those that share the images out between them; each image counts once, and all get the same scores.
        stop: called before every batch; what it raises ends the evaluation.

    Raises:
        CheckFailed: logits that are not finite, by image.
    """
    device = next(model.parameters()).device
    matrix = ConfusionMatrix(model.num_classes, data.ignore_index)
    training = model.training
    model.eval()
    mine = data
    if processes is not None and processes.count > 1:
        mine = Selected(data, range(processes.rank, len(data), processes.count))
    try:
        for samples in loader(mine, batch_size, workers=workers):
            if stop is not None:
                stop()
            for _, run in itertools.groupby(samples, lambda s: (s["rgb"].shape, s["label"].shape)):
                batch = collate(list(run))
                rgb, x = model.preprocess(batch["rgb"].to(device), batch["x"].to(device))
                with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                    logits = model(rgb, x)
                if not bool(torch.isfinite(logits).all()):
                    raise CheckFailed(f"the model's output is not finite for {', '.join(map(str, batch['id'][:3]))}")
                label = batch["label"].to(device)
                matrix.update(predict_labels(logits.float(), label.shape[-2:]), label)
    finally:
        model.train(training)
    if processes is not None and processes.count > 1:
        found, matrix = processes.gather(matrix), ConfusionMatrix(model.num_classes, data.ignore_index)
        for part in found:
            matrix.merge(part)
    return matrix.compute()
