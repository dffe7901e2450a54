"""Mix Transformers B0 to B5, run stage by stage; what six published models are built on, among them CMX and DPLNet.

Paper: Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203. Written here from the equations; the original's code and
its ImageNet weights are under a non-commercial licence of NVIDIA, and no weights are fetched here.

    stage i:  t = LN(conv f), 7x7 of stride 4 at first, then 3x3 of stride 2;  blocks;  LN
    block:    t <- t + attention(LN t),  t <- t + MixFFN(LN t)
    attention: q = Q n;  k, v = split(KV n'),  n' = LN(conv_r n), a convolution of kernel and stride r where r > 1
              P softmax(q k^T / sqrt(d)) v,  heads 1, 2, 5, 8 and r = 8, 4, 2, 1 by stage

Norms of blocks and stages have eps 1e-6, those after convolutions 1e-5, as published; CMNeXt and StitchFusion have 1e-5
throughout.
"""

from __future__ import annotations

from typing import NamedTuple

from einops import rearrange
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._mit import MixFeedForward, mit_init_
from fusionzoo.fusion._parts import attention, drop_path, require_divisible, to_map, to_tokens

__all__ = ["HEADS", "REDUCTIONS", "SIZES", "ChannelNorm", "MiT", "MixBlock", "PatchEmbed", "drop_rates", "mit_init_",
           "patch_conv"]  # fmt: skip


class Size(NamedTuple):
    """Channels and number of blocks of the four stages."""

    channels: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


SIZES = {
    0: Size((32, 64, 160, 256), (2, 2, 2, 2)),
    1: Size((64, 128, 320, 512), (2, 2, 2, 2)),
    2: Size((64, 128, 320, 512), (3, 4, 6, 3)),
    3: Size((64, 128, 320, 512), (3, 4, 18, 3)),
    4: Size((64, 128, 320, 512), (3, 8, 27, 3)),
    5: Size((64, 128, 320, 512), (3, 6, 40, 3)),
}
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
"""Stride of the convolution that keys and values are reduced by, per stage."""


def patch_conv(inp: int, out: int, stage: int) -> nn.Conv2d:
    """The overlapping patch convolution of a stage (1 to 4): (B, inp, H, W) -> (B, out, ceil(H/s), ceil(W/s))."""
    return nn.Conv2d(inp, out, 7, stride=4, padding=3) if stage == 1 else nn.Conv2d(inp, out, 3, stride=2, padding=1)


def drop_rates(depths: tuple[int, ...], last: float) -> list[list[float]]:
    """Probability of stochastic depth for each block, by stage: 0 at the first, `last` at the last, linear between.

    >>> drop_rates((1, 2), 0.1)
    [[0.0], [0.05, 0.1]]
    """
    count = max(1, sum(depths) - 1)
    rates = iter([last * i / count for i in range(sum(depths))])
    return [[next(rates) for _ in range(n)] for n in depths]


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, feature: Tensor) -> Tensor:
        return super().forward(feature.movedim(1, 3)).movedim(3, 1)


class PatchEmbed(nn.Module):
    """Patch convolution and layer norm: map (B, inp, H, W) -> tokens (B, N, out), and their (height, width)."""

    def __init__(self, inp: int, out: int, stage: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.conv = patch_conv(inp, out, stage)
        self.norm = nn.LayerNorm(out, eps=eps)

    def forward(self, feature: Tensor) -> tuple[Tensor, tuple[int, int]]:
        small = self.conv(feature)
        return self.norm(to_tokens(small)), (small.shape[2], small.shape[3])


class Attention(nn.Module):
    """Self-attention of tokens (B, N, C) over keys reduced `reduction` times along each side -> (B, N, C)."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        require_divisible(channels, heads, "heads")
        self.heads, self.reduction = heads, reduction
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, channels)
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        return self.attend(self.query(tokens), tokens, size)

    def attend(self, query: Tensor, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """The attention of queries (B, N, C), not yet split into heads, to `tokens`."""
        source = tokens
        if self.reduction > 1:
            source = self.norm(to_tokens(self.reduce(to_map(tokens, size))))
        q = rearrange(query, "b n (heads d) -> b heads n d", heads=self.heads)
        k, v = rearrange(self.key_value(source), "b m (two heads d) -> two b heads m d", two=2, heads=self.heads)
        seen = attention(q, k, v)
        return self.project(rearrange(seen, "b heads n d -> b n (heads d)"))


class MixBlock(nn.Module):
    """One transformer block: (B, N, C) -> (B, N, C).

    Args:
        channels, heads, reduction: see the module's text.
        eps: of both norms.
        drop: probability of stochastic depth.
        expansion: hidden width of the MixFFN over C.
    """

    def __init__(
        self, channels: int, heads: int, reduction: int, *, eps: float = 1e-6, drop: float = 0.0, expansion: int = 4
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.attention = Attention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, eps=eps)
        self.mlp = MixFeedForward(channels, expansion * channels)
        self.drop = drop_path(drop)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        tokens = tokens + self.drop(self.attention(self.norm1(tokens), size))
        return tokens + self.drop(self.mlp(self.norm2(tokens), size))


class MiT(nn.Module):
    """The encoder of SegFormer, one stage at a time.

    Args:
        size: 0 to 5.
        in_channels: of the image.
        eps: of the norms of blocks and stages.
        drop: stochastic depth of the last block.

    >>> import torch
    >>> encoder = MiT(0)
    >>> encoder.stage(2, encoder.stage(1, torch.zeros(1, 3, 64, 70))).shape
    torch.Size([1, 64, 8, 9])
    """

    def __init__(self, size: int, in_channels: int = 3, *, eps: float = 1e-6, drop: float = 0.1) -> None:
        super().__init__()
        if size not in SIZES:
            raise InputError(f"MiT-B{size} is not one of {', '.join(f'B{i}' for i in SIZES)}")
        self.size = size
        self.channels, self.depths = SIZES[size]
        rates = drop_rates(self.depths, drop)
        for i, channels in enumerate(self.channels, 1):
            before = in_channels if i == 1 else self.channels[i - 2]
            setattr(self, f"embed{i}", PatchEmbed(before, channels, i))
            blocks = [MixBlock(channels, HEADS[i - 1], REDUCTIONS[i - 1], eps=eps, drop=r) for r in rates[i - 1]]
            setattr(self, f"blocks{i}", nn.ModuleList(blocks))
            setattr(self, f"norm{i}", nn.LayerNorm(channels, eps=eps))
        mit_init_(self)

    def stage(self, stage: int, feature: Tensor) -> Tensor:
        """Stage 1: image (B, C, H, W) -> (B, C_1, H/4, W/4), sizes rounded up; 2 to 4: from the map before, halved."""
        tokens, size = getattr(self, f"embed{stage}")(feature)
        for block in getattr(self, f"blocks{stage}"):
            tokens = block(tokens, size)
        return to_map(getattr(self, f"norm{stage}")(tokens), size)
