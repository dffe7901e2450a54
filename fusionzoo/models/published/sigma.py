"""Sigma: one VMamba for both modalities, scans across them at every stage, a decoder of scans.

Paper: Wan et al., "Sigma: Siamese Mamba Network for Multi-Modal Semantic Segmentation", WACV 2025, arXiv 2404.04256.
Origin: github.com/zifuwan/Sigma (MIT); written here from the paper, the blocks' equations and the sizes of its weights.
No CUDA extension: the scan is `fusionzoo.fusion.scan`.

    encoder (`_vmamba`, the same weights for RGB and x): 4x4 patches, stages of C, 2C, 4C, 8C at strides 4 to 32
    fusion of stage k: LN of both, CroMB, ConMB (`fusionzoo.fusion.sigma`); the streams go on without it
    decoder: f_4 enlarged x2 (Lin, pixels out of channels, LN), + f_3, four blocks, enlarged x2 (Lin, bilinear, LN),
    + f_2, four blocks, enlarged x2, + f_1, four blocks, LN; then Lin, x2, Lin, x2, LN, 1x1 without bias
    block of the decoder: y = s_1 m + scan(LN(m)), then s_2 y + CAB(LN(y)), s learned per channel, N = 4 states
    CAB: conv3x3(C -> C/3), GELU, conv3x3(C/3 -> C), times a gate from its mean and maximum (C -> C/30 -> C, SiLU)

Sides of any length: odd maps are padded where they are halved, and what the decoder enlarged is fitted to the finer
map's size, so inputs are padded to multiples of 4 only.

Tiny: C = 96, blocks 2, 2, 9, 2; small: 2, 2, 27, 2; base: that with C = 128. x is one channel of 0 to 255, depth as a
grey picture (NYU Depth v2, SUN RGB-D) or thermal (MFNet, PST900); three copies of it, each with the mean and deviation
that ImageNet has in that channel, go through RGB's encoder. Three channels of x's own (HHA) are possible.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import drop_path, reduced
from fusionzoo.fusion.sigma import Sigma as Fusion
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._swin import PatchMerge, trunc_init_
from fusionzoo.models.published._vmamba import MapScan, ScanBlock
from fusionzoo.models.published.sagate import imagenet_hha
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["SIZES", "Sigma", "single_channel"]

SIZES = {"tiny": (96, (2, 2, 9, 2)), "small": (96, (2, 2, 27, 2)), "base": (128, (2, 2, 27, 2))}
"""Name -> (C of the first stage, blocks by stage)."""

DECODER_BLOCKS = 4


def single_channel(x_kind: str = "grey") -> Preprocess:
    """x of 0 to 255 with the mean of ImageNet's means and deviations, RGB with its own."""
    return Preprocess(x_kind=x_kind, x_scale=1 / 255, x_mean=(0.449,), x_std=(0.226,))


def resized(feature: Tensor, height: int, width: int) -> Tensor:
    """(B, h, w, C) -> (B, height, width, C), bilinear."""
    if feature.shape[1:3] == (height, width):
        return feature
    size = (height, width)
    return F.interpolate(feature.movedim(3, 1), size=size, mode="bilinear", align_corners=False).movedim(1, 3)


def enlarged(feature: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, 2H, 2W, C), bilinear."""
    return resized(feature, 2 * feature.shape[1], 2 * feature.shape[2])


def added(coarse: Tensor, fine: Tensor) -> Tensor:
    """The sum, after `coarse` has got the size of `fine`: they differ by a pixel where a side was odd."""
    return resized(coarse, fine.shape[1], fine.shape[2]) + fine


class ChannelAttention(nn.Module):
    """Two 3x3 convolutions and a gate of each channel: (B, H, W, C) -> same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 3, 3, padding=1)
        self.expand = nn.Conv2d(channels // 3, channels, 3, padding=1)
        hidden = reduced(channels, 30, 1)
        self.excite = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.SiLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.gate = Probe(
            channels, role="gate", modality="fused", low=0.0, high=1.0, axes="B C 1 1",
            meaning="channel gate of the decoder's block",
        )  # fmt: skip

    def forward(self, feature: Tensor) -> Tensor:
        out = self.expand(F.gelu(self.reduce(feature.movedim(3, 1))))
        mean, most = out.mean((2, 3), keepdim=True), out.amax((2, 3), keepdim=True)
        gate = self.gate((self.excite(mean) + self.excite(most)).sigmoid())
        return (out * gate).movedim(1, 3)


class DecoderBlock(nn.Module):
    """A scan and a convolution, each beside a scaled shortcut: (B, H, W, C) -> same shape."""

    def __init__(self, channels: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.scan = MapScan(channels, states=4)
        self.drop = drop_path(drop)
        self.norm2 = nn.LayerNorm(channels)
        self.attend = ChannelAttention(channels)
        self.scale1 = nn.Parameter(torch.ones(channels))
        self.scale2 = nn.Parameter(torch.ones(channels))

    def forward(self, feature: Tensor) -> Tensor:
        feature = self.scale1 * feature + self.drop(self.scan(self.norm1(feature)))
        return self.scale2 * feature + self.attend(self.norm2(feature))


class Unfold(nn.Module):
    """Lin(C -> 2C), each pixel's channels laid out as 2x2 pixels, LN: (B, H, W, C) -> (B, 2H, 2W, C/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Linear(channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, feature: Tensor) -> Tensor:
        out = self.expand(feature)
        return self.norm(rearrange(out, "b h w (down right c) -> b (h down) (w right) c", down=2, right=2))


class Enlarge(nn.Module):
    """Lin(C -> C/2), bilinear x2, LN: (B, H, W, C) -> (B, 2H, 2W, C/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels // 2, bias=False)
        self.norm = nn.LayerNorm(channels // 2)

    def forward(self, feature: Tensor) -> Tensor:
        return self.norm(enlarged(self.reduce(feature)))


class Decoder(nn.Module):
    """Four fused maps, strides 4 to 32 -> class scores at stride 1."""

    blocks1: nn.Sequential
    blocks2: nn.Sequential
    blocks3: nn.Sequential

    def __init__(self, channels: int, num_classes: int, drop: float) -> None:
        super().__init__()
        self.up4 = Unfold(8 * channels)
        for i in (3, 2, 1):
            width = channels << (i - 1)
            # the rate rises from stage to stage, finest last
            rates = [drop * (DECODER_BLOCKS * (i - 1) + j) / (4 * DECODER_BLOCKS - 1) for j in range(DECODER_BLOCKS)]
            setattr(self, f"blocks{i}", nn.Sequential(*(DecoderBlock(width, r) for r in rates)))
        self.up3, self.up2 = Enlarge(4 * channels), Enlarge(2 * channels)
        self.norm = nn.LayerNorm(channels)
        self.last1 = nn.Linear(channels, channels, bias=False)
        self.last2 = nn.Linear(channels, channels, bias=False)
        self.last_norm = nn.LayerNorm(channels)
        self.out = Probe(channels, role="output", modality="fused", meaning="decoder's last feature, at stride 1")
        self.classify = nn.Conv2d(channels, num_classes, 1, bias=False)

    def forward(self, features: list[Tensor]) -> Tensor:
        fine, low, middle, deep = (f.movedim(1, 3) for f in features)
        out = self.up3(self.blocks3(added(self.up4(deep), middle)))
        out = self.up2(self.blocks2(added(out, low)))
        out = self.norm(self.blocks1(added(out, fine)))
        out = self.last_norm(enlarged(self.last2(enlarged(self.last1(out)))))
        return self.classify(self.out(out.movedim(3, 1)))


class Sigma(FusionModel):
    """Sigma with its Mamba decoder.

    Args:
        size: a name of SIZES; the names `sigma_tiny`, `sigma_small`, `sigma_base` fix it.
        num_classes: 40 in NYU Depth v2.
        x_channels: 1, or 3 for HHA: both modalities share the encoder.
        preprocess: `single_channel()` or, for three channels, HHA with ImageNet's statistics, where None.
        drop: stochastic depth of the encoder's last block, rising linearly from 0 (published: 0.2, 0.3, 0.6).
        decoder_drop: the same for the decoder (published: 0.1).

    Raises:
        InputError: x_channels is neither 1 nor 3.
    """

    stride: ClassVar[int] = 4

    def __init__(
        self,
        size: str,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        drop: float = 0.0,
        decoder_drop: float = 0.0,
    ) -> None:
        if x_channels not in (1, 3):
            raise InputError(f"x_channels is {x_channels}; Sigma's encoder is RGB's for x too: give 1 or 3")
        usual = single_channel() if x_channels == 1 else imagenet_hha(x_channels)
        super().__init__(num_classes, x_channels, preprocess or usual)
        channels, blocks = SIZES[size]
        self.patches = nn.Conv2d(3, channels, 4, stride=4)
        self.patch_norm = nn.LayerNorm(channels)
        rates = [drop * i / (sum(blocks) - 1) for i in range(sum(blocks))]
        for i, count in enumerate(blocks):
            width, first = channels << i, sum(blocks[:i])
            setattr(self, f"layer{i + 1}", nn.Sequential(*(ScanBlock(width, r) for r in rates[first : first + count])))
            setattr(self, f"norm{i + 1}", nn.LayerNorm(width))
            if i < 3:
                setattr(self, f"merge{i + 1}", PatchMerge(width))
        self.decoder = Decoder(channels, num_classes, decoder_drop)
        trunc_init_(self)
        for i in range(4):
            setattr(self, f"stage{i + 2}", Stage(channels << i, Fusion(channels << i, level=i + 2)))
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at the input size")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The fused maps of the four stages, strides 4 to 32, (B, C, H, W) each."""
        if x.shape[1] == 1:
            x = self._three_copies(x)
        both = self.patch_norm(self.patches(torch.cat([rgb, x])).movedim(1, 3))  # one pass: (2B, H/4, W/4, C)
        out = []
        for i in range(1, 5):
            stage: Stage = getattr(self, f"stage{i + 1}")
            first, second = getattr(self, f"layer{i}")(both).movedim(3, 1).unflatten(0, (2, -1)).unbind()
            both = torch.cat([stage.rgb(first), stage.x(second)]).movedim(1, 3)
            first, second = getattr(self, f"norm{i}")(both).movedim(3, 1).unflatten(0, (2, -1)).unbind()
            out.append(stage.fusion(first, second).fused)
            if i < 4:
                both = getattr(self, f"merge{i}")(both)
        return out

    def _three_copies(self, x: Tensor) -> Tensor:
        """(B, 1, H, W), normalised -> (B, 3, H, W), normalised as RGB's channels are."""
        p = self.preprocess
        pairs = list(zip(p.rgb_mean, p.rgb_std, strict=True))
        scale = x.new_tensor([p.x_std[0] / std for _, std in pairs]).view(3, 1, 1)
        shift = x.new_tensor([(p.x_mean[0] - mean) / std for mean, std in pairs]).view(3, 1, 1)
        return x * scale + shift


for _size in SIZES:
    architectures.add(f"sigma_{_size}", partial(Sigma, _size))
