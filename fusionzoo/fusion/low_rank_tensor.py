"""Low-rank tensor fusion: the outer product of both features, factorised, at every pixel.

Paper: Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL 2018, arXiv 1806.00064.
Written here from the equation.

    fused = sum_r w_r (U_r [rgb; 1]) * (V_r [x; 1]) + b          U_r, V_r: C + 1 -> C, r = 1 .. R

Equal to W . ([rgb; 1] outer [x; 1]) with W of rank R: every product of an RGB and an x channel, and either alone
through the appended 1. The paper fuses vectors; here every pixel is one. Parameters 2 R (C^2 + C) + R + C.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.fusion._parts import gate_init_
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["LowRankTensor"]


@fusions.register("low_rank_tensor")
class LowRankTensor(FusionBlock):
    """Low-rank bilinear fusion.

    Args:
        channels: C.
        rank: R.

    >>> sum(p.numel() for p in LowRankTensor(8, rank=4).parameters()) == 8 * (8**2 + 8) + 4 + 8
    True
    """

    family = "cross-modal"
    paper = "Liu et al., LMF (ACL 2018), arXiv 1806.00064"
    licence = "MIT (ours, from the equation)"

    def __init__(self, channels: int, *, rank: int = 4, **place: int) -> None:
        super().__init__(channels, **place)
        self.rank = rank
        self.factor_rgb = nn.Conv2d(channels, rank * channels, 1)
        self.factor_x = nn.Conv2d(channels, rank * channels, 1)
        gate_init_(self.factor_rgb, self.factor_x)
        for layer in (self.factor_rgb, self.factor_x):  # the appended 1 starts at 1: either modality passes alone
            nn.init.ones_(layer.bias)  # type: ignore[arg-type]
        self.weight = nn.Parameter(torch.full((rank,), rank**-0.5))
        self.bias = nn.Parameter(torch.zeros(channels))
        told = "both projections multiplied, by rank"
        self.product = Probe(None, role="product", modality="fused", meaning=told, axes="B ranks channels H W")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        left = self.factor_rgb(rgb).unflatten(1, (self.rank, -1))  # (B, R, C, H, W)
        right = self.factor_x(x).unflatten(1, (self.rank, -1))
        fused = torch.einsum("brchw,r->bchw", self.product(left * right), self.weight) + self.bias.view(-1, 1, 1)
        return Fused(rgb, x, fused)
