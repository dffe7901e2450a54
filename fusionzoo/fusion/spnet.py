"""SPNet: cross-enhanced integration (CIM) and multi-modal feature aggregation (MFA).

Paper: Zhou et al., "Specificity-preserving RGB-D Saliency Detection", ICCV 2021, arXiv 2108.08162. Origin:
github.com/taozh2017/SPNet, which states no licence; written here from the equations, no code taken. CBR is conv3x3 with
bias, batch norm, ReLU.

CIM:  r, d  = ReLU(conv1x1 rgb), ReLU(conv1x1 x)           (not in the first stage's form, CIM0)
      w_m   = sigmoid(conv3x3 m);  r1 = CBR(r + r * w_d),  d1 = CBR(d + d * w_r)      gates crossed
      f     = CBR([r1 * d1; max(r1, d1)]);   with a previous stage's p: f = CBR([f; p])
MFA:  out   = ReLU(f + BN(conv3x3 [f * rgb; f * x]))       f from the shared decoder, rgb, x from the specific ones

Parameters at width C: CIM0 54 C^2 + 11 C, MFA 18 C^2 + 3 C. The original also holds layers that nothing reads: `gamma1`
and `gamma2` in CIM (2 more), two 3x3 convolutions in MFA (18 C^2 + 2 C more); only the port sets `dead_parameters`. As
a strategy: CIM0 at every stage; `refine=True` adds an MFA of the fused feature with both streams (ours: the original's
MFA sits in the decoder).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import gate_init_, gate_probes, probe_pair
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["Aggregation", "CrossIntegration", "SPNet"]


def _cbr(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU())


class CrossIntegration(nn.Module):
    """CIM, or CIM0 where `in_channels` is None: (rgb, x[, previous]) -> fused (B, C, H, W).

    Args:
        channels: C of the outcome.
        in_channels: of both inputs, reduced to C by 1x1; None where they have C already and nothing is reduced (CIM0).
        previous: channels of the previous stage's feature, 0 where there is none; the original takes C // 2.
        dead_parameters: carry the original's unused `gamma1` and `gamma2`.

    >>> sum(p.numel() for p in CrossIntegration(64, dead_parameters=True).parameters())
    221890
    """

    def __init__(
        self, channels: int, in_channels: int | None = None, previous: int = 0, dead_parameters: bool = False
    ) -> None:
        super().__init__()
        self.reduces = in_channels is not None
        self.previous = previous
        if in_channels is not None:
            self.reduce_rgb = nn.Conv2d(in_channels, channels, 1)
            self.reduce_x = nn.Conv2d(in_channels, channels, 1)
        self.weigh_rgb = nn.Conv2d(channels, channels, 3, padding=1)
        self.weigh_x = nn.Conv2d(channels, channels, 3, padding=1)
        gate_init_(self.weigh_rgb, self.weigh_x)
        self.enhance_rgb = _cbr(channels, channels)
        self.enhance_x = _cbr(channels, channels)
        self.join = _cbr(2 * channels, channels)
        if previous:
            self.join_previous = _cbr(channels + previous, channels)
        if dead_parameters:
            self.gamma1 = nn.Parameter(torch.zeros(1))
            self.gamma2 = nn.Parameter(torch.zeros(1))
        told = "position-wise gate of {} that enhances {}"
        self.gate_rgb, self.gate_x = gate_probes(channels, told.format("RGB", "x"), told.format("x", "RGB"))
        told_rgb, told_x = "RGB after the gate of x", "x after the gate of RGB"
        self.enhanced_rgb, self.enhanced_x = probe_pair(channels, "enhanced", told_rgb, told_x, low=0.0)

    def forward(self, rgb: Tensor, x: Tensor, previous: Tensor | None = None) -> Tensor:
        if (previous is not None) != bool(self.previous):
            raise InputError(f"this block was built for {self.previous} channels of a previous stage (0: none)")
        if self.reduces:
            rgb, x = self.reduce_rgb(rgb).relu(), self.reduce_x(x).relu()
        gate_rgb = self.gate_rgb(self.weigh_rgb(rgb).sigmoid())  # (B, C, H, W)
        gate_x = self.gate_x(self.weigh_x(x).sigmoid())
        r = self.enhanced_rgb(self.enhance_rgb(rgb + rgb * gate_x))
        d = self.enhanced_x(self.enhance_x(x + x * gate_rgb))
        fused = self.join(torch.cat([r * d, torch.maximum(r, d)], dim=1))
        return fused if previous is None else self.join_previous(torch.cat([fused, previous], dim=1))


class Aggregation(nn.Module):
    """MFA: (f, rgb, x), each (B, C, H, W) -> the same shape.

    >>> sum(p.numel() for p in Aggregation(32, dead_parameters=True).parameters())
    37024
    """

    def __init__(self, channels: int, dead_parameters: bool = False) -> None:
        super().__init__()
        self.join = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, padding=1), nn.BatchNorm2d(channels))
        if dead_parameters:
            self.unused_rgb = nn.Conv2d(channels, channels, 3, padding=1)
            self.unused_x = nn.Conv2d(channels, channels, 3, padding=1)
        told = "what the specific features add to the shared one"
        self.added = Probe(channels, role="added", modality="fused", meaning=told)

    def forward(self, shared: Tensor, rgb: Tensor, x: Tensor) -> Tensor:
        return (shared + self.added(self.join(torch.cat([shared * rgb, shared * x], dim=1)))).relu()


@fusions.register("spnet")
class SPNet(FusionBlock):
    """CIM0 on the two streams; with `refine` also MFA.

    >>> block = SPNet(64)
    >>> sum(p.numel() for p in block.parameters()) == 54 * 64**2 + 11 * 64
    True
    """

    family = "attention"
    paper = "Zhou et al., SPNet (ICCV 2021), arXiv 2108.08162"
    licence = "MIT (ours, from the equations); original: no licence stated"
    rectified = ("fused",)

    def __init__(self, channels: int, *, refine: bool = False, **place: int) -> None:
        super().__init__(channels, **place)
        self.integrate = CrossIntegration(channels)
        self.aggregate = Aggregation(channels) if refine else None

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        fused = self.integrate(rgb, x)
        if self.aggregate is not None:
            fused = self.aggregate(fused, rgb, x)
        return Fused(rgb, x, fused)
