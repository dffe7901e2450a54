"""Modality dropout: a training image loses one of its modalities, so that the model learns to do without."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionzoo.modalities import Part

__all__ = ["drop_modality"]


def drop_modality(
    rgb: Tensor, x: Tensor, probability: float, draw: Tensor | None = None, parts: Sequence[Part] = ()
) -> tuple[Tensor, Tensor]:
    """Zeros, the declared substitute, for rgb or for x (evenly) in a share `probability` of the images; never both.

    Args:
        rgb: (B, 3, H, W), normalised. x: (B, Cx, H, W), normalised.
        draw: (B,) numbers in [0, 1) that decide; None: drawn here.
        parts: the modalities in x; of several rgb or one of them is lost (evenly).

    >>> rgb, x = drop_modality(torch.ones(400, 3, 1, 1), torch.ones(400, 1, 1, 1), 1.0)
    >>> bool(((rgb.amax((1, 2, 3)) + x.amax((1, 2, 3))) == 1).all())
    True
    """
    draw = (torch.rand(rgb.shape[0]) if draw is None else draw).to(rgb.device).view(-1, 1, 1, 1)
    if len(parts) < 2:
        return rgb.masked_fill(draw < probability / 2, 0.0), x.masked_fill(draw > 1 - probability / 2, 0.0)
    step = probability / (len(parts) + 1)
    gone = [(draw >= step * i) & (draw < step * (i + 1)) for i in range(len(parts) + 1)]
    kept = [part.of(x).masked_fill(lost, 0.0) for part, lost in zip(parts, gone[1:], strict=True)]
    return rgb.masked_fill(gone[0], 0.0), torch.cat(kept, dim=1)
