"""ShaSpec's rule: one shared encoder for all modalities, one specific encoder each, one composition for all.

Paper: Wang et al., "Multi-modal Learning with Missing Modality via Shared-Specific Feature Modelling", CVPR 2023, arXiv
2307.14126. Origin: github.com/billhhh/ShaSpec (no licence was found); composition and losses are the paper's, written
here from the equations. As a block (ours) the encoders are one 1x1 convolution with batch norm and ReLU each, and
`fused` is the mean of the composed features, so that C stays C.

    s_m = S(m), S shared;  p_m = P_m(m), private
    f_m = s_m + conv3x3_nb [s_m; p_m]                    2C -> C, the same layer for every modality
    fused = (f_rgb + f_x) / 2
    losses: 0.1 |s_rgb - s_x| (mean, once for each of the ring's two steps) + 0.02 cross-entropy of a linear classifier
            that names the modality from GAP p_m

Parameters 21 C^2 + 8 C + 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion._parts import probe_pair
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["ShaSpec"]


def _encoder(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())


@fusions.register("shaspec")
class ShaSpec(FusionBlock):
    """Shared and specific features of each modality, composed by one layer.

    >>> sum(p.numel() for p in ShaSpec(8).parameters()) == 21 * 8**2 + 8 * 8 + 2
    True
    """

    family = "hybrid"
    paper = "composition and losses: Wang et al., ShaSpec (CVPR 2023), arXiv 2307.14126; block ours"
    licence = "MIT (ours, from the equations); original: no licence found"
    loss_probes = ("shared_rgb", "shared_x", "specific_rgb", "specific_x")
    loss_factors = MappingProxyType({"shared": 1.0, "specific": 1.0})

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        self.share = _encoder(channels)
        self.specify_rgb = _encoder(channels)
        self.specify_x = _encoder(channels)
        self.compose = nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.name = nn.Linear(channels, 2)
        both, own = "by the encoder that both modalities share", "by the modality's own encoder"
        composed = "shared feature with what the composition adds"
        self.shared_rgb, self.shared_x = probe_pair(channels, "consistent", both, low=0.0)
        self.specific_rgb, self.specific_x = probe_pair(channels, "specific", own, low=0.0)
        self.composed_rgb, self.composed_x = probe_pair(channels, "composed", composed)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        s_rgb, s_x = self.shared_rgb(self.share(rgb)), self.shared_x(self.share(x))
        p_rgb, p_x = self.specific_rgb(self.specify_rgb(rgb)), self.specific_x(self.specify_x(x))
        f_rgb = self.composed_rgb(s_rgb + self.compose(torch.cat([s_rgb, p_rgb], dim=1)))
        f_x = self.composed_x(s_x + self.compose(torch.cat([s_x, p_x], dim=1)))
        return Fused(rgb, x, (f_rgb + f_x) / 2)

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """shared: both shared features alike; specific: the modality can be told from the specific one. Weighed."""
        apart = 2 * (seen["shared_rgb"] - seen["shared_x"]).float().abs().mean()
        pooled = torch.cat([seen["specific_rgb"].float().mean((2, 3)), seen["specific_x"].float().mean((2, 3))])
        names = torch.arange(2, device=pooled.device).repeat_interleave(pooled.shape[0] // 2)
        told = F.cross_entropy(F.linear(pooled, self.name.weight.float(), self.name.bias.float()), names)
        return {"shared": 0.1 * apart, "specific": 0.02 * told}
