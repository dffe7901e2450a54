"""Swin Transformer V2 on the joint tokens of two modalities: the encoder of EMSAFormer and DVEFormer.

Swin V2: Liu et al., CVPR 2022, arXiv 2111.09883 (torchvision's form, BSD-3-Clause); Origin of the joint one:
github.com/TUI-NICR/nicr-multitask-scene-analysis (Apache-2.0); written here from the equations.

    tokens = [LN(conv4x4 rgb); LN(conv4x4 x)]        (`fusionzoo.fusion.emsaformer`), 96 and 32 of 128 channels
    block: t <- t + LN(attention t),  t <- t + LN(MLP t)
    attention: softmax(cos(q, k) exp(min(lambda, ln 100)) + 16 sigmoid(B) + mask) v  in windows of 8 x 8; keys have no
               bias; B = MLP(offset), offsets sign log2(|8 d / 7| + 1) / 3; every second block moves its windows by 4,
               but not along a side that one window covers
    merge: 2 x 2 neighbours side by side (4 C), linear to 2 C, LN

Positions that padding adds take part as keys of cosine 0. A LN follows the last stage.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._parts import attention, drop_path, require_divisible
from fusionzoo.fusion.emsaformer import JointPatchEmbed
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._mit import ChannelNorm, drop_rates
from fusionzoo.models.published._swin import offset_index, shift_mask, trunc_init_, unwindows, windows
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe

__all__ = ["DEPTHS", "WINDOW", "JointSwin", "coordinates"]

DEPTHS = (2, 2, 6, 2)
WINDOW = 8


def coordinates(window: int, device: torch.device | None = None) -> Tensor:
    """Offsets of two positions of a window, down and right, spaced logarithmically: (2w - 1, 2w - 1, 2), -1.06 .. 1.06.

    >>> [round(v, 4) for v in coordinates(2)[:, 0, 0].tolist()]
    [-1.0566, 0.0, 1.0566]
    """
    offset = torch.arange(1 - window, window, dtype=torch.float32, device=device) / (window - 1) * 8
    offset = offset.sign() * torch.log2(offset.abs() + 1) / 3
    return torch.stack(torch.meshgrid(offset, offset, indexing="ij"), dim=2)


class CosineAttention(nn.Module):
    """Self-attention inside windows by cosines: (B, windows, w^2, C) -> the same shape."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        require_divisible(channels, heads, "heads")
        self.heads, self.window = heads, window
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        self.bias_mlp = nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        table = self.bias_mlp(coordinates(self.window, tokens.device).to(tokens.dtype).flatten(0, 1))
        index = offset_index(self.window, tokens.device).flatten()
        bias = 16 * rearrange(table[index], "(q k) heads -> 1 heads q k", q=self.window**2).sigmoid()
        if mask is not None:
            bias = (bias + mask).repeat(tokens.shape[0], 1, 1, 1)  # (B windows, h, w^2, w^2)
        of_q, of_k, of_v = self.qkv.bias.chunk(3)
        qkv = F.linear(tokens.flatten(0, 1), self.qkv.weight, torch.cat([of_q, torch.zeros_like(of_k), of_v]))
        q, k, v = rearrange(qkv, "bm n (three heads d) -> three bm heads n d", three=3, heads=self.heads)
        eps = max(1e-12, torch.finfo(k.dtype).tiny)  # k of a filled-up position is 0, and so is 1e-12 in float16
        q = F.normalize(q, dim=3, eps=eps) * self.log_scale.clamp(max=math.log(100.0)).exp()
        out = attention(q, F.normalize(k, dim=3, eps=eps), v, bias.to(q.dtype), scale=1.0)  # (B windows, h, w^2, d)
        return self.project(rearrange(out, "bm heads n d -> bm n (heads d)")).view_as(tokens)


class SwinV2Block(nn.Module):
    """One block, norms after its parts: (B, H, W, C) -> the same shape; `moved`: windows shifted by w / 2."""

    def __init__(self, channels: int, heads: int, moved: bool, drop: float = 0.0) -> None:
        super().__init__()
        self.moved = moved
        self.attention = CosineAttention(channels, heads, WINDOW)
        self.norm1 = nn.LayerNorm(channels)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.drop = drop_path(drop)

    def attend(self, feature: Tensor) -> Tensor:
        height, width = feature.shape[1:3]
        out = F.pad(feature, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        size = (out.shape[1], out.shape[2])
        down, right = (WINDOW // 2 if self.moved and side > WINDOW else 0 for side in size)
        mask = shift_mask(size, WINDOW, (down, right), feature) if down or right else None
        out = out.roll((-down, -right), (1, 2)) if mask is not None else out
        out = unwindows(self.attention(windows(out, WINDOW), mask), size, WINDOW)
        out = out.roll((down, right), (1, 2)) if mask is not None else out
        return out[:, :height, :width]

    def forward(self, feature: Tensor) -> Tensor:
        feature = feature + self.drop(self.norm1(self.attend(feature)))
        return feature + self.drop(self.norm2(self.narrow(F.gelu(self.widen(feature)))))


class Merge(nn.Module):
    """2 x 2 neighbours joined: (B, H, W, C) -> (B, ceil(H/2), ceil(W/2), 2C); odd sides are filled up with zeros."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(2 * channels)

    def forward(self, feature: Tensor) -> Tensor:
        feature = F.pad(feature, (0, 0, 0, feature.shape[2] % 2, 0, feature.shape[1] % 2))
        four = rearrange(feature, "b (h down) (w right) c -> b h w (right down c)", down=2, right=2)
        return self.norm(self.reduce(four))


class SwinV2Stage(nn.Module):
    """Merging, but in the first stage, and blocks: (B, H, W, C) -> (B, H', W', C')."""

    def __init__(self, channels: int, heads: int, first: bool, drops: list[float]) -> None:
        super().__init__()
        self.merge = None if first else Merge(channels // 2)
        self.blocks = nn.ModuleList(SwinV2Block(channels, heads, bool(j % 2), drop) for j, drop in enumerate(drops))
        trunc_init_(self)
        self.fused = Probe(channels, role="fused", modality="fused", meaning="map of the joint tokens after the blocks")

    def forward(self, feature: Tensor) -> Tensor:
        if self.merge is not None:
            feature = self.merge(feature)
        for block in self.blocks:
            feature = block(feature)
        return self.fused(feature.movedim(3, 1)).movedim(1, 3)


class JointSwin(FusionModel):
    """Base of models that join both modalities in the patch embedding; by itself the encoder alone.

    `stage2.rgb` and `stage2.x` are the two shares of the embedding, `stage{i}.fusion.fused` the joint map after a
    stage's blocks; behind the embedding there are no streams.

    Args:
        num_classes, x_channels, preprocess: see FusionModel; depth in metres by default.
        width: channels of the first stage, three quarters of them RGB's; a multiple of 32.
        drop: stochastic depth of the last block, linear from 0.
    """

    def __init__(
        self,
        num_classes: int = 1,
        x_channels: int = 1,
        preprocess: Preprocess | dict[str, Any] | None = None,
        width: int = 128,
        drop: float = 0.2,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        require_divisible(width, 32, "widths of a head")
        self.embed = JointPatchEmbed(3 * width // 4, width // 4, x_channels=x_channels)
        self.channels = [width << i for i in range(4)]
        for i, (channels, drops) in enumerate(zip(self.channels, drop_rates(DEPTHS, drop), strict=True)):
            blocks = SwinV2Stage(channels, channels // 32, i == 0, drops)
            if i:
                stage = nn.Module()
                stage.add_module("fusion", blocks)
            else:
                stage = Stage(3 * width // 4, blocks, x_channels=width // 4)
            setattr(self, f"stage{i + 2}", stage)
        self.norm = ChannelNorm(self.channels[3], eps=1e-5)

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """Maps of strides 4, 8, 16 as they come, and of stride 32 behind the norm."""
        tokens = self.embed(rgb, x).movedim(3, 1)  # (B, C, H / 4, W / 4)
        first, second = tokens.split([self.embed.embed_rgb.out_channels, self.embed.embed_x.out_channels], dim=1)
        entry: Stage = self.get_submodule("stage2")  # type: ignore[assignment]
        feature = torch.cat([entry.rgb(first), entry.x(second)], dim=1).movedim(1, 3)
        out = []
        for i in range(2, 6):
            feature = self.get_submodule(f"stage{i}.fusion")(feature)
            out.append(feature.movedim(3, 1))
        return [*out[:3], self.norm(out[3])]
