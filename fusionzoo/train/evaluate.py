"""Validation: mIoU of a model on a data set, single scale, no flip, logits upsampled to the label's size; of salient
objects the measures of that field too; of scene types balanced accuracy, of joint models and data beside mIoU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch

from fusionzoo.data import collate
from fusionzoo.data.validate import Selected
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.metrics.saliency import SaliencyMeasures, SaliencyScores
from fusionzoo.metrics.segmentation import ConfusionMatrix, SegmentationScores
from fusionzoo.models import FusionModel, TwoStream, predict_labels
from fusionzoo.models.labels import class_probability, evaluating
from fusionzoo.models.two_stream import SCENE
from fusionzoo.tasks import CLASSIFICATION, SALIENCY, SEGMENTATION, data_scenes, data_task, model_for
from fusionzoo.train.data import loader
from fusionzoo.train.processes import Processes

__all__ = ["Validation", "evaluate"]


@dataclass(frozen=True)
class Validation(SegmentationScores):
    """Scores of a segmentation; `saliency`: those of the probability of class 1, where the data's task is saliency;
    `scenes`: those of the scene type, where data and model are joint.

    Where `task` is classification, `miou` is the balanced accuracy, `iou` the recall of each class and `pixel_accuracy`
    the accuracy (`fusionzoo.tasks`).
    """

    saliency: SaliencyScores | None = None
    scenes: Validation | None = None
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
        InputError: scene types of another number.
    """
    device = next(model.parameters()).device
    model = model_for(model, data)
    types, joint = _scene_types(model, data), cast(TwoStream, model)

    def empty() -> tuple[ConfusionMatrix, SaliencyMeasures, ConfusionMatrix]:
        ignored = data.ignore_index
        return ConfusionMatrix(model.num_classes, ignored), SaliencyMeasures(), ConfusionMatrix(max(types, 1), ignored)

    matrix, maps, scenes = empty()
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
                    logits, *of_scenes = joint.both(rgb, x) if types else (model(rgb, x),)
                if not all(bool(torch.isfinite(v).all()) for v in (logits, *of_scenes)):
                    raise CheckFailed(f"the model's output is not finite for {', '.join(map(str, batch['id'][:3]))}")
                label = batch["label"].to(device)
                matrix.update(predict_labels(logits.float(), label.shape[-2:]), label)
                for of_scene in of_scenes:
                    scenes.update(of_scene.float().argmax(1), batch[SCENE].to(device)[:, None, None])  # (B, 1, 1)
                if salient:
                    maps.update(class_probability(logits, label.shape[-2:], 1), label)
    if processes is not None and processes.count > 1:
        found = processes.gather((matrix, maps, scenes))
        matrix, maps, scenes = empty()
        for counts, sums, told in found:
            matrix.merge(counts)
            maps.merge(sums)
            scenes.merge(told)
    return Validation(
        **_scores(matrix, task),
        saliency=maps.compute() if salient else None,
        scenes=Validation(**_scores(scenes, CLASSIFICATION), task=CLASSIFICATION) if types else None,
        task=task,
    )


def _scores(matrix: ConfusionMatrix, task: str) -> dict[str, Any]:
    scores = dict(vars(matrix.compute()))
    if task == CLASSIFICATION:
        scores |= {"miou": scores["mean_accuracy"], "iou": scores["accuracy"], "miou_se": math.nan}
    return scores


def _scene_types(model: FusionModel, data: Any) -> int:
    """How many scene types both say beside the classes of pixels; 0 where one of them says none."""
    ours, theirs = model.num_scenes, len(data_scenes(data))
    if ours and theirs and ours != theirs:
        raise InputError(f"the model says {ours} scene types, {data.name} has {theirs}; give what it was trained on")
    return min(ours, theirs)
