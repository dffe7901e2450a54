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
from fusionzoo.fusion._parts import Squeeze, drop_path, gate_init_, gate_probe, require_divisible
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.fusion.dformer import POOLED, ConvFeedForward, depthwise, pooled_attention
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


class TUNIAttention(nn.Module):
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
        super().__init__()
        require_divisible(channels, 2, "halves")
        if window not in (0, POOLED):
            raise InputError(f"window is {window}; 0 (local only) and {POOLED} are defined")
        if version not in (1, 2):
            raise InputError(f"version is {version}; TUNI has 1 and 2")
        half = channels // 2
        self.heads, self.version = heads, version
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.norm_e = nn.LayerNorm(half, eps=1e-6)
        self.modulate = nn.Linear(channels, channels)
        self.lift = nn.Linear(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.after_conv = nn.Linear(channels, channels)
        self.cross = Agreement(channels)
        joined = channels + half
        self.has_global = window != 0
        if self.has_global:
            require_divisible(half, heads, "heads")
            joined += half
            self.pooled_query = nn.Linear(channels + half, half)
            self.key_value = nn.Linear(channels, channels)
            gate_init_(self.pooled_query, self.key_value)
            self.attention = Probe(
                heads, role="attention", modality="fused", low=0.0, high=1.0, sums_to_one=3, axes="B C 49 HW",
                meaning="where each cell of a 7x7 grid looks, sums to 1 over positions",
            )  # fmt: skip
            self.aware = Probe(half, role="global", modality="fused", meaning="global path")
        self.project = nn.Linear(joined, channels)
        self.project_e = None if drop_x else nn.Linear(joined, half)
        self.local = Probe(channels, role="local", modality="rgb", meaning="convolutional modulation of RGB")
        self.crossed = Probe(half, role="enhanced", modality="fused", meaning="both halves, weighed and joined")

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        x, e = self.norm(x), self.norm_e(e)
        local = self.local((self.modulate(x) * self.after_conv(depthwise(self.conv, self.lift(x)))).movedim(3, 1))
        cross = self.cross(x, e)
        parts = [local, self.crossed(cross.movedim(3, 1))]  # (B, C, H, W) and (B, C/2, H, W)
        if self.has_global:
            both = torch.cat([x, e], dim=3)
            seen = pooled_attention(both, x, self.pooled_query, self.key_value, self.attention, self.heads)
            parts.insert(2 if self.version == 1 else 1, self.aware(seen))
        y = torch.cat(parts, dim=1).movedim(1, 3)
        if self.project_e is not None:
            return self.project(y), self.project_e(y)
        return self.project(y), cross if self.version == 1 else e


class TUNIBlock(nn.Module):
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
        super().__init__()
        half = channels // 2
        self.attention = TUNIAttention(channels, heads, window, drop_x, version)
        self.mlp = ConvFeedForward(channels, int(channels * mlp_ratio))
        self.scale1 = nn.Parameter(torch.full((channels,), scale))
        self.scale2 = nn.Parameter(torch.full((channels,), scale))
        self.drop = drop_path(drop)
        self.updates_x = not drop_x
        if self.updates_x:
            self.mlp_e = ConvFeedForward(half, int(half * mlp_ratio))
            self.scale1_e = nn.Parameter(torch.full((half,), scale))
            self.scale2_e = nn.Parameter(torch.full((half,), scale))

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        x_out, e_out = self.attention(x, e)
        x = x + self.drop(self.scale1 * x_out)
        x = x + self.drop(self.scale2 * self.mlp(x))
        if not self.updates_x:
            return x, e_out
        e = e + self.drop(self.scale1_e * e_out)
        return x, e + self.drop(self.scale2_e * self.mlp_e(e))


@fusions.register("tuni")
class TUNI(FusionBlock):
    """One TUNI block between the two streams.

    Args:
        channels: C, even.
        heads: None takes C // 32 where 32 divides C, else 1.
        mlp_ratio, scale: of the block.
    """

    interaction = "exchange"
    family = "hybrid"
    paper = "Guo et al., TUNI (2025), arXiv 2509.10005"
    licence = "MIT (ours, from the equations); original: no licence stated"

    def __init__(
        self,
        channels: int,
        *,
        level: int = 1,
        depth: int = 5,
        heads: int | None = None,
        mlp_ratio: float = 4.0,
        scale: float = 0.1,
    ) -> None:
        super().__init__(channels, level=level, depth=depth)
        require_divisible(channels, 2, "halves")
        heads = heads or (channels // 32 if channels >= 32 and channels % 32 == 0 else 1)
        self.reduce = nn.Conv2d(channels, channels // 2, 1)
        self.block = TUNIBlock(channels, heads, mlp_ratio, window=0 if level == 1 else POOLED, scale=scale)
        self.expand = nn.Conv2d(channels // 2, channels, 1)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        first, second = self.block(rgb.movedim(1, 3), self.reduce(x).movedim(1, 3))
        fused = first.movedim(3, 1)
        return Fused(fused, x + self.expand(second.movedim(3, 1)), fused)
