"""Concept masks on a grid from label maps."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionzoo.errors import InputError

__all__ = ["concept_masks"]


def concept_masks(
    labels: Tensor, num_classes: int, size: tuple[int, int], ignore_index: int = 255, mode: str = "area"
) -> tuple[Tensor, Tensor]:
    """Concept masks on a grid from a label map.

    Args:
        labels: (B, H, W) integers, 0 .. K-1 or `ignore_index`.
        num_classes: K.
        size: (h, w) of the grid.
        mode: "area" (share of the cell's pixels, for the statistics; the grid must not be finer than the labels) or
            "nearest" (the label of the pixel at the cell's centre, for the curve).

    Returns:
        masks (B, K, h, w) and valid (B, h, w): float32 shares of the cell for "area", bool for "nearest".

    Raises:
        InputError: not integers, out of range, unknown mode, or a grid finer than the labels in "area".

    >>> masks, valid = concept_masks(torch.tensor([[[0, 1], [1, 255]]]), 2, (1, 1))
    >>> masks.flatten().tolist(), valid.flatten().tolist()
    ([0.25, 0.5], [0.75])
    """
    if labels.ndim != 3 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"labels must be integers (B, H, W), got {labels.dtype} {tuple(labels.shape)}")
    labels = labels.long()
    b, (height, width), (h, w) = labels.shape[0], labels.shape[1:], size
    known = labels != ignore_index
    wrong = labels[known & ((labels < 0) | (labels >= num_classes))]
    if wrong.numel():
        raise InputError(
            f"labels out of range: {int(wrong[0])} with {num_classes} classes "
            f"(valid 0 .. {num_classes - 1}, ignore {ignore_index})"
        )
    labels = torch.where(known, labels, num_classes)
    rows, columns = torch.arange(height, device=labels.device), torch.arange(width, device=labels.device)
    if mode == "nearest":
        y = ((torch.arange(h, device=labels.device) + 0.5) * height / h).long()
        x = ((torch.arange(w, device=labels.device) + 0.5) * width / w).long()
        small = labels[:, y[:, None], x]
        masks = small[:, None] == torch.arange(num_classes, device=labels.device)[:, None, None]
        return masks, small < num_classes
    if mode != "area":
        raise InputError(f"unknown mode {mode!r}: use 'area' or 'nearest'")
    if h > height or w > width:
        raise InputError(f"grid {h}x{w} is finer than the labels {height}x{width}: use mode 'nearest'")
    cell = (rows * h // height)[:, None] * w + columns * w // width
    k = num_classes + 1
    place = (torch.arange(b, device=labels.device)[:, None, None] * (h * w) + cell) * k + labels
    counts = torch.bincount(place.flatten(), minlength=b * h * w * k).view(b, h, w, k).float()
    share = counts / counts.sum(-1, keepdim=True)
    return share[..., :num_classes].permute(0, 3, 1, 2).contiguous(), 1 - share[..., num_classes]
