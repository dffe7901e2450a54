"""The labelled cells of a feature map, which losses on the features of encoders are made of."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["at_cells", "standard"]


def at_cells(label: Tensor, features: Tensor, ignore_index: int = 255) -> tuple[Tensor, Tensor]:
    """(classes of the labelled positions (N,), which are labelled (B h w,)) at the centres of the features' cells.

    Args:
        label: (B, H, W) int64. features: (B, C, h, w).

    >>> at_cells(torch.tensor([[[0, 1, 255, 255]]]), torch.zeros(1, 3, 1, 4))
    (tensor([0, 1]), tensor([ True,  True, False, False]))
    """
    (height, width), (full_h, full_w) = features.shape[2:], label.shape[1:]
    rows = (torch.arange(height, device=label.device) * 2 + 1) * full_h // (2 * height)
    cols = (torch.arange(width, device=label.device) * 2 + 1) * full_w // (2 * width)
    classes = label[:, rows][:, :, cols].flatten()  # (B h w)
    known = classes != ignore_index
    return classes[known], known


def standard(v: Tensor) -> Tensor:
    """Each column of (N, C) with mean 0 and variance 1; a constant one is 0."""
    v = v - v.mean(0)
    return v / v.square().mean(0).add(1e-6).sqrt()
