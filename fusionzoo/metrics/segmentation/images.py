"""Pixel accuracy of every single image, from exact integer counts: which images go well, and which do not."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates, at_least_one, int_state

__all__ = ["ImageAccuracy"]


class ImageAccuracy(Accumulator):
    """Counts right and labelled pixels of each of a known number of images.

    Args:
        images: how many there are in all; state is images x 2.
        ignore_index: label that is left out.

    >>> found = ImageAccuracy(3)
    >>> found.update(torch.tensor([[[0, 1], [1, 1]]]), torch.tensor([[[0, 1], [0, 255]]]), [2])
    >>> found.compute()
    tensor([   nan,    nan, 0.6667], dtype=torch.float64)
    """

    info = MetricInfo(
        name="pixel accuracy of an image", low=0.0, high=1.0, larger_is="better",
        invariant_to=("permutation of classes",), cost="state images x 2 integers; O(pixels)",
        source="share of labelled pixels that are right",
    )  # fmt: skip
    choices = ("images", "ignore_index")

    def __init__(self, images: int, ignore_index: int = 255) -> None:
        super().__init__()
        at_least_one(images=images)
        self.images, self.ignore_index = images, ignore_index
        self._state = int_state(counts=(images, 2))

    @accumulates
    def update(self, pred: Tensor, target: Tensor, places: Sequence[int]) -> None:
        """Adds a batch.

        Args:
            pred, target: (B, H, W) integer classes. places: number of each image, 0 .. images-1.

        Raises:
            InputError: shapes that differ, or a number that is out of range.
        """
        if pred.shape != target.shape or pred.ndim != 3 or len(places) != len(pred):
            raise InputError(
                f"predictions {tuple(pred.shape)}, labels {tuple(target.shape)} and {len(places)} numbers of images:"
                " wanted (B, H, W) twice, and B numbers"
            )
        if len(places) and not 0 <= min(places) <= max(places) < self.images:
            raise InputError(f"image {max(places, key=abs)} is out of range, there are {self.images}")
        known = target != self.ignore_index
        found = torch.stack([(known & (pred == target)).sum((1, 2)), known.sum((1, 2))], dim=1)  # (B, 2)
        index = torch.as_tensor(places, dtype=torch.int64, device=found.device)
        self._state["counts"].index_add_(0, index, found)

    def compute(self) -> Tensor:
        """(images,) float64; NaN for images without a labelled pixel, or not seen."""
        counts = self._state["counts"].cpu().double()
        return counts[:, 0] / counts[:, 1]
