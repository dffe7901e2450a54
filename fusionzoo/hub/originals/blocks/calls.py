"""How several originals are called: two maps or one stacked map in, class scores out, perhaps at the input size."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from fusionzoo.models import FusionModel

__all__ = ["at_input_size", "plain", "stacked"]


def plain(model: FusionModel, rgb: Tensor, x: Tensor) -> Tensor:
    """The call of originals that take (rgb, x) and return class scores."""
    return model.scores(rgb, x)


def stacked(model: FusionModel, image: Tensor) -> Tensor:
    """The call of originals that take both modalities as one tensor, RGB first."""
    return model.scores(image[:, :3], image[:, 3:])


def at_input_size(model: FusionModel, rgb: Tensor, *others: Tensor) -> Tensor:
    """Class scores, enlarged to the size of `rgb` as the originals do; the other modalities one by one."""
    x = torch.cat(others, dim=1) if others else rgb
    return interpolate(model.scores(rgb, x), size=rgb.shape[-2:], mode="bilinear", align_corners=False)
