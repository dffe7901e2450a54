"""Where the concept masks of a batch come from: its labels, or masks that its samples carry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.data import WithGeometry
from fusionzoo.data.geometry import GEOMETRY
from fusionzoo.errors import InputError, check_known
from fusionzoo.metrics import concept_masks
from fusionzoo.metrics.concepts.masks import grid_masks
from fusionzoo.probes.point import bare

__all__ = ["SOURCES", "Source", "concept_data", "extent_of", "inside", "plain_data"]

SOURCES = ("labels", "geometry", "masks")
"""What concepts are: the classes of the labels; what geometry and colour show; masks that samples carry."""

EDGES = tuple(name for name in GEOMETRY if name.endswith("_edge"))


def concept_data(data: Any, concepts: str) -> tuple[Any, list[str]]:
    """The data whose samples show the concepts, and their names.

    Args:
        data: a dataset. For "geometry", `WithGeometry(dataset, camera, ...)` chooses the concepts; any other gets those
            that need no camera, the edges.
        concepts: one of SOURCES.

    Raises:
        UnknownNameError: another source. InputError: "masks" of data whose samples carry none.
    """
    check_known("source of concepts", concepts, SOURCES)
    if concepts == "labels":
        return data, list(data.class_names)
    if concepts == "geometry" and not _shows_geometry(data):
        data = WithGeometry(data, None, EDGES)
    names = getattr(data, "mask_names", None)
    if not names:
        needs = "samples with masks (K, H, W) and masks_valid (H, W), and mask_names"
        raise InputError(f'{data.name} carries no masks: concepts "masks" needs {needs}')
    return data, list(names)


def _shows_geometry(data: Any) -> bool:
    """Whether the data, or what it is a part of, is a `WithGeometry`."""
    return isinstance(data, WithGeometry) or (hasattr(data, "dataset") and _shows_geometry(data.dataset))


def plain_data(data: Any) -> Any:
    """The same samples without masks that cost work to make."""
    return data.dataset if isinstance(data, WithGeometry) else data


def extent_of(model: nn.Module, size: Sequence[int]) -> tuple[float, float]:
    """Height and width of what the maps of a model cover, over those (H, W) of its input, which it pads below and to
    the right to multiples of its stride.

    >>> from fusionzoo import create_model
    >>> extent_of(create_model("sum_mobilenetv1-025_fpn", num_classes=2), (120, 160))
    (1.0666666666666667, 1.0)
    """
    stride = int(getattr(bare(model), "stride", 1))
    height, width = ((n + -n % stride) / n for n in size)
    return height, width


def inside(maps: Tensor, extent: tuple[float, float]) -> Tensor:
    """Of maps (B, C, H, W) the rows and columns whose middles lie in the image, without those of the padding.

    Rows (N, C) stay as they are.

    >>> inside(torch.zeros(1, 2, 8, 10), (128 / 120, 1.0)).shape  # an image of 120 rows, padded to 128
    torch.Size([1, 2, 7, 10])
    """
    if maps.ndim < 4:
        return maps
    height, width = (max(1, math.ceil(n / more - 0.5 - 1e-6)) for n, more in zip(maps.shape[-2:], extent, strict=True))
    return maps[..., :height, :width]


def _below_and_right(value: Tensor, extent: tuple[float, float], fill: int) -> Tensor:
    """(..., H, W), longer by `extent`."""
    height, width = value.shape[-2:]
    more = (0, round(width * extent[1]) - width, 0, round(height * extent[0]) - height)
    return F.pad(value, more, value=fill) if any(more) else value


class Source:
    """Concept masks of one batch, on any grid, made once for each.

    Args:
        batch: as `fusionzoo.data.collate` makes it; with `masks`, a list of bool (K, H, W), and `masks_valid`, of bool
            (H, W), where the concepts are not the labels.
        device: of the features.
        num_classes, ignore_index: of the labels.
        concepts: number of masks; None: the classes are the concepts.
        extent: height and width of what the model's maps cover, in those of the image (`extent_of`); where they cover
            more, nothing is labelled.
    """

    def __init__(
        self,
        batch: dict[str, Any],
        device: torch.device,
        num_classes: int,
        ignore_index: int = 255,
        concepts: int | None = None,
        extent: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self.extent = extent
        self.label = _below_and_right(batch["label"].to(device), extent, ignore_index)
        self.masks: Tensor | None = None
        if concepts is not None and "masks" in batch:
            self.masks = torch.stack([torch.as_tensor(m) for m in batch["masks"]]).to(device)
            self.valid = torch.stack([torch.as_tensor(v) for v in batch["masks_valid"]]).to(device)
            if self.masks.shape[1] != concepts or self.masks.dtype != torch.bool:
                text = f"masks of {batch['id'][0]} are {self.masks.dtype} {tuple(self.masks.shape[1:])}"
                raise InputError(f"{text}, wanted bool ({concepts}, H, W)")
            self.masks, self.valid = (_below_and_right(v, extent, 0) for v in (self.masks, self.valid))
        self._made: dict[tuple[str, tuple[int, int]], tuple[Tensor, Tensor]] = {}

    def on(self, mode: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Masks (B, K, h, w) and validity (B, h, w) on a grid.

        Args:
            mode: "area", shares of a cell, or "nearest", bool at the cells' centres.
        """
        fine = self.label.shape[-2:] if self.masks is None else self.masks.shape[-2:]
        if mode == "area" and any(a > b for a, b in zip(size, fine, strict=True)):
            mode = "nearest"  # maps finer than the masks: each cell lies within one pixel
        if (mode, size) not in self._made:
            self._made[mode, size] = (
                concept_masks(self.label, self.num_classes, size, self.ignore_index, mode)
                if self.masks is None
                else grid_masks(self.masks, size, self.valid, mode)
            )
        return self._made[mode, size]
