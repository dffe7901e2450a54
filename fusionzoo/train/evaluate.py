"""Validation: mIoU of a model on a data set, single scale, no flip, logits upsampled to the label's size; of salient
objects the measures of that field too; of scene types balanced accuracy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from fusionzoo.data import collate
from fusionzoo.data.validate import Selected
from fusionzoo.errors import CheckFailed
from fusionzoo.metrics.saliency import SaliencyMeasures, SaliencyScores
from fusionzoo.metrics.segmentation import ConfusionMatrix, SegmentationScores
from fusionzoo.models import FusionModel, predict_labels
from fusionzoo.models.labels import class_probability, evaluating
from fusionzoo.tasks import CLASSIFICATION, SALIENCY, SEGMENTATION, check_task, data_task
from fusionzoo.train.data import loader
from fusionzoo.train.processes import Processes

__all__ = ["Validation", "evaluate"]


@dataclass(frozen=True)
class Validation(SegmentationScores):
    """Scores of a segmentation; `saliency`: those of the probability of class 1, where the data's task is saliency.

    Where `task` is classification, `miou` is the balanced accuracy, `iou` the recall of each class and `pixel_accuracy`
    the accuracy (`fusionzoo.tasks`).
    """

    saliency: SaliencyScores | None = None
    task: str = SEGMENTATION


def evaluate(
    model: FusionModel,
    data: Any,
    *,
    batch_size: int = 16,
    amp: bool = False,
    workers: int = 0,
    processes: Processes | None = None,
    stop: Callable[[], None] | None = None,
) -> Validation:
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
    matrix, maps = ConfusionMatrix(model.num_classes, data.ignore_index), SaliencyMeasures()
    check_task(model, data)
    task = data_task(data)
    salient = task == SALIENCY
    mine = data
    if processes is not None and processes.count > 1:
        mine = Selected(data, range(processes.rank, len(data), processes.count))
    with evaluating(model):
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
                if salient:
                    maps.update(class_probability(logits, label.shape[-2:], 1), label)
    if processes is not None and processes.count > 1:
        found = processes.gather((matrix, maps))
        matrix, maps = ConfusionMatrix(model.num_classes, data.ignore_index), SaliencyMeasures()
        for counts, sums in found:
            matrix.merge(counts)
            maps.merge(sums)
    scores = vars(matrix.compute())
    if task == CLASSIFICATION:
        scores |= {"miou": scores["mean_accuracy"], "iou": scores["accuracy"], "miou_se": math.nan}
    return Validation(**scores, saliency=maps.compute() if salient else None, task=task)
