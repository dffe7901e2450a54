"""Swin Transformer, alone or for two streams with shared weights and GeminiFusion's pixel-wise fusion in every block.

Swin: Liu et al., ICCV 2021, arXiv 2103.14030; written here from the equations. torchvision's drops the shift where a
window covers the map, which the originals do not, so it would differ on small images.

    window attention: softmax(q k^T / sqrt(d) + bias[offset] + mask) v   in w x w windows, every second block moved by
                      floor(w / 2); `mask` keeps apart what the move brought together: -100, as published
    block: t <- t + F(attention(LN t)),  t <- t + MLP(LN t);   F: the fusion of both streams, or nothing
    merge: 2 x 2 neighbours side by side (4 C), LN, linear to 2 C

All of it but the fusion treats both streams alike: two pass as one batch (2B, H, W, C), RGB's half first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._parts import attention, drop_path, require_divisible
from fusionzoo.fusion.gemini import GeminiFusion

__all__ = ["SWINS", "PatchMerge", "SwinBlock", "SwinFusionBlock", "SwinStage", "WindowAttention", "offset_index",
           "shift_mask", "trunc_init_", "unwindows", "windows"]  # fmt: skip


class Swin(NamedTuple):
    """Channels of the first stage, blocks and heads of the four stages, side of the windows."""

    channels: int
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    window: int


SWINS = {
    "tiny": Swin(96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "small": Swin(96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
    "large": Swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 7),
    "large_384": Swin(192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
}


def offset_index(window: int, device: torch.device) -> Tensor:
    """Row of the bias table for each pair of positions in a window: (w^2, w^2), values 0 .. (2w - 1)^2 - 1.

    >>> offset_index(2, torch.device("cpu")).tolist()
    [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    """
    place = torch.arange(window * window, device=device)
    row, column = place // window, place % window
    down, right = row[:, None] - row, column[:, None] - column
    return (down + window - 1) * (2 * window - 1) + right + window - 1


def windows(feature: Tensor, window: int) -> Tensor:
    """(B, H, W, C), sides multiples of w -> (B, number of windows, w^2, C)."""
    return rearrange(feature, "b (rows i) (columns j) c -> b (rows columns) (i j) c", i=window, j=window)


def unwindows(tokens: Tensor, size: tuple[int, int], window: int) -> Tensor:
    """The inverse of `windows`, for a map of `size`."""
    grid = {"rows": size[0] // window, "columns": size[1] // window, "i": window, "j": window}
    return rearrange(tokens, "b (rows columns) (i j) c -> b (rows i) (columns j) c", **grid)


def shift_mask(size: tuple[int, int], window: int, shifts: tuple[int, int], like: Tensor) -> Tensor:
    """0 where two positions of a moved window were neighbours before the move, else -100: (windows, 1, w^2, w^2).

    Args:
        size: of the padded map, multiples of `window`.
        shifts: how far the windows were moved along either side; 0 keeps nothing apart along it.
        like: dtype and device.
    """

    def strip(length: int, shift: int) -> Tensor:
        """Which of the three strips along one side: up to the last window, the rest of it, what came from the front."""
        place = torch.arange(length, device=like.device)
        if not shift:
            return torch.zeros_like(place)
        return (place >= length - window).long() + (place >= length - shift).long()

    region = strip(size[0], shifts[0])[:, None] * 3 + strip(size[1], shifts[1])  # (H, W)
    inside = windows(region[None, :, :, None], window)[0, :, :, 0]  # (windows, w^2)
    apart = inside[:, :, None] != inside[:, None, :]
    return (apart.to(like.dtype) * -100.0).unsqueeze(1)


class WindowAttention(nn.Module):
    """Self-attention inside windows: (B, windows, w^2, C) -> the same shape."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        require_divisible(channels, heads, "heads")
        self.heads, self.window = heads, window
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.bias_table, std=0.02)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        index = offset_index(self.window, tokens.device).flatten()
        bias = rearrange(self.bias_table[index], "(q k) heads -> 1 heads q k", q=self.window**2)
        if mask is not None:
            bias = (bias + mask).repeat(tokens.shape[0], 1, 1, 1)  # (B windows, h, w^2, w^2)
        # windows are one batch: fused attention takes four dimensions, and falls back to the plain form at five
        qkv = self.qkv(tokens.flatten(0, 1))
        q, k, v = rearrange(qkv, "bm n (three heads d) -> three bm heads n d", three=3, heads=self.heads)
        out = attention(q, k, v, bias.to(q.dtype))  # (B windows, h, w^2, d)
        return self.project(rearrange(out, "bm heads n d -> bm n (heads d)")).view_as(tokens)


class SwinBlock(nn.Module):
    """One block: (B, H, W, C) -> the same shape.

    Args:
        channels, heads, window: of the attention.
        shift: how far the windows are moved, 0 or w // 2.
        drop: probability of stochastic depth.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, drop: float = 0.0) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.drop = drop_path(drop)
        trunc_init_(self)

    def attend(self, feature: Tensor, mask: Tensor | None) -> Tensor:
        height, width = feature.shape[1:3]
        out = F.pad(feature, (0, 0, 0, -width % self.window, 0, -height % self.window))
        size = (out.shape[1], out.shape[2])
        if self.shift:
            out = out.roll((-self.shift, -self.shift), (1, 2))
        out = unwindows(self.attention(windows(out, self.window), mask), size, self.window)
        if self.shift:
            out = out.roll((self.shift, self.shift), (1, 2))
        return out[:, :height, :width]

    def fuse(self, feature: Tensor) -> Tensor:
        """What stands between the attention and the residual; nothing here."""
        return feature

    def forward(self, feature: Tensor, mask: Tensor | None = None) -> Tensor:
        feature = feature + self.drop(self.fuse(self.attend(self.norm1(feature), mask if self.shift else None)))
        return feature + self.drop(self.narrow(F.gelu(self.widen(self.norm2(feature)))))


class SwinFusionBlock(SwinBlock):
    """A block for both streams at once, (2B, H, W, C) -> the same shape, with a pixel-wise fusion of `fusion_heads`."""

    def __init__(
        self, channels: int, heads: int, window: int, shift: int, fusion_heads: int = 8, drop: float = 0.0
    ) -> None:
        super().__init__(channels, heads, window, shift, drop)
        self.fusion = GeminiFusion(channels, fusion_heads)

    def fuse(self, feature: Tensor) -> Tensor:
        size = (feature.shape[1], feature.shape[2])
        rgb, x = feature.flatten(1, 2).unflatten(0, (2, -1)).unbind()
        return torch.cat(self.fusion(rgb, x, size)).unflatten(1, size)


class PatchMerge(nn.Module):
    """2 x 2 neighbours joined: (B, H, W, C) -> (B, ceil(H/2), ceil(W/2), 2C); odd sides are filled up with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        feature = F.pad(feature, (0, 0, 0, feature.shape[2] % 2, 0, feature.shape[1] % 2))
        four = rearrange(feature, "b (h down) (w right) c -> b h w (right down c)", down=2, right=2)
        return self.reduce(self.norm(four))


class SwinStage(nn.Module):
    """The blocks of one stage, every second one with moved windows; with a fusion of both streams or (None) without."""

    def __init__(self, channels: int, heads: int, window: int, fusion_heads: int | None, drops: list[float]) -> None:
        super().__init__()
        self.window = window
        shifts = [(j % 2) * (window // 2) for j in range(len(drops))]
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, window, shift, drop)
            if fusion_heads is None
            else SwinFusionBlock(channels, heads, window, shift, fusion_heads, drop)
            for shift, drop in zip(shifts, drops, strict=True)
        )

    def forward(self, feature: Tensor) -> Tensor:
        height, width = feature.shape[1:3]
        size = (height + -height % self.window, width + -width % self.window)
        mask = shift_mask(size, self.window, (self.window // 2, self.window // 2), feature)
        for block in self.blocks:
            feature = block(feature, mask)
        return feature


def trunc_init_(module: nn.Module) -> None:
    """Linear layers N(0, 0.02^2), cut at two deviations, with zero biases, as in Swin and VMamba."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
