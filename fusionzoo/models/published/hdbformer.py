"""HDBFormer: Swin-B beside plain convolutions on RGB, depthwise convolutions on depth, MIIM at four strides.

Paper: Wei et al., "HDBFormer", IEEE SPL 2025, arXiv 2504.13579. Origin: github.com/Weishuobin/HDBFormer (CC BY-NC-SA
4.0, code and weights); written here from the equations alone, no code taken.

    RGB: s_1..4 of Swin (`_swin`, windows of 7; LN behind each stage) and l_1..4 of five times [3x3, ReLU, 1x1, ReLU,
         max pool]; c_i = ReLU BN 1x1 [s_i + l_i; s_i * l_i]
    x:   e_1..4 of five times [depthwise 3x3, BN, ReLU, 1x1, BN, ReLU, max pool]
    m_i = MIIM(c_i, e_i), twice with one set of weights (`fusionzoo.fusion.hdbformer`)
    scores = 1x1 [m_1; m_2; m_3; m_4; l_4], each bilinear to stride 4

The maps of stride 2 are used nowhere. Parameters at 40 classes: 104,364,696, 86,745,016 of them Swin-B's. The original
takes sides that are multiples of 32; here pools round up, as Swin does. x is depth as a grey image, 0 to 255; one
channel stands for three equal ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import require_divisible
from fusionzoo.fusion.hdbformer import MIIM
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._mit import ChannelNorm, drop_rates
from fusionzoo.models.published._swin import PatchMerge, SwinStage, trunc_init_
from fusionzoo.models.published.dformer import grey_depth
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["DEPTHS", "WINDOW", "HDBFormer", "pyramid"]

DEPTHS = (2, 2, 18, 2)
WINDOW = 7
"""Blocks of the four stages of Swin-B, and the side of its windows."""


def pyramid(widths: tuple[int, ...], light: bool) -> nn.ModuleList:
    """Five parts that halve the sides: (B, a, H, W) -> (B, b, ceil(H/2), ceil(W/2)); `light`: x's, else RGB's."""
    parts = nn.ModuleList()
    for a, b in zip(widths[:-1], widths[1:], strict=True):
        first = nn.Conv2d(a, a, 3, padding=1, groups=a if light else 1)
        layers = [first, nn.BatchNorm2d(a), nn.ReLU(), nn.Conv2d(a, b, 1), nn.BatchNorm2d(b), nn.ReLU()]
        if not light:
            layers = [first, nn.ReLU(), nn.Conv2d(a, b, 1), nn.ReLU()]
        parts.append(nn.Sequential(*layers, nn.MaxPool2d(2, ceil_mode=True)))
    return parts


class Interaction(nn.Module):
    """MIIM in two passes: (rgb, x) (B, C, H, W) each -> what the decoder reads, (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.miim = MIIM(channels, passes=2)
        self.fused = Probe(channels, role="fused", modality="fused", meaning="RGB's map after the second pass")

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.fused(self.miim.twice(rgb, x))


class Join(nn.Module):
    """Maps of several sizes, enlarged to the first one's and side by side -> class scores at its size."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.out = Probe(channels, role="output", modality="fused", meaning="all maps side by side")
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        even = [interpolate(v, size=size, mode="bilinear", align_corners=False) for v in maps[1:]]
        return self.classify(self.out(torch.cat([maps[0], *even], dim=1)))


class HDBFormer(FusionModel):
    """HDBFormer.

    Args:
        num_classes: 40 in NYU Depth v2, 37 in SUN RGB-D.
        x_channels: 1 or 3; the original is given three equal ones.
        preprocess: ImageNet's statistics for RGB, grey depth of mean 0.48 and deviation 0.28 where None.
        drop: stochastic depth of the last Swin block, linear from 0.
        width: channels of Swin's first stage, 128 in Swin-B; a multiple of 32.
    """

    def __init__(
        self,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        drop: float = 0.2,
        width: int = 128,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess or grey_depth(x_channels))
        if x_channels not in (1, 3):
            raise InputError(f"HDBFormer takes one channel of depth or three, not {x_channels}; give 1 or 3")
        require_divisible(width, 32, "widths of a head")
        channels = [width << i for i in range(4)]
        widths = (3, width // 2, *channels)
        self.detail, self.x_encoder = pyramid(widths, light=False), pyramid(widths, light=True)
        self.embed = nn.Conv2d(3, width, 4, stride=4)
        self.embed_norm = nn.LayerNorm(width)
        self.swin, self.merge, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.reduce = nn.ModuleList()
        for i, (c, rates) in enumerate(zip(channels, drop_rates(DEPTHS, drop), strict=True)):
            self.swin.append(SwinStage(c, c // 32, WINDOW, None, rates))
            self.norms.append(ChannelNorm(c, eps=1e-5))
            self.reduce.append(nn.Sequential(nn.Conv2d(2 * c, c, 1), nn.BatchNorm2d(c), nn.ReLU()))
            if i < 3:
                self.merge.append(PatchMerge(c))
            setattr(self, f"stage{i + 2}", Stage(c, Interaction(c)))
        trunc_init_(self.merge)
        self.decoder = Join(sum(channels) + channels[3], num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")

    def rgb_maps(self, rgb: Tensor) -> tuple[list[Tensor], Tensor]:
        """c_1..4, strides 4 to 32, and l_4."""
        tokens = pad(rgb, (0, -rgb.shape[3] % 4, 0, -rgb.shape[2] % 4))
        tokens = self.embed_norm(self.embed(tokens).movedim(1, 3))  # (B, H / 4, W / 4, C)
        local = self.detail[0](rgb)
        out = []
        for i in range(4):
            local, tokens = self.detail[i + 1](local), self.swin[i](tokens)
            seen = self.norms[i](tokens.movedim(3, 1))
            out.append(self.reduce[i](torch.cat([seen + local, seen * local], dim=1)))
            if i < 3:
                tokens = self.merge[i](tokens)
        return out, local

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """m_1..4 and l_4: what the decoder reads."""
        maps, last = self.rgb_maps(rgb)
        e = self.x_encoder[0](x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
        out = []
        for i, c in enumerate(maps):
            e = self.x_encoder[i + 1](e)
            stage: Stage = getattr(self, f"stage{i + 2}")
            e = stage.x(e)
            out.append(stage.fusion(stage.rgb(c), e))
        return [*out, last]


architectures.add("hdbformer_swin_base", HDBFormer)
