"""EMSAFormer's early fusion: each modality gets its own patch embedding and its own share of the channels.

Paper: Fischedick et al., "Efficient Multi-Task Scene Analysis with RGB-D Transformers", IJCNN 2023, arXiv 2306.05242.
Origin: github.com/TUI-NICR/nicr-multitask-scene-analysis (Apache-2.0); written here from the equations.

    tokens = [LN(conv4x4, stride 4 (3 -> 96) rgb); LN(conv4x4, stride 4 (1 -> 32) x)]      128 channels, channels last

One Swin V2 backbone then runs on the joint tokens. As a strategy (ours): the same with 1x1 kernels on the two stage
features, three quarters of the channels for RGB and one for x: fused = [LN(conv1x1 rgb); LN(conv1x1 x)], parameters
C^2 + 3 C. LN runs over the channels at each position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.fusion._parts import require_divisible
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["EMSAFormer", "JointPatchEmbed"]


class JointPatchEmbed(nn.Module):
    """(rgb (B, C_rgb, H, W), x (B, C_x, H, W)) -> (B, H / p, W / p, rgb_dim + x_dim), channels last.

    Args:
        rgb_dim, x_dim: channels that each modality gets.
        patch: kernel and stride (height, width).
        rgb_channels, x_channels: of the inputs.

    >>> sum(p.numel() for p in JointPatchEmbed(96, 32).parameters())
    5504
    """

    def __init__(
        self,
        rgb_dim: int,
        x_dim: int,
        patch: tuple[int, int] = (4, 4),
        rgb_channels: int = 3,
        x_channels: int = 1,
    ) -> None:
        super().__init__()
        self.embed_rgb = nn.Conv2d(rgb_channels, rgb_dim, patch, stride=patch)
        self.embed_x = nn.Conv2d(x_channels, x_dim, patch, stride=patch)
        self.norm_rgb = nn.LayerNorm(rgb_dim)
        self.norm_x = nn.LayerNorm(x_dim)
        told = "{} share of the channels, as a map"
        self.tokens_rgb = Probe(rgb_dim, role="embedded", modality="rgb", meaning=told.format("RGB's"))
        self.tokens_x = Probe(x_dim, role="embedded", modality="x", meaning=told.format("x's"))

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        first = self.norm_rgb(self.embed_rgb(rgb).movedim(1, 3)).movedim(3, 1)  # (B, D_rgb, h, w)
        second = self.norm_x(self.embed_x(x).movedim(1, 3)).movedim(3, 1)
        return torch.cat([self.tokens_rgb(first), self.tokens_x(second)], dim=1).movedim(1, 3)


@fusions.register("emsaformer")
class EMSAFormer(FusionBlock):
    """Own projection and norm for each modality, side by side: 3 C / 4 channels of RGB, C / 4 of x.

    >>> sum(p.numel() for p in EMSAFormer(64).parameters()) == 64**2 + 3 * 64
    True
    """

    family = "concat"
    paper = "Fischedick et al., EMSAFormer (IJCNN 2023), arXiv 2306.05242"
    licence = "MIT (ours, from the equations); original: Apache-2.0"

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        require_divisible(channels, 4, "quarters")
        self.embed = JointPatchEmbed(3 * channels // 4, channels // 4, (1, 1), channels, channels)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        return Fused(rgb, x, self.embed(rgb, x).movedim(3, 1))
