"""GeminiFusion: at every pixel, attention over two tokens: the own feature and the other modality's.

Paper: Jia et al., "GeminiFusion: Efficient Pixel-wise Multimodal Fusion for Vision Transformer", ICML 2024, arXiv
2406.01210. Origin: github.com/JiaDingCN/GeminiFusion (MIT file; its mix_transformer.py carries NVIDIA's non-commercial
header); written here from the equations, no code taken.

    per pixel, q own and o other feature, i the direction (0: RGB reads x, 1: x reads RGB)
    rho  = softmax over channels of W2 GELU(W1 [q; o])              W1: 2C -> C, W2: C -> C, shared by both directions
    keys {q + n^k_i, q * rho},  values {q + n^v_i, o}               n^k, n^v in R^{2 x C}, learned
    q'   = q + MHA_i(query q, keys, values)                         h heads, own weights each direction

The key of the other modality is the own feature reweighed; only the value is o. Both directions read the old features.
Parameters 11 C^2 + 14 C. In the original this sits inside every Mix-Transformer block, between attention and projection
(`GeminiAttention`, `GeminiBlock`); as a strategy it works on the stage outputs, and `fused`, their mean, is ours: the
original decodes both streams.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion._mit import PairedAttention, PairedBlock, Tokens
from fusionzoo.fusion._parts import gate_init_, probe_pair, require_divisible, to_map, to_tokens
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["Gemini", "GeminiAttention", "GeminiBlock", "GeminiFusion", "TwoTokenAttention"]


class TwoTokenAttention(nn.Module):
    """Multi-head attention of one query over two keys at each pixel: all (B, N, C) -> (B, N, C).

    The weights are those of torch.nn.MultiheadAttention (`in_proj` stacks query, key, value); with two keys a pixel
    there is no N x N map and no loop.
    """

    def __init__(self, channels: int, heads: int, modality: str) -> None:
        super().__init__()
        require_divisible(channels, heads, "heads")
        self.heads = heads
        self.in_proj = nn.Linear(channels, 3 * channels)
        self.out_proj = nn.Linear(channels, channels)
        self.balance = Probe(
            heads, role="attention", modality=modality, low=0.0, high=1.0, sums_to_one=2, axes="B C 2 H W",
            meaning="weight of the own (0) and of the other modality's value (1) at each pixel",
        )  # fmt: skip

    def forward(self, query: Tensor, keys: Tokens, values: Tokens, size: tuple[int, int]) -> Tensor:
        w_q, w_k, w_v = self.in_proj.weight.chunk(3)
        b_q, b_k, b_v = self.in_proj.bias.chunk(3)
        # no einops here: ten reshapes a call cost 4 to 10 % of the time
        q = F.linear(query, w_q, b_q).unflatten(2, (self.heads, -1))  # (B, N, heads, d)
        scores = [(q * F.linear(t, w_k, b_k).unflatten(2, (self.heads, -1))).sum(-1) for t in keys]  # (B, N, heads)
        weights = (torch.stack(scores, dim=2) * q.shape[-1] ** -0.5).softmax(dim=2)  # (B, N, 2, heads)
        weights = self.balance(weights.permute(0, 3, 2, 1).unflatten(3, size))  # (B, heads, 2, H, W)
        own, other = weights.flatten(3).permute(0, 3, 2, 1).unsqueeze(4).unbind(2)  # (B, N, heads, 1) each
        v, w = (F.linear(t, w_v, b_v).unflatten(2, (self.heads, -1)) for t in values)  # (B, N, heads, d) each
        return self.out_proj((own * v + other * w).flatten(2))


class GeminiFusion(nn.Module):
    """Both directions on tokens: (B, N, C) twice -> (B, N, C) twice.

    >>> sum(p.numel() for p in GeminiFusion(64).parameters())
    45952
    """

    def __init__(self, channels: int, heads: int = 8) -> None:
        super().__init__()
        self.judge = nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU(), nn.Linear(channels, channels))
        gate_init_(self.judge[0], self.judge[2])
        self.key_offset = nn.Parameter(torch.randn(2, channels))
        self.value_offset = nn.Parameter(torch.randn(2, channels))
        self.attend_rgb = TwoTokenAttention(channels, heads, "rgb")
        self.attend_x = TwoTokenAttention(channels, heads, "x")
        told = "rho: weight of each channel in the key of the other modality, sums to 1 over channels"
        self.relation_rgb, self.relation_x = probe_pair(channels, "relation", told, low=0.0, high=1.0, sums_to_one=1)

    def forward(self, rgb: Tensor, x: Tensor, size: tuple[int, int]) -> Tokens:
        return (
            self._read(0, rgb, x, self.relation_rgb, self.attend_rgb, size),
            self._read(1, x, rgb, self.relation_x, self.attend_x, size),
        )

    def _read(
        self, i: int, own: Tensor, other: Tensor, relation: Probe, attend: TwoTokenAttention, size: tuple[int, int]
    ) -> Tensor:
        rho = self.judge(torch.cat([own, other], dim=2)).softmax(dim=2)  # (B, N, C)
        rho = to_tokens(relation(to_map(rho, size)))
        keys = own + self.key_offset[i], own * rho
        values = own + self.value_offset[i], other
        return own + attend(own, keys, values, size)


class GeminiAttention(PairedAttention):
    """The Mix-Transformer attention of both streams with the fusion between attention and projection."""

    def __init__(
        self, channels: int, heads: int, sr_ratio: int = 1, qkv_bias: bool = True, fusion_heads: int = 8
    ) -> None:
        super().__init__(channels, heads, sr_ratio, qkv_bias)
        self.fusion = GeminiFusion(channels, fusion_heads)

    def forward(self, rgb: Tensor, x: Tensor, size: tuple[int, int]) -> Tokens:
        first, second = self.fusion(*self.attend((rgb, x), size), size)
        return self.project(first), self.project(second)


class GeminiBlock(PairedBlock):
    """The whole Mix-Transformer block: (rgb, x, size), tokens (B, N, C) -> both.

    >>> sum(p.numel() for p in GeminiBlock(64, 1, sr_ratio=8).parameters())
    361216
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        sr_ratio: int = 1,
        qkv_bias: bool = True,
        mlp_ratio: float = 4.0,
        fusion_heads: int = 8,
        drop: float = 0.0,
    ) -> None:
        super().__init__(GeminiAttention(channels, heads, sr_ratio, qkv_bias, fusion_heads), channels, mlp_ratio, drop)


@fusions.register("gemini")
class Gemini(FusionBlock):
    """Pixel-wise two-token attention in both directions.

    Args:
        channels: C.
        heads: of the two-token attention; None takes the largest power of two up to 8 that divides C.
    """

    interaction = "exchange"
    family = "cross-modal"
    paper = "Jia et al., GeminiFusion (ICML 2024), arXiv 2406.01210"
    licence = "MIT (ours, from the equations); original: MIT file, NVIDIA non-commercial header on mix_transformer.py"

    def __init__(self, channels: int, *, heads: int | None = None, **place: int) -> None:
        super().__init__(channels, **place)
        self.fusion = GeminiFusion(channels, heads or math.gcd(channels, 8))

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        size = (rgb.shape[2], rgb.shape[3])
        first, second = (to_map(t, size) for t in self.fusion(to_tokens(rgb), to_tokens(x), size))
        return Fused(first, second, (first + second) / 2)
