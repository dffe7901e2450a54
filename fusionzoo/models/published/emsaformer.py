"""EMSAFormer, its semantic task: one Swin V2 on the joint tokens of RGB and depth, an all-MLP or ESANet-like decoder.

Paper: Fischedick et al., "Efficient Multi-Task Scene Analysis with RGB-D Transformers", IJCNN 2023, arXiv 2306.05242.
Origin: github.com/TUI-NICR/EMSAFormer (Apache-2.0); written here from the equations.

    encoder: `_swin_v2`, 128, 256, 512, 1024 channels at strides 4 to 32
    context: the deepest map beside its means over 1x1 and 5x5 bins (1x1 to half width, bilinear), 1x1 to 1024
    mlp: u = [1x1 context (256); 1x1 LN f_3 (128); 1x1 LN f_2 (64); 1x1 LN f_1 (64)], bilinear to stride 4;
         1x1 to 128
    emsanet: three times [3x3; three NonBottleneck1D; learned upsampling x2; + LN of f_3, f_2, f_1] at 512, 256, 128
    scores: 3x3, then twice the learned upsampling of the class channels

Convolutions inside are without bias where a batch norm follows; the 1x1 of u have neither norm nor activation.
Parameters at 40 classes: 52,576,384 with the MLP decoder, 70,800,120 with EMSANet's, its side outputs included; they
are for training: `side_scores` (strides 8, 16, 32). Depth by default in metres with NYU Depth v2's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fusionzoo.errors import InputError
from fusionzoo.models.base import SIDE, SIDE_FACTOR
from fusionzoo.models.published._mit import ChannelNorm
from fusionzoo.models.published._swin_v2 import JointSwin
from fusionzoo.models.published.esanet import DecoderModule, PyramidPooling, Upsample, conv_act
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["ConvDecoder", "EMSAFormer", "MLPDecoder", "TaskHead"]


class TaskHead(nn.Module):
    """3x3 to `out` channels and as many learned upsamplings of them as named; without any, 1x1."""

    def __init__(self, inp: int, out: int, upsamplings: int = 2) -> None:
        super().__init__()
        kernel = 3 if upsamplings else 1
        self.conv = nn.Conv2d(inp, out, kernel, padding=kernel // 2)
        self.upsample = nn.Sequential(*[Upsample(out) for _ in range(upsamplings)])

    def forward(self, feature: Tensor) -> Tensor:
        out: Tensor = self.upsample(self.conv(feature))
        return out


class MLPDecoder(nn.Module):
    """The context (B, 8w, ..) and maps of strides 4, 8, 16, finest first -> (B, out, H, W) at 2^upsamplings / 4.

    Args:
        channels: of the four maps, finest first.
        out: of the result; `width` of the joined map before it.
        upsamplings: of the task head.
    """

    def __init__(self, channels: Sequence[int], out: int, width: int = 128, upsamplings: int = 2) -> None:
        super().__init__()
        widths = (64, 64, 128, 256)
        self.norms = nn.ModuleList(ChannelNorm(c, eps=1e-5) for c in channels[:3])
        self.project = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(channels, widths, strict=True))
        self.join = conv_act(sum(widths), width, 1)
        self.out = Probe(width, role="output", modality="fused", low=0.0, meaning="decoder's last feature")
        self.dropout = nn.Dropout2d(0.1)
        self.head = TaskHead(width, out, upsamplings)

    def forward(self, context: Tensor, skips: Sequence[Tensor]) -> Tensor:
        maps = [*(norm(skip) for norm, skip in zip(self.norms, skips, strict=True)), context]
        small = [layer(value) for layer, value in zip(self.project, maps, strict=True)]
        size = small[0].shape[-2:]
        even = [interpolate(v, size=size, mode="bilinear", align_corners=False) for v in small[:0:-1]]
        out: Tensor = self.head(self.dropout(self.out(self.join(torch.cat([*even, small[0]], dim=1)))))
        return out


class ConvDecoder(nn.Module):
    """The context and maps of strides 4, 8, 16, finest first -> class scores at stride 1; widths are the maps' own."""

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(ChannelNorm(c, eps=1e-5) for c in channels[:3])
        for i in (3, 2, 1):
            part = DecoderModule(channels[i], channels[i - 1], num_classes, wide_bias=False, eps=1e-5)
            setattr(self, f"up{i}", part)
        self.out = Probe(
            channels[0], role="output", modality="fused", meaning="decoder's last feature before the class scores"
        )
        self.head = TaskHead(channels[0], num_classes)

    def forward(self, context: Tensor, skips: Sequence[Tensor]) -> Tensor:
        return self.all(context, skips, sides=False)[0]

    def all(self, context: Tensor, skips: Sequence[Tensor], sides: bool = True) -> list[Tensor]:
        """[class scores, then side outputs from the finest (stride 8) to the coarsest (stride 32)]."""
        extra: list[Tensor] = []
        out = context
        for i in (3, 2, 1):
            part: DecoderModule = getattr(self, f"up{i}")
            out = part(out)
            if sides:
                extra.insert(0, part.side(out))
            skip = self.norms[i - 1](skips[i - 1])
            out = part.upsample(out)[..., : skip.shape[2], : skip.shape[3]] + skip
        return [self.head(self.out(out)), *extra]


class EMSAFormer(JointSwin):
    """EMSAFormer for semantic segmentation.

    Args:
        decoder: "mlp" or "emsanet"; the names `emsaformer` and `emsaformer_emsanet` fix it.
        num_classes: 40 in NYU Depth v2, 37 in SUN RGB-D, 20 in ScanNet.
        x_channels, preprocess, width, drop: see JointSwin.
    """

    def __init__(
        self,
        decoder: str,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        width: int = 128,
        drop: float = 0.2,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess, width, drop)
        if decoder not in ("mlp", "emsanet"):
            raise InputError(f"decoder is {decoder!r}; EMSAFormer has 'mlp' and 'emsanet'")
        self.context = PyramidPooling(self.channels[3], self.channels[3], mode="bilinear")
        make = MLPDecoder if decoder == "mlp" else ConvDecoder
        self.decoder = make(self.channels, num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at the input size")

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        *skips, deepest = self.features(rgb, x)
        return self.logits(self.decoder(self.context(deepest), skips))

    @property
    def loss_factors(self) -> dict[str, float]:
        return {SIDE: SIDE_FACTOR} if isinstance(self.decoder, ConvDecoder) else {}

    def scores_and_sides(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        if not isinstance(self.decoder, ConvDecoder):
            return [self.scores(rgb, x)]
        *skips, deepest = self.features(rgb, x)
        out, *sides = self.decoder.all(self.context(deepest), skips)
        return [self.logits(out), *sides]


architectures.add("emsaformer", partial(EMSAFormer, "mlp"))
architectures.add("emsaformer_emsanet", partial(EMSAFormer, "emsanet"))
