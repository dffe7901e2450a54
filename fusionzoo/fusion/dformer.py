"""DFormer's block: RGB and a half-width depth stream in one encoder, global awareness and local enhancement.

Paper: Yin et al., "DFormer: Rethinking RGBD Representation Learning for Semantic Segmentation", ICLR 2024, arXiv
2309.09668. Origin: github.com/VCIP-RGBD/DFormer (MIT file, while its README says "non-commercial use only"); written
here from the equations. Channels last; x (B, H, W, C) of RGB, e (B, H, W, C/2) of depth; both enter through LN
(eps 1e-6).

    g      = GELU(Lin_l x)
    local  = Lin_q(x) * Lin_a(dw7x7 g)                                                               C
    cut    = Lin_qcut(x) * Lin_back(dw7x7(Lin_fore e))                                               C/2   (LEA)
    global = upsample(softmax(m k^T / sqrt(d)) v),  m = Lin(3C/2 -> C/2) pool7x7 [x; e],
             k, v = split(Lin(C -> C) g), h heads of d = C / 2h; 49 queries, bilinear back to H x W      C/2   (GAA)
    y      = [local; global; cut],  x_out = Lin(2C -> C) y,  e_out = Lin(2C -> C/2) y
    block: x + l1 x_out, then + l2 MLP(x);  e + l3 e_out, then + l4 MLP(e);  MLP: LN, Lin, dw3x3 + skip, GELU, Lin

`window` 7 has the global path, 0 (the first stage) has y = [local; cut]. e_out comes from the fused y. The last block
of the encoder does not update e (`drop_depth`). Layer scales l start at 1e-6 in the original.

As a strategy (ours): e = conv1x1(C -> C/2) x, one block, rgb' = fused = its x, x' = x + conv1x1(C/2 -> C) of its e;
window 0 at stage 1, 7 above; layer scales start at 0.1, so that the block does something from the first step.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import drop_path, gate_init_, require_divisible
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = [
    "ConvFeedForward", "DFormer", "DFormerAttention", "DFormerBlock", "PairAttention", "PairBlock", "PairStrategy",
    "depthwise", "pooled_attention",
]  # fmt: skip

POOLED = 7
"""Side of the pooled grid of queries."""


def depthwise(conv: nn.Conv2d, value: Tensor) -> Tensor:
    """A depthwise convolution on channels-last values."""
    return conv(value.movedim(3, 1)).movedim(1, 3)


def pooled_attention(
    both: Tensor, source: Tensor, query: nn.Module, key_value: nn.Module, shown: Probe, heads: int, side: int = POOLED
) -> Tensor:
    """Attention of a grid of side x side averages over all positions, enlarged to the map again.

    Args:
        both: (B, H, W, D), what is averaged for the queries; the map may be smaller than the grid.
        source: (B, H, W, C), of the keys and values.
        query, key_value: layers D -> E and C -> 2 E.
        shown: sees the weights (B, heads, side^2, HW).
        heads: a divisor of E.

    Returns:
        (B, E, H, W), bilinear from the grid.
    """
    size = (both.shape[1], both.shape[2])
    pooled = query(F.adaptive_avg_pool2d(both.movedim(3, 1), side).movedim(1, 3))  # (B, side, side, E)
    q = rearrange(pooled, "b row column (heads d) -> b heads (row column) d", heads=heads)
    k, v = rearrange(key_value(source), "b h w (two heads d) -> two b heads (h w) d", two=2, heads=heads)
    weights = shown(((q * q.shape[3] ** -0.5) @ k.transpose(2, 3)).softmax(dim=3))  # (B, heads, side^2, N)
    seen = rearrange(weights @ v, "b heads (row column) d -> b (heads d) row column", row=side)
    return F.interpolate(seen, size, mode="bilinear", align_corners=False)


class PairAttention(nn.Module):
    """What the attention of DFormer and of TUNI share: norms, the global path and both projections.

    Args: as of `DFormerAttention`; `drop_x` is its `drop_depth`. A subclass makes its local paths between `__init__`
    and `finish`, so that the layers stand in the order in which the originals have them.
    """

    def __init__(self, channels: int, heads: int, window: int, drop_x: bool) -> None:
        super().__init__()
        require_divisible(channels, 2, "halves")
        if window not in (0, POOLED):
            raise InputError(f"window is {window}; 0 (local only) and {POOLED} are defined")
        self.heads, self.has_global, self.drop_x = heads, window != 0, drop_x
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.norm_e = nn.LayerNorm(channels // 2, eps=1e-6)

    def finish(self, channels: int, aware: str) -> None:
        """The layers and probes after the local paths; `aware` says what the global path is."""
        half = channels // 2
        joined = channels + half
        if self.has_global:
            require_divisible(half, self.heads, "heads")
            joined += half
            self.pooled_query = nn.Linear(channels + half, half)
            self.key_value = nn.Linear(channels, channels)
            gate_init_(self.pooled_query, self.key_value)
            self.attention = Probe(
                self.heads, role="attention", modality="fused", low=0.0, high=1.0, sums_to_one=3, axes="B C 49 HW",
                meaning="where each cell of a 7x7 grid looks, sums to 1 over positions",
            )  # fmt: skip
            self.aware = Probe(half, role="global", modality="fused", meaning=aware)
        self.project = nn.Linear(joined, channels)
        self.project_e = None if self.drop_x else nn.Linear(joined, half)
        self.local = Probe(channels, role="local", modality="rgb", meaning="convolutional modulation of RGB")

    def seen(self, x: Tensor, e: Tensor, source: Tensor) -> Tensor:
        """The global path, (B, C/2, H, W): queries of [x; e], keys and values of `source` (B, H, W, C)."""
        both = torch.cat([x, e], dim=3)
        return self.aware(pooled_attention(both, source, self.pooled_query, self.key_value, self.attention, self.heads))

    def outputs(self, parts: list[Tensor], instead: Tensor) -> tuple[Tensor, Tensor]:
        """x_out and e_out of the joined paths (B, ., H, W); `instead` of e_out where it is dropped."""
        y = torch.cat(parts, dim=1).movedim(1, 3)
        return self.project(y), instead if self.project_e is None else self.project_e(y)


class DFormerAttention(PairAttention):
    """(x (B, H, W, C), e (B, H, W, C/2)) -> (x_out, e_out) of the same shapes.

    Args:
        channels: C, even; C / 2 divisible by heads where window is 7.
        heads: of the global path.
        window: 7 for the global path, 0 without.
        drop_depth: project no e_out; the filtered depth comes back in its place.

    >>> sum(p.numel() for p in DFormerAttention(64, 2, 7).parameters())
    41312
    """

    def __init__(self, channels: int, heads: int, window: int = 7, drop_depth: bool = False) -> None:
        super().__init__(channels, heads, window, drop_depth)
        half = channels // 2
        self.query = nn.Linear(channels, channels)
        self.query_cut = nn.Linear(channels, half)
        self.lift = nn.Linear(channels, channels)
        self.conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.after_conv = nn.Linear(channels, channels)
        self.before_e = nn.Linear(half, half)
        self.conv_e = nn.Conv2d(half, half, 7, padding=3, groups=half)
        self.after_e = nn.Linear(half, half)
        self.finish(channels, "GAA: global path")
        self.enhanced = Probe(half, role="enhanced", modality="fused", meaning="LEA: RGB times filtered depth")

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        x, e = self.norm(x), self.norm_e(e)
        g = F.gelu(self.lift(x))
        local = self.query(x) * self.after_conv(depthwise(self.conv, g))
        filtered = self.after_e(depthwise(self.conv_e, self.before_e(e)))
        cut = self.query_cut(x) * filtered
        parts = [self.local(local.movedim(3, 1))]  # (B, C, H, W)
        if self.has_global:
            parts.append(self.seen(x, e, g))
        return self.outputs([*parts, self.enhanced(cut.movedim(3, 1))], filtered)


class ConvFeedForward(nn.Module):
    """LN, Lin, dw3x3 + skip, GELU, Lin on channels-last values."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, hidden)
        self.position = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.widen(self.norm(x))
        return self.narrow(F.gelu(wide + depthwise(self.position, wide)))


class PairBlock(nn.Module):
    """An attention of two streams, then a feed-forward part of each: (x (B, H, W, C), e (B, H, W, C/2)) -> the same.

    Args:
        attention: (x, e) -> (x_out, e_out).
        channels, mlp_ratio, scale, drop: as of `DFormerBlock`.
        updates_x: whether e is updated; where not, `passed` says what comes back in its place.
    """

    def __init__(
        self, attention: nn.Module, channels: int, mlp_ratio: float, updates_x: bool, scale: float, drop: float
    ) -> None:
        super().__init__()
        half = channels // 2
        self.attention = attention
        self.mlp = ConvFeedForward(channels, int(channels * mlp_ratio))
        self.scale1 = nn.Parameter(torch.full((channels,), scale))
        self.scale2 = nn.Parameter(torch.full((channels,), scale))
        self.drop = drop_path(drop)
        self.updates_x = updates_x
        if updates_x:
            self.mlp_e = ConvFeedForward(half, int(half * mlp_ratio))
            self.scale1_e = nn.Parameter(torch.full((half,), scale))
            self.scale2_e = nn.Parameter(torch.full((half,), scale))

    def passed(self, e: Tensor, e_out: Tensor) -> Tensor:
        """In place of an updated e: e itself."""
        return e

    def forward(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        x_out, e_out = self.attention(x, e)
        x = x + self.drop(self.scale1 * x_out)
        x = x + self.drop(self.scale2 * self.mlp(x))
        if not self.updates_x:
            return x, self.passed(e, e_out)
        e = e + self.drop(self.scale1_e * e_out)
        return x, e + self.drop(self.scale2_e * self.mlp_e(e))


class DFormerBlock(PairBlock):
    """Attention and feed-forward of both streams: (x (B, H, W, C), e (B, H, W, C/2)) -> the same shapes.

    Args:
        channels, heads, window, drop_depth: as of the attention.
        mlp_ratio: hidden width of both feed-forward parts over their channels.
        scale: layer scales at the start.
        drop: probability of stochastic depth.

    >>> sum(p.numel() for p in DFormerBlock(64, 2, 8).parameters())
    132160
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        mlp_ratio: float = 4.0,
        window: int = 7,
        drop_depth: bool = False,
        scale: float = 1e-6,
        drop: float = 0.0,
    ) -> None:
        attention = DFormerAttention(channels, heads, window, drop_depth)
        super().__init__(attention, channels, mlp_ratio, not drop_depth, scale, drop)


class PairStrategy(FusionBlock):
    """One block of two streams as a strategy: x is halved for it and widened again, as the modules say.

    Args:
        channels: C, even.
        heads: None takes C // 32 where 32 divides C, else 1.
        mlp_ratio, scale: of the block.
    """

    interaction = "exchange"
    family = "hybrid"
    pair: ClassVar[type[nn.Module]]

    def __init__(
        self, channels: int, *, heads: int | None = None, mlp_ratio: float = 4.0, scale: float = 0.1, **place: int
    ) -> None:
        super().__init__(channels, **place)
        require_divisible(channels, 2, "halves")
        heads = heads or (channels // 32 if channels >= 32 and channels % 32 == 0 else 1)
        self.reduce = nn.Conv2d(channels, channels // 2, 1)
        self.block = self.pair(channels, heads, mlp_ratio, window=0 if self.level == 1 else POOLED, scale=scale)
        self.expand = nn.Conv2d(channels // 2, channels, 1)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        first, second = self.block(rgb.movedim(1, 3), self.reduce(x).movedim(1, 3))
        fused = first.movedim(3, 1)
        return Fused(fused, x + self.expand(second.movedim(3, 1)), fused)


@fusions.register("dformer")
class DFormer(PairStrategy):
    """One DFormer block between the two streams; arguments as of `PairStrategy`."""

    paper = "Yin et al., DFormer (ICLR 2024), arXiv 2309.09668"
    licence = "MIT (ours, from the equations); original: MIT file, README: non-commercial use only"
    pair = DFormerBlock
