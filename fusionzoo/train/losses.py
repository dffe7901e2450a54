"""Losses of segmentation training, and what they need to know about the data."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["class_weights", "segmentation_loss"]


def segmentation_loss(logits: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Cross-entropy on the grid of `logits`; labels of a larger grid are sampled at the centres of its cells.

    Training at half the input's resolution costs a quarter and moves no class boundary by more than a pixel.

    Args:
        logits: (B, K, h, w).
        label: (B, H, W) int64, H and W multiples of h and w or (odd sizes) up to a row and a column less.
        weight: (K,) class weights, or None.

    Returns:
        Scalar; 0 where a batch has no labelled pixel.

    >>> float(segmentation_loss(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 2, dtype=torch.long)))
    0.6931471824645996
    """
    step_h, step_w = (-(-label.shape[i] // logits.shape[i]) for i in (-2, -1))
    label = label[..., step_h // 2 :: step_h, step_w // 2 :: step_w]
    logits = logits[..., : label.shape[-2], : label.shape[-1]]
    losses = F.cross_entropy(logits.float(), label, weight, ignore_index=ignore_index, reduction="none")
    kept = label != ignore_index
    share = kept.to(losses.dtype) if weight is None else torch.where(kept, weight[label.where(kept, 0)], 0.0)
    return losses.sum() / share.sum().clamp(min=1e-6)


def class_weights(pixels: Tensor, power: float) -> Tensor:
    """Weights (median frequency / frequency)^power, clipped to [0.2, 5]; mean loss stays of order 1.

    Args:
        pixels: (K,) labelled pixels per class in the training data.
        power: 0 gives no weighting, 1 median-frequency balancing (Eigen and Fergus, ICCV 2015).

    Returns:
        (K,) float32. A class without pixels gets weight 1: it never occurs in the loss.

    >>> class_weights(torch.tensor([100, 25, 0]), 0.5).tolist()
    [0.5, 1.0, 1.0]
    """
    counts = pixels.double()
    present = counts > 0
    if not bool(present.any()):
        return torch.ones(len(pixels))
    median = counts[present].quantile(0.5, interpolation="lower")
    ratio = torch.where(present, median / counts.clamp(min=1), torch.ones_like(counts))
    return ratio.pow(power).clamp(0.2, 5).float()


def total(main: Tensor, auxiliary: Mapping[str, Tensor], factors: Mapping[str, float]) -> Tensor:
    """main + sum of factor * auxiliary; an auxiliary loss without a factor is left out."""
    for name, value in auxiliary.items():
        if name in factors:
            main = main + factors[name] * value
    return main
