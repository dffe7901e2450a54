"""A few fixed validation images, shown at each validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusionzoo.models import FusionModel, predict_labels
from fusionzoo.models.labels import evaluating

__all__ = ["Show", "show_images"]

COUNT = 4

Show = Callable[[int, str, np.ndarray, np.ndarray, np.ndarray, Sequence[str]], None]
"""Called with the epoch (from 1), the image's id, its rgb (h, w, 3) uint8, its label (255: unlabelled) and the
prediction, both (H, W) uint8, and the names of the classes."""


def show_images(model: FusionModel, val: Any, epoch: int, show: Show) -> None:
    """Calls `show` for `COUNT` images, evenly spaced in `val`, with what `model` makes of them in eval mode."""
    device, count = next(model.parameters()).device, min(COUNT, len(val))
    with evaluating(model):
        for i in range(count):
            sample = val[i * len(val) // count]
            inputs = model.preprocess(sample["rgb"][None].to(device), sample["x"][None].to(device))
            found = predict_labels(model(*inputs).float(), sample["label"].shape[-2:])[0]
            rgb, label = sample["rgb"].permute(1, 2, 0).numpy(), sample["label"].numpy().astype(np.uint8)
            show(epoch, str(sample["id"]), rgb, label, found.cpu().numpy().astype(np.uint8), model.class_names)
