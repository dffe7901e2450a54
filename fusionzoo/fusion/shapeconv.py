"""ShapeConv: a convolution that learns how to weigh a patch's shape against its base.

Paper: Cao et al., "ShapeConv: Shape-aware Convolutional Layer for Indoor RGB-D Semantic Segmentation", ICCV 2021,
arXiv 2108.10528. Origin: github.com/hanchaoleng/ShapeConv (Apache-2.0); written here from the equations.

    W in R^{O x I x S}, S = k^2;  base = mean over S of W,  shape = W - base
    W'_oim = sum_s (M_ims + delta_ms) shape_ois + b * base_oi       M (I, S, S) starts at 0, b at 1: so W' = W
    y = conv(x, W') + bias

A 1x1 kernel has no shape: then this is a plain convolution. For inference W' can be folded into W (`folded_weight`);
nothing here does so behind the caller's back, while the original folds on the first load in eval mode.
Parameters over a plain convolution: I k^4 + 1. `stored_identity`, which only the port sets: the original keeps delta
as a frozen parameter of I k^4.

In the original every convolution of an early-fusion network on 6 channels (RGB and HHA) is of this kind. As a strategy
(ours): fused = ReLU(BN(ShapeConv3x3 [rgb; x])).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["ShapeConv", "ShapeConv2d"]


class ShapeConv2d(nn.Conv2d):
    """Conv2d (square kernel, one group) with the weight W' above.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, bias: as of Conv2d.
        stored_identity: keep the identity as a frozen parameter.

    >>> sum(p.numel() for p in ShapeConv2d(6, 16, 3, padding=1).parameters() if p.requires_grad)
    1367
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        bias: bool = True,
        stored_identity: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias)
        self.positions = kernel_size * kernel_size
        if self.positions > 1:
            self.shape = nn.Parameter(torch.zeros(in_channels, self.positions, self.positions))
            self.base = nn.Parameter(torch.ones(1))
            if stored_identity:
                identity = torch.eye(self.positions).repeat(in_channels, 1, 1)
                self.identity = nn.Parameter(identity, requires_grad=False)

    def folded_weight(self) -> Tensor:
        """W' (O, I, k, k): a plain convolution with it gives the same."""
        if self.positions == 1:
            return self.weight
        if hasattr(self, "identity"):
            matrix = self.shape + self.identity
        else:
            matrix = self.shape + torch.eye(self.positions, dtype=self.shape.dtype, device=self.shape.device)
        # (M + delta) (w - mean w) + b mean w, as one matrix per input channel: W is read once
        matrix = matrix + (self.base / self.positions - matrix.mean(dim=2, keepdim=True))
        return torch.einsum("ims,ois->oim", matrix, self.weight.flatten(2)).view_as(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.folded_weight(), self.bias, self.stride, self.padding, self.dilation)


@fusions.register("shapeconv")
class ShapeConv(FusionBlock):
    """Concatenation, then a shape-aware 3x3 convolution back to C channels.

    >>> sum(p.numel() for p in ShapeConv(8).parameters()) == 18 * 8**2 + 162 * 8 + 1 + 2 * 8
    True
    """

    family = "concat"
    paper = "Cao et al., ShapeConv (ICCV 2021), arXiv 2108.10528, for the layer"
    licence = "MIT (ours, from the equations); original: Apache-2.0"
    rectified = ("fused",)

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        self.join = ShapeConv2d(2 * channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.joined = Probe(channels, role="joined", modality="fused", meaning="normalised output before the ReLU")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        return Fused(rgb, x, self.joined(self.norm(self.join(torch.cat([rgb, x], dim=1)))).relu())
