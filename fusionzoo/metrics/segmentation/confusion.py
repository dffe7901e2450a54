"""Segmentation scores from one confusion matrix of exact integer counts.

IoU_k = TP_k / (TP_k + FP_k + FN_k); accuracy_k = TP_k / (TP_k + FN_k). A class that occurs neither in the labels nor in
the predictions has no IoU: NaN, left out of the mean. A class that is predicted but never labelled has IoU 0 and
counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates, at_least_one, int_state
from fusionzoo.metrics.stats.resample import jackknife

__all__ = ["ConfusionMatrix", "SegmentationScores", "iou_from_confusion", "recall_from_confusion"]


@dataclass(frozen=True)
class SegmentationScores:
    """Scores of a segmentation, all fractions 0 to 1 (NaN where undefined).

    Attributes:
        miou: mean of `iou` over the classes that have one.
        iou: (K,) float64, NaN for classes in neither labels nor predictions.
        pixel_accuracy: share of labelled pixels that are right.
        mean_accuracy: mean of `accuracy` over labelled classes.
        accuracy: (K,) float64 recall of each class, NaN for classes without labels.
        frequency_weighted_iou: IoU weighted by each class's share of the labels.
        n_images, n_pixels: images and labelled pixels seen.
        miou_se: block jackknife standard error of `miou`; NaN with fewer than two groups.
        confusion: (K, K) int64, rows are labels, columns predictions.
    """

    miou: float
    iou: Tensor
    pixel_accuracy: float
    mean_accuracy: float
    accuracy: Tensor
    frequency_weighted_iou: float
    n_images: int
    n_pixels: int
    miou_se: float
    confusion: Tensor


def iou_from_confusion(confusion: Tensor) -> Tensor:
    """Per-class IoU (..., K) float64 of confusion matrices (..., K, K); NaN where union is empty.

    >>> iou_from_confusion(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    tensor([0.7500, 0.8000,    nan], dtype=torch.float64)
    """
    counts = confusion.double()
    hit = counts.diagonal(dim1=-2, dim2=-1)
    return hit / (counts.sum(-1) + counts.sum(-2) - hit)


def recall_from_confusion(confusion: Tensor) -> Tensor:
    """Per-class recall (..., K) float64 of confusion matrices (..., K, K), NaN for classes without labels.

    Its mean over the classes that have one is the balanced accuracy.

    >>> recall_from_confusion(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    tensor([0.7500, 1.0000,    nan], dtype=torch.float64)
    """
    counts = confusion.double()
    return counts.diagonal(dim1=-2, dim2=-1) / counts.sum(-1)


class ConfusionMatrix(Accumulator):
    """Counts (label, prediction) pairs over a data set.

    Args:
        num_classes: K; labels and predictions are 0 .. K-1.
        ignore_index: label that is left out.
        groups: image groups to keep apart, for a block jackknife; state is groups x K x K.

    >>> matrix = ConfusionMatrix(2)
    >>> matrix.update(torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[[0, 1], [0, 255]]]))
    >>> round(matrix.compute().miou, 4), matrix.compute().pixel_accuracy
    (0.5, 0.6666666666666666)
    """

    info = MetricInfo(
        name="mIoU", low=0.0, high=1.0, larger_is="better", invariant_to=("order of images", "permutation of classes"),
        cost="state groups x K^2 integers; O(pixels)",
        source="Everingham et al. 2010 (Pascal VOC), intersection over union",
    )  # fmt: skip
    choices = ("num_classes", "ignore_index", "groups")

    def __init__(self, num_classes: int, ignore_index: int = 255, groups: int = 1) -> None:
        super().__init__()
        at_least_one(num_classes=num_classes, groups=groups)
        self.num_classes, self.ignore_index, self.groups = num_classes, ignore_index, groups
        self._state = int_state(counts=(groups, num_classes, num_classes), images=())

    @accumulates
    def update(self, pred: Tensor, target: Tensor, group: int = 0) -> None:
        """Adds a batch.

        Args:
            pred: (B, H, W) integer class indices (`logits.argmax(1)` at label size).
            target: (B, H, W) integer labels, 0 .. K-1 or `ignore_index`.
            group: the image group that this batch belongs to, 0 .. groups-1.

        Raises:
            InputError: shapes differ, not integers, or labels or predictions out of range.
        """
        if pred.shape != target.shape:
            shapes = f"predictions {tuple(pred.shape)} and labels {tuple(target.shape)} differ in shape"
            raise InputError(f"{shapes}: upsample the logits to the label size, then argmax over classes")
        if pred.ndim != 3:
            raise InputError(f"predictions and labels must be (B, H, W), got {tuple(pred.shape)}")
        for name, value in (("predictions", pred), ("labels", target)):
            if value.is_floating_point() or value.dtype == torch.bool:
                raise InputError(f"{name} must be integer class indices, got {value.dtype}")
        if not 0 <= group < self.groups:
            raise InputError(f"group {group} is out of range: this matrix keeps groups 0 .. {self.groups - 1}")
        k, n_images = self.num_classes, target.shape[0]
        target, pred = target.flatten(), pred.flatten()
        ignored = target == self.ignore_index
        target = target.masked_fill(ignored, 0)
        for name, value in (("labels", target), ("predictions", pred)):
            if value.numel():
                low, high = (int(v) for v in value.aminmax())
                if low < 0 or high >= k:
                    value = value[~ignored]  # what lies at ignored positions does not count
                    wrong = value[(value < 0) | (value >= k)]
                    if wrong.numel():
                        may = f"(valid 0 .. {k - 1}, ignore {self.ignore_index})"
                        raise InputError(f"{name} out of range: {int(wrong[0])} with {k} classes {may}")
        # narrow integers: several times faster than int64. Ignored positions fall into cell k * k, which is dropped
        kind = torch.int16 if k * k < 1 << 15 else torch.int64
        cell = (target.to(kind) * k + pred.to(kind)).masked_fill_(ignored, k * k)
        counts = torch.bincount(cell, minlength=k * k + 1)[: k * k]
        self._state["counts"][group] += counts.view(k, k)
        self._state["images"] += n_images

    def compute(self) -> SegmentationScores:
        """Scores of everything seen so far."""
        groups = self._state["counts"].cpu()
        total = groups.sum(0)
        iou = iou_from_confusion(total)
        counts = total.double()
        labelled, hit, n = counts.sum(1), counts.diagonal(), counts.sum()
        accuracy = recall_from_confusion(total)
        return SegmentationScores(
            miou=float(iou.nanmean()),
            iou=iou,
            pixel_accuracy=float(hit.sum() / n),
            mean_accuracy=float(accuracy.nanmean()),
            accuracy=accuracy,
            frequency_weighted_iou=float((labelled / n * iou.nan_to_num(0)).sum()),
            n_images=int(self._state["images"]),
            n_pixels=int(n),
            miou_se=float(jackknife(lambda c: iou_from_confusion(c).nanmean(), [groups])[1]),
            confusion=total,
        )
