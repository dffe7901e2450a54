"""Scores under each condition, and what is lost: mIoU, pixel accuracy, IoU of each class; in classification balanced
accuracy, accuracy, recall of each class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionzoo.dissect.conditions import Condition, Images, others, subsets
from fusionzoo.dissect.effects import Scores
from fusionzoo.dissect.measures.base import Batch, Done, Measure, Metric, Setup, number, numbers, some
from fusionzoo.dissect.split import Split
from fusionzoo.errors import CheckFailed
from fusionzoo.metrics import Accumulator, ConfusionMatrix, jackknife
from fusionzoo.metrics.segmentation import iou_from_confusion, recall_from_confusion
from fusionzoo.models import predict_labels
from fusionzoo.tasks import CLASSIFICATION, SEGMENTATION

__all__ = ["METRIC", "Confusion", "count", "difference", "matrices", "matrix", "miou_and_classes", "per_class", "score"]

GROUPS = 16
"""Image groups for jackknife errors."""


@dataclass(frozen=True)
class Confusion(Measure):
    """Confusion counts of the predictions, in image groups."""

    kind: ClassVar[str] = "confusion"

    def make(self, done: Done) -> ConfusionMatrix:
        s = done.setup
        return ConfusionMatrix(s.num_classes, s.ignore_index, s.segmentation_groups)

    def predicted(self, sums: ConfusionMatrix, batch: Batch, labels: Tensor, truth: Tensor) -> None:
        for i, place in enumerate(batch.places):
            group = batch.split.group(place, batch.done.setup.segmentation_groups)
            sums.update(labels[i : i + 1], truth[i : i + 1], group)


@dataclass
class Drop(Scores):
    """What is lost: both modalities minus this condition."""


@dataclass
class Segmentation:
    """Scores of one `Condition`. `iou` per class: None where label and prediction lack it.

    Where the data's task is classification (`fusionzoo.tasks`), `miou` is the balanced accuracy, `pixel_accuracy` the
    share of images that are right, `iou` the recall of each class (None where no image is of it); so in all results.
    """

    miou: float | None
    pixel_accuracy: float | None
    iou: list[float | None]
    drop: Drop | None = None


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if {"contribution", "concept_contribution"} & set(wanted):
        lent = others(setup.inputs) if setup.permuted else ()
        return [Confusion(condition=c) for c in (*subsets(setup.inputs), *lent)]
    one_gone = subsets(setup.inputs)[: 1 + len(setup.inputs)]
    return [Confusion(condition=c) for c in one_gone] if "segmentation" in wanted else []


def matrices(done: Done) -> dict[Condition, ConfusionMatrix]:
    """Condition -> confusion matrix, of those that were measured."""
    names = done.setup.inputs
    found = {c: done.get(Confusion(condition=c)) for c in (*subsets(names), *others(names))}
    return {c: sums for c, sums in found.items() if sums is not None}


def compute(done: Done, results: Mapping[str, Any]) -> dict[str, Segmentation] | None:
    """Scores of each subset of modalities, and what is lost against both."""
    found = {c: m for c, m in matrices(done).items() if not c.lends}
    counts = {c: sums.state_dict()["counts"] for c, sums in found.items()}
    table = {}
    for condition, sums in found.items():
        scores, drop = sums.compute(), None
        if condition != Condition.BOTH and Condition.BOTH in found:
            value, error = difference(counts[Condition.BOTH], counts[condition], done.setup.task)
            drop = Drop(number(value[0]), number(error[0]), numbers(value[1:]), numbers(error[1:]))
        mean, *classes = numbers(miou_and_classes(counts[condition].sum(0), done.setup.task))
        table[str(condition)] = Segmentation(mean, number(scores.pixel_accuracy), classes, drop)
    return table or None


def per_class(task: str) -> Callable[[Tensor], Tensor]:
    """Confusion counts (..., K, K) -> the score of each class in the task: IoU, or recall."""
    return recall_from_confusion if task == CLASSIFICATION else iou_from_confusion


def difference(first: Tensor, second: Tensor, task: str = SEGMENTATION) -> tuple[Tensor, Tensor]:
    """(1 + K,) scores of `first` minus those of `second`, mIoU and then each class, and the jackknife error of it: of
    (G, K, K) counts over the same image groups, which are left out of both at once."""
    return jackknife(lambda a, b: miou_and_classes(a, task) - miou_and_classes(b, task), [first, second])


def miou_and_classes(counts: Tensor, task: str = SEGMENTATION) -> Tensor:
    """(1 + K,): mIoU, IoU of each class, of (K, K) counts; or balanced accuracy and recalls."""
    iou = per_class(task)(counts)
    return torch.cat([iou.nanmean()[None], iou])


# ------------------------------------------------------------------------------- for interventions and corruptions


def matrix(data: object) -> ConfusionMatrix:
    """An empty confusion matrix for the data, in image groups."""
    return ConfusionMatrix(data.num_classes, data.ignore_index, GROUPS)  # type: ignore[attr-defined]


def count(sums: Accumulator, logits: Tensor, images: Images, split: Split, what: str) -> None:
    """Adds predictions from logits (B, K, h, w) to a matrix that `matrix` made.

    Raises:
        CheckFailed: logits that are not finite.
    """
    low, high = logits.aminmax()  # which NaN passes through
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        raise CheckFailed(f"the model's output ({what}) is not finite for {some(images.batch['id'])}")
    assert isinstance(sums, ConfusionMatrix)
    labels = predict_labels(logits, images.label.shape[-2:])
    for i, place in enumerate(images.places):
        sums.update(labels[i : i + 1], images.label[i : i + 1], split.group(place, GROUPS))


def score(counts: Tensor, task: str = SEGMENTATION) -> Scores:
    """Scores and their jackknife errors from (G, K, K) counts, integer or weighted."""
    value, error = jackknife(lambda c: miou_and_classes(c, task), [counts])
    return Scores(number(value[0]), number(error[0]), numbers(value[1:]), numbers(error[1:]))


METRIC = Metric("segmentation", ("segmentation",), dict[str, Segmentation], plan, compute)
