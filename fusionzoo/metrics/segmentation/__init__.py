"""Segmentation scores: confusion matrix, IoU, pixel accuracy of all images and of each."""

from __future__ import annotations

from fusionzoo.metrics.segmentation.confusion import (
    ConfusionMatrix,
    SegmentationScores,
    iou_from_confusion,
    recall_from_confusion,
)
from fusionzoo.metrics.segmentation.images import ImageAccuracy

__all__ = [
    "ConfusionMatrix",
    "ImageAccuracy",
    "SegmentationScores",
    "iou_from_confusion",
    "recall_from_confusion",
]
