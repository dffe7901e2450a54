"""Concept masks on a grid, from label maps or from masks at full size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError

__all__ = ["area_masks", "concept_masks", "contains", "grid_masks"]


def contains(masks: Tensor) -> Tensor:
    """(B, K) bool, whether masks (B, K, H, W) bool have any true value."""
    flat = masks.flatten(2)
    if flat.is_contiguous() and flat.shape[2] % 8 == 0 and flat.storage_offset() % 8 == 0 and flat.numel():
        return flat.view(torch.int64).amax(2) > 0  # eight at a time
    return flat.any(2)


def checked_masks(
    masks: Tensor, images: int, concepts: int, valid: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Masks of a batch, none outside of where they are valid, as bool (floating ones count from 0.5).

    Args:
        masks: (B, K, H, W). images: B. concepts: K.
        valid: (B, H, W), positions that are labelled; all when None.

    Raises:
        InputError: shapes do not fit.
    """
    if masks.ndim != 4 or tuple(masks.shape[:2]) != (images, concepts):
        raise InputError(f"masks must be ({images}, {concepts}, H, W), got {tuple(masks.shape)}")
    masks = masks if masks.dtype == torch.bool else masks >= 0.5
    if valid is None:
        return masks, None
    if tuple(valid.shape) != (images, *masks.shape[2:]):
        raise InputError(f"valid must be {(images, *masks.shape[2:])}, got {tuple(valid.shape)}")
    valid = valid if valid.dtype == torch.bool else valid >= 0.5
    return masks & valid[:, None], valid


def area_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Share of each cell of a grid that masks cover.

    Args:
        masks: (B, K, H, W) bool.
        size: (h, w) of the grid, which must divide H and W.

    Returns:
        (B, K, h, w) float32.

    >>> area_masks(torch.tensor([[[[True, False], [True, True]]]]), (1, 1)).item()
    0.75
    """
    if masks.ndim != 4 or masks.dtype != torch.bool:
        raise InputError(f"masks must be bool (B, K, H, W), got {masks.dtype} {tuple(masks.shape)}")
    (height, width), (h, w) = masks.shape[2:], size
    if height % h or width % w:
        raise InputError(f"a grid of {h}x{w} does not divide masks of {height}x{width}: resize them first")
    shares = torch.zeros(*masks.shape[:2], h, w, device=masks.device)
    some = contains(masks)  # most images lack most concepts
    if bool(some.any()):
        shares[some] = functional.avg_pool2d(masks[some].float(), (height // h, width // w))
    return shares


def _check_mode(mode: str, of: Tensor, size: tuple[int, int], what: str) -> None:
    (height, width), (h, w) = of.shape[-2:], size
    if mode not in ("area", "nearest"):
        raise InputError(f"unknown mode {mode!r}: use 'area' or 'nearest'")
    if mode == "area" and (h > height or w > width):
        raise InputError(f"grid {h}x{w} is finer than the {what} {height}x{width}: use mode 'nearest'")


def _centres(size: int, to: int, device: torch.device) -> Tensor:
    """(to,) index of the pixel at the centre of each cell."""
    return ((torch.arange(to, device=device) + 0.5) * size / to).long()


def grid_masks(
    masks: Tensor, size: tuple[int, int], valid: Tensor | None = None, mode: str = "area"
) -> tuple[Tensor, Tensor]:
    """Masks at full size brought to a grid, as `concept_masks` does with labels; masks may overlap.

    Args:
        masks: (B, K, H, W) bool.
        size, mode: as for `concept_masks`, as is what is returned.
        valid: (B, H, W) bool, pixels where the concepts are known; all when None.

    Raises:
        InputError: shapes do not fit, unknown mode, or a grid finer than the masks in "area".

    >>> masks, valid = grid_masks(torch.tensor([[[[True, False], [True, True]]]]), (1, 1))
    >>> masks.item(), valid.item()
    (0.75, 1.0)
    """
    if masks.ndim != 4 or masks.dtype != torch.bool:
        raise InputError(f"masks must be bool (B, K, H, W), got {masks.dtype} {tuple(masks.shape)}")
    valid = torch.ones_like(masks[:, 0]) if valid is None else valid
    if valid.dtype != torch.bool or tuple(valid.shape) != (len(masks), *masks.shape[2:]):
        raise InputError(f"valid must be bool {(len(masks), *masks.shape[2:])}, got {valid.dtype} {tuple(valid.shape)}")
    (height, width), (h, w), device = masks.shape[2:], size, masks.device
    _check_mode(mode, masks, size, "masks")
    masks = masks & valid[:, None]
    if mode == "nearest":
        y, x = _centres(height, h, device)[:, None], _centres(width, w, device)
        return masks[:, :, y, x], valid[:, y, x]
    both = torch.cat([masks, valid[:, None]], 1).float()
    rows, columns = torch.arange(height, device=device) * h // height, torch.arange(width, device=device) * w // width
    sums = torch.zeros(*both.shape[:2], h, width, device=device).index_add_(2, rows, both)
    sums = torch.zeros(*both.shape[:2], h, w, device=device).index_add_(3, columns, sums)
    sums /= torch.outer(torch.bincount(rows, minlength=h), torch.bincount(columns, minlength=w))
    return sums[:, :-1], sums[:, -1]


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
    _check_mode(mode, labels, size, "labels")
    known = labels != ignore_index
    wrong = labels[known & ((labels < 0) | (labels >= num_classes))]
    if wrong.numel():
        may = f"(valid 0 .. {num_classes - 1}, ignore {ignore_index})"
        raise InputError(f"labels out of range: {int(wrong[0])} with {num_classes} classes {may}")
    labels = torch.where(known, labels, num_classes)
    if mode == "nearest":
        small = labels[:, _centres(height, h, labels.device)[:, None], _centres(width, w, labels.device)]
        masks = small[:, None] == torch.arange(num_classes, device=labels.device)[:, None, None]
        return masks, small < num_classes
    rows, columns = torch.arange(height, device=labels.device), torch.arange(width, device=labels.device)
    cell = (rows * h // height)[:, None] * w + columns * w // width
    k = num_classes + 1
    place = (torch.arange(b, device=labels.device)[:, None, None] * (h * w) + cell) * k + labels
    counts = torch.bincount(place.flatten(), minlength=b * h * w * k).view(b, h, w, k).float()
    share = counts / counts.sum(-1, keepdim=True)
    return share[..., :num_classes].permute(0, 3, 1, 2).contiguous(), 1 - share[..., num_classes]
