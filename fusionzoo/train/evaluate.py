"""Validation: mIoU of a model on a data set, single scale, no flip, logits upsampled to the label's size."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from fusionzoo.data import collate
from fusionzoo.metrics.segmentation import ConfusionMatrix, SegmentationScores
from fusionzoo.models import FusionModel, predict_labels

__all__ = ["evaluate"]


@torch.no_grad()
def evaluate(model: FusionModel, data: Any, *, batch_size: int = 16, amp: bool = False) -> SegmentationScores:
    """Scores of `model` on `data` (samples as fusionzoo.data gives them), in eval mode; the mode is put back.

    Labels keep their own size: logits (B, K, h, w) are resized to (H, W) bilinearly (align_corners False) before
    argmax.
    """
    device = next(model.parameters()).device
    matrix = ConfusionMatrix(model.num_classes, data.ignore_index)
    training = model.training
    model.eval()
    try:
        for batch in DataLoader(data, batch_size, collate_fn=collate):
            rgb, x = model.preprocess(batch["rgb"].to(device), batch["x"].to(device))
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                logits = model(rgb, x)
            label = batch["label"].to(device)
            matrix.update(predict_labels(logits.float(), label.shape[-2:]), label)
    finally:
        model.train(training)
    return matrix.compute()
