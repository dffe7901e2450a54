"""Concat: both features side by side, then a 1x1 projection back to C channels.

fused = ReLU(BN(W [rgb; x])), W of shape (C, 2C). Parameters 2 C^2 + 2 C. The plain baseline that any other strategy has
to beat.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions


@fusions.register("concat")
class Concat(FusionBlock):
    """Concatenation and 1x1 projection.

    >>> block = Concat(8)
    >>> sum(p.numel() for p in block.parameters()) == 2 * 8**2 + 2 * 8
    True
    """

    family = "concat"
    rectified = ("fused",)

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        self.project = nn.Sequential(nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.projected = Probe(channels, role="projection", modality="fused", meaning="projection before the ReLU")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        both = torch.cat([rgb, x], dim=1)  # (B, 2C, H, W)
        return Fused(rgb, x, self.projected(self.project(both)).relu())
