"""Modality dropout: a training image loses one of its modalities, so that the model learns to do without."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["drop_modality"]


def drop_modality(rgb: Tensor, x: Tensor, probability: float, draw: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Zeros, the declared substitute, for rgb or for x (evenly) in a share `probability` of the images; never both.

    Args:
        rgb: (B, 3, H, W), normalised. x: (B, Cx, H, W), normalised.
        draw: (B,) numbers in [0, 1) that decide; None: drawn here.

    >>> rgb, x = drop_modality(torch.ones(400, 3, 1, 1), torch.ones(400, 1, 1, 1), 1.0)
    >>> bool(((rgb.amax((1, 2, 3)) + x.amax((1, 2, 3))) == 1).all())
    True
    """
    draw = (torch.rand(rgb.shape[0]) if draw is None else draw).to(rgb.device).view(-1, 1, 1, 1)
    return rgb.masked_fill(draw < probability / 2, 0.0), x.masked_fill(draw > 1 - probability / 2, 0.0)
