"""Shared and specific attentive fusion in the manner of XMSNet: weigh each modality by proportion, region and pattern.

Paper: Wu et al., "Object Segmentation by Mining Cross-Modal Semantics", ACM MM 2023, arXiv 2305.10469, which names
what its fusion adjusts: the proportion of each modality, the regions and the patterns (channels) it is trusted in, with
shared and specific parts held apart. The EQUATIONS HERE ARE OURS, built from those words alone; they make no claim to
equal the original's.

    shared     s   = P(rgb * x)                                what both respond to; P 1x1 convolution, batch norm, ReLU
    proportion a   = softmax over modalities of u . GAP [m; m * s]                  (B, 2), u shared by both
    region     r_m = sigmoid(conv7x7 [mean_c m; max_c m])                           (B, 1, H, W), per modality
    pattern    c_m = sigmoid(W2 ReLU(W1 [GAP m; GMP m]))                            (B, C, 1, 1), per modality
    specific   p_m = 2 a_m r_m c_m m
    fused      = ReLU(BN(conv1x1 [s; p_rgb; p_x]))
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.fusion._parts import Squeeze, gate_init_, gate_probe, reduced, share_probe
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["XMSNet"]


class _Specific(nn.Module):
    """Region and pattern of one modality."""

    def __init__(self, channels: int, modality: str) -> None:
        super().__init__()
        self.locate = nn.Conv2d(2, 1, 7, padding=3)
        gate_init_(self.locate)
        self.excite = Squeeze(2 * channels, reduced(channels, 16, 4), channels)
        self.region = gate_probe(1, modality, "where it is trusted")
        self.pattern = gate_probe(channels, modality, "the channels it is trusted in", "B C 1 1")
        self.specific = Probe(channels, role="specific", modality=modality, meaning="what it adds of its own")

    def forward(self, m: Tensor, share: Tensor) -> Tensor:
        region = self.region(self.locate(torch.cat([m.mean(1, True), m.amax(1, True)], dim=1)).sigmoid())
        pooled = torch.cat([m.mean((2, 3), keepdim=True), m.amax((2, 3), keepdim=True)], dim=1)
        pattern = self.pattern(self.excite(pooled).sigmoid())
        return self.specific(2 * share[:, :, None, None] * region * pattern * m)


@fusions.register("xmsnet")
class XMSNet(FusionBlock):
    """Shared product, and each modality's own part weighed by proportion, region and pattern."""

    family = "hybrid"
    paper = "idea: Wu et al., XMSNet (ACM MM 2023), arXiv 2305.10469; equations ours"
    licence = "MIT (ours)"
    rectified = ("fused",)

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        self.common = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.weigh = nn.Linear(2 * channels, 1, bias=False)  # a bias would cancel in the softmax
        gate_init_(self.weigh)
        self.rgb = _Specific(channels, "rgb")
        self.x = _Specific(channels, "x")
        self.join = nn.Sequential(nn.Conv2d(3 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.shared = Probe(channels, role="consistent", modality="fused", meaning="what both respond to", low=0.0)
        self.proportion = share_probe(2, "share of RGB (0) and of x (1) for the image", "B 2")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        shared = self.shared(self.common(rgb * x))
        scores = [self.weigh(torch.cat([m.mean((2, 3)), (m * shared).mean((2, 3))], dim=1)) for m in (rgb, x)]
        share_rgb, share_x = self.proportion(torch.cat(scores, dim=1).softmax(dim=1)).split(1, dim=1)  # (B, 1) each
        parts = [shared, self.rgb(rgb, share_rgb), self.x(x, share_x)]
        return Fused(rgb, x, self.join(torch.cat(parts, dim=1)).relu())
