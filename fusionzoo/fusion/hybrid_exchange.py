"""Hybrid by exchange: concatenation, and each stream receives through a bottleneck what the other one has. Ours.

    fused = ReLU(BN(W [rgb; x] + W_q q)),   q = (A rgb) * (B x)           q of R channels: what only both together say
    rgb'  = rgb + Z_rgb ReLU(BN(D_x x)),    x' = x + Z_x ReLU(BN(D_rgb rgb))

D narrows to C / 4 channels; Z starts near zero, so that training begins with `concat` and two encoders as they were
pretrained, and opens the exchange only where it helps. After the last stage nothing is exchanged. The product is left
out with rank 0. Parameters 3 C^2 + 3 C, with the product 3 R C more.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.fusion._parts import probe_pair, reduced
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["HybridExchange", "ResidualExchange"]


START = 0.02
"""Size of what is exchanged before training, beside features of unit variance."""


class ResidualExchange(nn.Module):
    """Z ReLU(BN(D v)): what one stream gives the other, a fiftieth of unit variance at the start.

    >>> float(ResidualExchange(64, 64)(torch.randn(2, 64, 8, 8)).std().detach()) < 0.03
    True
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = reduced(out_channels, 4, 4)
        self.narrow = nn.Conv2d(in_channels, hidden, 1, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.widen = nn.Conv2d(hidden, out_channels, 1, bias=False)
        nn.init.normal_(self.widen.weight, std=START * hidden**-0.5)

    def forward(self, given: Tensor) -> Tensor:
        out: Tensor = self.widen(self.norm(self.narrow(given)).relu())
        return out


@fusions.register("hybrid_exchange")
class HybridExchange(FusionBlock):
    """Concatenation with an exchange between the streams that starts near zero.

    Args:
        channels: C.
        rank: R of the product of both; 0 leaves it out.

    >>> block = HybridExchange(16, rank=4)
    >>> block(torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)).fused.shape
    torch.Size([2, 16, 4, 4])
    """

    interaction = "exchange"
    family = "hybrid"
    rectified = ("fused",)

    def __init__(self, channels: int, *, rank: int = 0, **place: int) -> None:
        super().__init__(channels, **place)
        self.join = nn.Conv2d(2 * channels + rank, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.give_rgb = ResidualExchange(channels, channels) if self.level < self.depth else None
        self.give_x = ResidualExchange(channels, channels) if self.level < self.depth else None
        self.factor_rgb = nn.Conv2d(channels, rank, 1, bias=False) if rank else None
        self.factor_x = nn.Conv2d(channels, rank, 1, bias=False) if rank else None
        if self.level < self.depth:
            told = "what RGB gives to the x stream", "what x gives to the RGB stream"
            self.given_rgb, self.given_x = probe_pair(channels, "residual", *told)
        if rank:
            self.product = Probe(rank, role="product", modality="fused", meaning="what only both together say")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        parts = [rgb, x]
        if self.factor_rgb is not None and self.factor_x is not None:
            parts.append(self.product(self.factor_rgb(rgb) * self.factor_x(x)))
        fused = self.norm(self.join(torch.cat(parts, dim=1))).relu()
        if self.give_rgb is not None and self.give_x is not None:
            rgb, x = rgb + self.given_x(self.give_x(x)), x + self.given_rgb(self.give_rgb(rgb))
        return Fused(rgb, x, fused)
