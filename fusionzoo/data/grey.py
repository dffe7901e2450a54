"""Depth as a grey picture, as DFormer and DFormerv2 are fed: stretched over each image, then a fixed curve.

    s = (d - near) / (far - near)    near, far: the nearest and the farthest measured pixel of the image
    grey = floor(curve(s)),          curve: linear between nine values of ColorBrewer's "Greys", black to white

The curve is matplotlib's "Greys_r" (read off at 9 points; its own table has 256 entries, so values can differ by 1).
The metric scale of the scene is lost, and one far pixel darkens all others. Missing depth becomes black; the originals'
images have none, their depth was filled in.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from fusionzoo.data.base import Sample, Wrapper
from fusionzoo.errors import InputError

__all__ = ["CURVE", "WithGrey", "grey"]

CURVE = (0.0, 37.0, 82.0, 115.0, 150.0, 189.0, 217.0, 240.0, 255.0)
"""Grey at 0, 1/8, ... 1 of the stretched depth."""


def grey(depth: Tensor) -> Tensor:
    """Metres (1, H, W); 0, NaN and infinity = missing -> uint8 (1, H, W). An image of one depth, or of none, is black.

    Raises:
        InputError: not one channel.

    >>> grey(torch.tensor([[[1.0, 2.0, 3.0, 0.0]]])).tolist()
    [[[0, 150, 255, 0]]]
    """
    if depth.ndim != 3 or depth.shape[0] != 1:
        raise InputError(f"depth has shape {tuple(depth.shape)}, wanted (1, H, W)")
    measured = (depth > 0) & torch.isfinite(depth)
    if not bool(measured.any()):
        return torch.zeros_like(depth, dtype=torch.uint8)
    values = depth[measured]
    near, far = values.min(), values.max()
    depth = torch.where(measured, depth, near)
    share = ((depth - near) / (far - near).clamp(min=1e-6)).clamp(0, 1) * (len(CURVE) - 1)
    curve = torch.tensor(CURVE, dtype=depth.dtype, device=depth.device)
    below = share.floor().long().clamp(max=len(CURVE) - 2)
    out = torch.lerp(curve[below], curve[below + 1], share - below)
    return (out * measured).floor().to(torch.uint8)


class WithGrey(Wrapper):
    """`dataset` (of kind depth) with x as grey: float32 (1, H, W) of 0..255."""

    x_kind = "grey"
    x_channels = 1

    def __init__(self, dataset: Any) -> None:
        if dataset.x_kind != "depth":
            raise InputError(f"a grey picture is made from depth, but x of {dataset.name} is {dataset.x_kind}")
        self.dataset = dataset

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[index]
        x = sample["x"]
        if getattr(self.dataset, "empty_depth", "error") == "keep" and not bool(((x > 0) & torch.isfinite(x)).any()):
            return {**sample, "x": torch.full_like(x, math.nan)}  # missing, which black is not
        return {**sample, "x": grey(x).float()}

    def describe(self) -> dict[str, Any]:
        return {**self.dataset.describe(), "x_kind": self.x_kind, "x_channels": self.x_channels}
