"""Addition into the RGB stream: rgb' = fused = rgb + x, x stays pure. The rule of FuseNet, RedNet and RTFNet.

FuseNet: Hazirbas et al., "FuseNet: Incorporating Depth into Semantic Segmentation via Fusion-based CNN Architecture",
ACCV 2016. RedNet: Jiang et al., "RedNet: Residual Encoder-Decoder Network for Indoor RGB-D Semantic Segmentation",
2018, arXiv 1806.01054; origin github.com/JindongJiang/RedNet (CC BY-NC 4.0). RTFNet: Sun et al., "RTFNet: RGB-Thermal
Fusion Network for Semantic Segmentation of Urban Scenes", IEEE RA-L 2019; origin github.com/yuxiangsun/RTFNet (MIT).
Written here from the equation; no parameters.

The three differ in encoder and decoder, not in this rule. RTFNet hands the last sum to its decoder alone.
"""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["FuseNet", "RTFNet", "RedNet"]


class _Addition(FusionBlock):
    """rgb' = fused = rgb + x."""

    interaction = "inject"
    family = "concat"

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        fused = rgb + x
        return Fused(fused, x, fused)


@fusions.register("fusenet")
class FuseNet(_Addition):
    """FuseNet's rule.

    >>> import torch
    >>> out = FuseNet(1)(torch.ones(1, 1, 1, 1), 2 * torch.ones(1, 1, 1, 1))
    >>> float(out.rgb), float(out.x), float(out.fused)
    (3.0, 2.0, 3.0)
    """

    paper = "Hazirbas et al., FuseNet (ACCV 2016)"
    licence = "MIT (ours, from the equation); original: BSD-2-Clause (Caffe), its changes GPL-3.0"


@fusions.register("rednet")
class RedNet(_Addition):
    """RedNet's rule."""

    paper = "Jiang et al., RedNet (2018), arXiv 1806.01054"
    licence = "MIT (ours, from the equation); original: CC BY-NC 4.0"


@fusions.register("rtfnet")
class RTFNet(_Addition):
    """RTFNet's rule."""

    paper = "Sun et al., RTFNet (RA-L 2019)"
    licence = "MIT (ours, from the equation); original: MIT"
