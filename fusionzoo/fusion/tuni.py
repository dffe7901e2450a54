"""TUNI's block: RGB and a half-width thermal stream in one encoder; what they agree on apart from what they do not.

Papers: Guo et al., "TUNI: Real-time RGB-T Semantic Segmentation with Unified Multi-Modal Feature Extraction and
Cross-Modal Feature Fusion", 2025, arXiv 2509.10005, and its second version. Origin: github.com/xiaodonguo/TUNI and
github.com/xiaodonguo/TUNI-v2, which state no licence: all rights reserved; written here from the equations. Channels
last; x (B, H, W, C) of RGB, e (B, H, W, C/2) of x; both enter through LN (eps 1e-6).

    local      = Lin_1(x) * Lin_3(dw7x7 Lin_2(x))                                                        C
    consistent = dw7x7(p * q),  distinct = dw7x7'|p - q|,  p = Lin(C -> C/2) x,  q = Lin(C/2 -> C/2) e   C/2 each
    cross      = Lin(C -> C/2)(w * z),  z = [consistent; distinct],  w = sigmoid(W2 GELU(W1 s)),
                 s_c = <m, z_c> / (|m| |z_c| + 1e-6) over all positions,  m the mean of z over channels  C/2
    global     = DFormer's pooled attention: 7 x 7 queries of [x; e], keys and values of x               C/2
    y          = [local; global; cross],  x_out = Lin(2C -> C) y,  e_out = Lin(2C -> C/2) y
    block: x + l1 x_out, then + l2 MLP(x);  e + l3 e_out, then + l4 MLP(e);  the MLP is DFormer's

`window` 7 has the global path, 0 (the first stage) has y = [local; cross]. Version 1 orders y = [local; cross; global]:
the same shapes and names, other numbers. In the last block of the encoder (`drop_x`) e is not updated: version 1 gives
`cross` in its place, version 2 LN(e). Layer scales start at 1e-6 in the original.

As a strategy (ours): e = conv1x1(C -> C/2) x, one block, rgb' = fused = its x, x' = x + conv1x1(C/2 -> C) of its e;
window 0 at stage 1, 7 above; layer scales start at 0.1, so that the block does something from the first step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import Squeeze, gate_probe
from fusionzoo.fusion.dformer import PairAttention, PairBlock, PairStrategy, depthwise
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["TUNI", "Agreement", "TUNIAttention", "TUNIBlock"]


class Agreement(nn.Module):
    """(x (B, H, W, C), e (B, H, W, C/2)) -> (B, H, W, C/2): products and distances of both, each weighed.

    >>> sum(p.numel() for p in Agreement(48).parameters())
    5928
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.before_rgb = nn.Linear(channels, half)
        self.before_x = nn.Linear(half, half)
        self.consistent_conv = nn.Conv2d(half, half, 7, padding=3, groups=half)
        self.distinct_conv = nn.Conv2d(half, half, 7, padding=3, groups=half)
        self.excite = Squeeze(channels, max(1, channels // 8), channels, nn.GELU(), bias=False)
        self.after = nn.Linear(channels, half)
        self.consistent = Probe(half, role="consistent", modality="fused", meaning="from the product of both streams")
        self.distinct = Probe(half, role="distinct", modality="fused", meaning="from the distance of both streams")
        self.similarity = Probe(
            channels, role="similarity", modality="fused", low=-1.0, high=1.0, axes="B C 1 1",
            meaning="cosine of each channel of both halves with their mean, over positions",
        )  # fmt: skip
        self.weight = gate_probe(channels, "fused", "weight of each channel: consistent, then distinct ones", "B C 1 1")

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        p, q = self.before_rgb(x).movedim(3, 1), self.before_x(e).movedim(3, 1)  # (B, C/2, H, W)
        agree = self.consistent(self.consistent_conv(p * q))
        differ = self.distinct(self.distinct_conv((p - q).abs()))
        z = torch.cat([agree, differ], dim=1)  # (B, C, H, W)
        flat = z.flatten(2)
        mean = flat.mean(dim=1, keepdim=True)  # (B, 1, HW)
        lengths = mean.norm(dim=2, keepdim=True) * flat.norm(dim=2, keepdim=True)  # (B, C, 1)
        cosine = (mean * flat).sum(dim=2, keepdim=True) / (lengths + 1e-6)
        cosine = self.similarity(cosine.clamp(-1.0, 1.0).unsqueeze(3))  # rounding may pass 1
        return self.after((self.weight(self.excite(cosine).sigmoid()) * z).movedim(1, 3))


class TUNIAttention(PairAttention):
    """(x (B, H, W, C), e (B, H, W, C/2)) -> (x_out, e_out) of the same shapes.

    Args:
        channels: C, even; C / 2 divisible by heads where window is 7.
        heads: of the global path.
        window: 7 for the global path, 0 without.
        drop_x: project no e_out; what comes back in its place depends on the version.
        version: 1 or 2, the order of what is joined.

    >>> sum(p.numel() for p in TUNIAttention(96, 2, 7).parameters())
    95856
    """

    def __init__(self, channels: int, heads: int, window: int = 7, drop_x: bool = False, version: int = 2) -> None:
        super().__init__(channels, heads, window, drop_x)
        if version not in (1, 2):
            raise InputError(f"version is {version}; TUNI has 1 and 2")
        self.version = version
        self.modulate = nn.Linear(channels, channels)
        self.lift = nn.Linear(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.after_conv = nn.Linear(channels, channels)
        self.cross = Agreement(channels)
        self.finish(channels, "global path")
        self.crossed = Probe(
            channels // 2, role="enhanced", modality="fused", meaning="both halves, weighed and joined"
        )

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        x, e = self.norm(x), self.norm_e(e)
        local = self.local((self.modulate(x) * self.after_conv(depthwise(self.conv, self.lift(x)))).movedim(3, 1))
        cross = self.cross(x, e)
        parts = [local, self.crossed(cross.movedim(3, 1))]  # (B, C, H, W) and (B, C/2, H, W)
        if self.has_global:
            parts.insert(2 if self.version == 1 else 1, self.seen(x, e, x))
        return self.outputs(parts, cross if self.version == 1 else e)


class TUNIBlock(PairBlock):
    """Attention and feed-forward of both streams: (x (B, H, W, C), e (B, H, W, C/2)) -> the same shapes.

    Args:
        channels, heads, window, drop_x, version: as of the attention.
        mlp_ratio: hidden width of both feed-forward parts over their channels.
        scale: layer scales at the start.
        drop: probability of stochastic depth.

    >>> sum(p.numel() for p in TUNIBlock(96, 2, 8).parameters())
    293568
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        mlp_ratio: float = 4.0,
        window: int = 7,
        drop_x: bool = False,
        version: int = 2,
        scale: float = 1e-6,
        drop: float = 0.0,
    ) -> None:
        attention = TUNIAttention(channels, heads, window, drop_x, version)
        super().__init__(attention, channels, mlp_ratio, not drop_x, scale, drop)

    def passed(self, e: Tensor, e_out: Tensor) -> Tensor:
        """In place of an updated e: what the attention gives, which depends on the version."""
        return e_out


@fusions.register("tuni")
class TUNI(PairStrategy):
    """One TUNI block between the two streams; arguments as of `fusionzoo.fusion.dformer.PairStrategy`."""

    paper = "Guo et al., TUNI (2025), arXiv 2509.10005"
    licence = "MIT (ours, from the equations); original: no licence stated"
    pair = TUNIBlock
