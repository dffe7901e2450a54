"""MFNet's fusion: concatenation of both features, with convolution, batch norm and leaky ReLU.

Paper: Ha et al., "MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles with Multi-Spectral Scenes",
IROS 2017. The PyTorch port (github.com/haqishen/MFNet-pytorch) states no licence; written here from the equation.

    fused = LeakyReLU_0.2(BN(conv3x3 [rgb; x]))

In the original both features are concatenated as skips (added to the decoder's maps) and at the bottleneck, and the
decoder's convolution follows; as a strategy (ours) that convolution stands here, so that `fused` has C channels.
Parameters 18 C^2 + 3 C.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["MFNet"]


@fusions.register("mfnet")
class MFNet(FusionBlock):
    """Concatenation and one 3x3 convolution.

    >>> sum(p.numel() for p in MFNet(8).parameters()) == 18 * 8**2 + 3 * 8
    True
    """

    family = "concat"
    paper = "Ha et al., MFNet (IROS 2017)"
    licence = "MIT (ours, from the equation); PyTorch port: no licence stated"

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        self.join = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.joined = Probe(
            channels, role="joined", modality="fused", meaning="normalised output before the leaky ReLU"
        )

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        joined = self.joined(self.norm(self.join(torch.cat([rgb, x], dim=1))))
        return Fused(rgb, x, F.leaky_relu(joined, 0.2))
