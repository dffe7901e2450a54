"""Segmentation scores: confusion matrix, IoU, pixel accuracy."""

from __future__ import annotations

from fusionzoo.metrics.segmentation.confusion import ConfusionMatrix, SegmentationScores, iou_from_confusion

__all__ = [
    "ConfusionMatrix",
    "SegmentationScores",
    "iou_from_confusion",
]
