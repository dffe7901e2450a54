"""A Mix-Transformer block for two streams with shared weights and private layer norms (TokenFusion, GeminiFusion).

Mix Transformer: Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203. Attention over keys that a strided convolution
reduced, then a feed-forward layer with a depthwise 3x3 in it. Written here from the equations: the original files carry
a non-commercial header.

    q = Q n, k, v = split(KV n'),  n' = LN(conv_sr(n)) where sr > 1, else n;   y = P softmax(q k^T / sqrt(d)) v
    MixFFN(n) = W2 GELU(dw3x3(W1 n))

Tokens are (B, N, C) with N = H W in row-major order.
"""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._parts import PairNorm, attention, drop_path, require_divisible, to_map, to_tokens

__all__ = ["MixFeedForward", "PairedAttention", "PairedBlock", "Tokens", "mit_init_"]

Tokens = tuple[Tensor, Tensor]
"""The two streams' tokens, each (B, N, C)."""


def mit_init_(module: nn.Module, by_group: bool = True) -> None:
    """SegFormer's initialisation: linear layers N(0, 0.02^2), truncated; convolutions N(0, 2 / fan_out); zero biases.

    Args:
        by_group: count a grouped convolution's fan_out within one group, as SegFormer does and CMNeXt does not.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
        elif isinstance(part, nn.Conv2d):
            fan_out = part.out_channels * part.kernel_size[0] * part.kernel_size[1]
            nn.init.normal_(part.weight, std=(2 * (part.groups if by_group else 1) / fan_out) ** 0.5)
        if isinstance(part, nn.Linear | nn.Conv2d) and part.bias is not None:
            nn.init.zeros_(part.bias)


class MixFeedForward(nn.Module):
    """W2 GELU(dw3x3(W1 n)): (B, N, C) -> (B, N, C)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.widen = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = nn.Linear(hidden, channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        wide = to_map(self.widen(tokens), size)  # (B, hidden, H, W)
        return self.narrow(F.gelu(to_tokens(self.depthwise(wide))))


class PairedAttention(nn.Module):
    """Self-attention of both streams with one set of weights; `mix` is where a strategy lets them meet.

    Args:
        channels: C, divisible by heads.
        heads: attention heads.
        sr_ratio: stride of the convolution that reduces keys and values.
        qkv_bias: bias of the query and key-value layers.
    """

    def __init__(self, channels: int, heads: int, sr_ratio: int = 1, qkv_bias: bool = True) -> None:
        super().__init__()
        require_divisible(channels, heads, "heads")
        self.heads = heads
        self.sr_ratio = sr_ratio
        self.query = nn.Linear(channels, channels, bias=qkv_bias)
        self.key_value = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.project = nn.Linear(channels, channels)
        if sr_ratio > 1:
            self.reduce = nn.Conv2d(channels, channels, sr_ratio, stride=sr_ratio)
            self.norm = PairNorm(channels)

    def attend(self, streams: Tokens, size: tuple[int, int]) -> Tokens:
        """Attention outputs of both streams, before the projection."""
        sources = streams
        if self.sr_ratio > 1:
            small = [to_tokens(self.reduce(to_map(t, size))) for t in streams]
            sources = self.norm(*small)
        first, second = (self._one(t, s) for t, s in zip(streams, sources, strict=True))
        return first, second

    def _one(self, tokens: Tensor, source: Tensor) -> Tensor:
        q = rearrange(self.query(tokens), "b n (heads d) -> b heads n d", heads=self.heads)
        k, v = rearrange(self.key_value(source), "b m (two heads d) -> two b heads m d", two=2, heads=self.heads)
        return rearrange(attention(q, k, v), "b heads n d -> b n (heads d)")

    def forward(self, rgb: Tensor, x: Tensor, size: tuple[int, int]) -> Tokens:
        first, second = self.attend((rgb, x), size)
        return self.project(first), self.project(second)


class PairedBlock(nn.Module):
    """n + attention(LN n), then n + MixFFN(LN n), for both streams: the body that a strategy's attention goes into.

    Args:
        attention: called with (rgb, x, size, *extra), each (B, N, C) -> both, same shapes.
        channels: C.
        mlp_ratio: hidden width of the feed-forward layer over C.
        drop: probability of stochastic depth.
    """

    def __init__(self, attention: nn.Module, channels: int, mlp_ratio: float = 4.0, drop: float = 0.0) -> None:
        super().__init__()
        self.norm1 = PairNorm(channels)
        self.attention = attention
        self.norm2 = PairNorm(channels)
        self.mlp = MixFeedForward(channels, int(channels * mlp_ratio))
        self.drop = drop_path(drop)

    def forward(self, rgb: Tensor, x: Tensor, size: tuple[int, int], *extra: Tensor) -> Tokens:
        a, b = self.attention(*self.norm1(rgb, x), size, *extra)
        rgb, x = rgb + self.drop(a), x + self.drop(b)
        a, b = self.norm2(rgb, x)
        return rgb + self.drop(self.mlp(a, size)), x + self.drop(self.mlp(b, size))
