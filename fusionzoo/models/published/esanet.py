"""ESANet: two ResNets of factorised blocks, SE-add into RGB at five stages, pyramid pooling, a decoder with skips.

Paper: Seichter et al., "Efficient RGB-D Semantic Segmentation for Indoor Scene Analysis", ICRA 2021, arXiv 2011.06961.
Origin: github.com/TUI-NICR/ESANet (Apache-2.0); written here from the paper and its sizes.

    f_k = SE-add(r_k, d_k), r_{k+1} = layer(f_k), d stays pure (`fusionzoo.fusion.se_add`)       strides 2 to 32
    context: f_5 beside its means over 1x1 and 5x5 bins (1x1 to half width, nearest upsampling), 1x1 to 512
    decoder: three times [3x3; three NonBottleneck1D; learned upsampling x2; + 1x1 of f_4, f_3, f_2] at 512, 256, 128
    scores: 3x3, then twice the learned upsampling

NonBottleneck1D (Romera et al., ERFNet, 2018): 3x1 and 1x3 with a ReLU between, batch norm (eps 1e-3), twice, round a
shortcut. The learned upsampling is nearest x2 and a 3x3 convolution of each channel, zero padding, bilinear at the
start. 46,955,840 parameters with ResNet-34 of NonBottleneck1D at 40 classes, side outputs included; they are for
training: `side_scores` (strides 8, 16, 32). Depth by default in metres with NYU Depth v2's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from fusionzoo.fusion.se_add import SEAddUniRGB
from fusionzoo.models.published._resnet import WithSideOutputs, he_init_
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["DecoderModule", "ESANet", "NonBottleneck1D", "PyramidPooling", "Upsample", "conv_act"]

WIDTHS = (512, 256, 128)
BINS = (1, 5)


def conv_act(inp: int, out: int, kernel: int) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU; same size."""
    conv = nn.Conv2d(inp, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


class NonBottleneck1D(nn.Module):
    """Residual block of 3x1 and 1x3 convolutions: (B, inp, H, W) -> (B, out, H / stride, W / stride).

    Args:
        inp, out, stride, downsample: as of a residual block of a ResNet.
        wide_bias, eps: whether the 1x3 convolutions have a bias, and of the batch norms.
    """

    expansion = 1

    def __init__(
        self,
        inp: int,
        out: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        *,
        wide_bias: bool = True,
        eps: float = 1e-3,
    ) -> None:
        super().__init__()
        self.tall1 = nn.Conv2d(inp, out, (3, 1), stride=(stride, 1), padding=(1, 0))
        self.wide1 = nn.Conv2d(out, out, (1, 3), stride=(1, stride), padding=(0, 1), bias=wide_bias)
        self.bn1 = nn.BatchNorm2d(out, eps=eps)
        self.tall2 = nn.Conv2d(out, out, (3, 1), padding=(1, 0))
        self.wide2 = nn.Conv2d(out, out, (1, 3), padding=(0, 1), bias=wide_bias)
        self.bn2 = nn.BatchNorm2d(out, eps=eps)
        self.downsample = downsample

    def forward(self, feature: Tensor) -> Tensor:
        out = self.bn1(self.wide1(self.tall1(feature).relu())).relu()
        out = self.bn2(self.wide2(self.tall2(out).relu()))
        return (out + (feature if self.downsample is None else self.downsample(feature))).relu()


class PyramidPooling(nn.Module):
    """Context: the map beside its means over BINS, enlarged by `mode`; 1x1 convolution to `out` channels."""

    def __init__(self, inp: int, out: int, mode: str = "nearest") -> None:
        super().__init__()
        self.mode = mode
        part = inp // len(BINS)
        self.parts = nn.ModuleList(conv_act(inp, part, 1) for _ in BINS)
        self.join = conv_act(inp + part * len(BINS), out, 1)
        self.pooled = nn.ModuleList(
            Probe(
                part, role="pooled", modality="fused", low=0.0, axes=f"B C {n} {n}", meaning=f"means over {n}x{n} bins"
            )
            for n in BINS
        )
        self.out = Probe(out, role="context", modality="fused", low=0.0, meaning="deepest fused feature with context")

    def forward(self, feature: Tensor) -> Tensor:
        size = feature.shape[-2:]
        all_ = [feature]
        for bins, part, shown in zip(BINS, self.parts, self.pooled, strict=True):
            all_.append(interpolate(shown(part(adaptive_avg_pool2d(feature, bins))), size=size, mode=self.mode))
        return self.out(self.join(torch.cat(all_, dim=1)))


class Upsample(nn.Module):
    """Nearest x2, then a learned 3x3 convolution of each channel that starts as bilinear interpolation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        tent = torch.tensor([1.0, 2.0, 1.0])
        with torch.no_grad():
            self.conv.weight.copy_((tent[:, None] * tent / 16).expand_as(self.conv.weight))
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, feature: Tensor) -> Tensor:
        return self.conv(interpolate(feature, scale_factor=2, mode="nearest"))


class DecoderModule(nn.Module):
    """3x3 to `out` channels, three NonBottleneck1D with its options `block`, side output, upsampling."""

    def __init__(self, inp: int, out: int, num_classes: int, **block: Any) -> None:
        super().__init__()
        self.narrow = conv_act(inp, out, 3)
        self.blocks = nn.Sequential(*[NonBottleneck1D(out, out, **block) for _ in range(3)])
        self.side = nn.Conv2d(out, num_classes, 1)
        self.upsample = Upsample(out)

    def forward(self, feature: Tensor) -> Tensor:
        return self.blocks(self.narrow(feature))


class Decoder(nn.Module):
    """Fused maps at strides 4, 8, 16 and 32 -> class scores at the input size. `channels`: of all five stages."""

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        self.context = PyramidPooling(channels[4], WIDTHS[0])
        he_init_(self.context)
        inp = WIDTHS[0]
        for i, width in enumerate(WIDTHS, 1):
            source = channels[4 - i]
            skip: nn.Module = nn.Identity() if source == width else conv_act(source, width, 1)
            he_init_(skip)
            setattr(self, f"skip{i}", skip)
            part = DecoderModule(inp, width, num_classes)
            for layers in (part.narrow, part.blocks, part.side):
                he_init_(layers)
            setattr(self, f"up{i}", part)
            inp = width
        self.out = Probe(inp, role="output", modality="fused", meaning="decoder's last feature before the class scores")
        self.classify = nn.Conv2d(inp, num_classes, 3, padding=1)
        he_init_(self.classify)
        self.enlarge1 = Upsample(num_classes)
        self.enlarge2 = Upsample(num_classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.all(features, sides=False)[0]

    def all(self, features: Sequence[Tensor], sides: bool = True) -> list[Tensor]:
        """[class scores, then side outputs from the finest (stride 8) to the coarsest (stride 32)]."""
        extra: list[Tensor] = []
        out = self.context(features[3])
        for i in range(1, 4):
            part: DecoderModule = getattr(self, f"up{i}")
            out = part(out)
            if sides:
                extra.insert(0, part.side(out))
            out = part.upsample(out) + getattr(self, f"skip{i}")(features[3 - i])
        return [self.enlarge2(self.enlarge1(self.classify(self.out(out)))), *extra]


class ESANet(WithSideOutputs):
    """ESANet.

    Args:
        depth: of both ResNets, and `nbt1d` their blocks (NonBottleneck1D in place of the basic block); the names
            `esanet_r34_nbt1d`, `esanet_r50`, ... fix both.
        num_classes: 40 in NYU Depth v2, 37 in SUN RGB-D.
        x_channels, preprocess: see FusionModel; depth in metres by default.
    """

    reads = (2, 3, 4, 5)

    def __init__(
        self,
        depth: int,
        nbt1d: bool,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
    ) -> None:
        super().__init__(
            depth,
            partial(SEAddUniRGB, min_hidden=1),
            num_classes=num_classes,
            x_channels=x_channels,
            preprocess=preprocess,
            block=NonBottleneck1D if nbt1d else None,
        )
        self.decoder = Decoder(self.channels, num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at the input size")


for _depth in (18, 34):
    architectures.add(f"esanet_r{_depth}_nbt1d", partial(ESANet, _depth, True))
for _depth in (18, 34, 50):
    architectures.add(f"esanet_r{_depth}", partial(ESANet, _depth, False))
