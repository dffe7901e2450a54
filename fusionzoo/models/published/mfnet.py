"""MFNet: two small convolutional encoders for colour and thermal images, concatenated at the bottleneck and in skips.

Paper: Ha et al., "MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles with Multi-Spectral Scenes",
IROS 2017. Origin: github.com/haqishen/MFNet-pytorch, which states no licence; written here from the paper and sizes.

    conv(k) = LeakyReLU_0.2(BN(3x3))
    rgb: 16 | 48, 48 | 48, 48 | inception 96 | inception 96        x: 16 | 16, 16 | 16, 16 | inception 36 | 36
    "|" is a 2x2 max pool; an inception is three times [conv(c/2), conv(c/2) with dilation 2]
    f_i = [rgb_i; x_i];   d = f_5;   d = conv(up(d) + f_i) for i = 4, 3, 2;   logits = conv(up(d))       up: nearest x2

736,275 parameters at 9 classes; the fusion has none. As published, the last layer is normalised and rectified too.
Inputs: both divided by 255, nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, max_pool2d

from fusionzoo.models.base import FusionModel
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["CLASSES", "MFNet"]

CLASSES = ("unlabelled", "car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")
"""Of the MFNet data set, index 0 first."""

RGB_CHANNELS = (16, 48, 48, 96, 96)
X_CHANNELS = (16, 16, 16, 36, 36)


class ConvLeaky(nn.Module):
    """LeakyReLU_0.2(BN(3x3 convolution with bias)); same size."""

    def __init__(self, inp: int, out: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inp, out, 3, padding=dilation, dilation=dilation)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, feature: Tensor) -> Tensor:
        return leaky_relu(self.bn(self.conv(feature)), 0.2)


class MiniInception(nn.Module):
    """Three times a plain and a dilated convolution side by side, half of the channels each."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        for i, channels in enumerate((inp, out, out), 1):
            setattr(self, f"near{i}", ConvLeaky(channels, out // 2))
            setattr(self, f"far{i}", ConvLeaky(channels, out // 2, dilation=2))

    def forward(self, feature: Tensor) -> Tensor:
        for i in (1, 2, 3):
            feature = torch.cat([getattr(self, f"near{i}")(feature), getattr(self, f"far{i}")(feature)], dim=1)
        return feature


class Encoder(nn.Module):
    """(B, C, H, W) -> five stages of strides 1, 2, 4, 8, 16 before their pools."""

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        a, b, c, d, e = channels
        self.layer1 = ConvLeaky(in_channels, a)
        self.layer2 = nn.Sequential(ConvLeaky(a, b), ConvLeaky(b, b))
        self.layer3 = nn.Sequential(ConvLeaky(b, c), ConvLeaky(c, c))
        self.layer4 = MiniInception(c, d)
        self.layer5 = MiniInception(d, e)

    def stage(self, number: int, feature: Tensor) -> Tensor:
        if number > 1:
            feature = max_pool2d(feature, 2, 2)
        out: Tensor = getattr(self, f"layer{number}")(feature)
        return out


class Join(nn.Module):
    """Concatenation of both modalities' channels, with its probe."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fused = Probe(channels, role="fused", modality="fused", meaning="RGB's channels, then x's")

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.fused(torch.cat([rgb, x], dim=1))


class Decoder(nn.Module):
    """Nearest upsampling, addition of the joined skip, convolution; three times, and once more without a skip."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        joined = [a + b for a, b in zip(RGB_CHANNELS, X_CHANNELS, strict=True)]
        self.up4 = ConvLeaky(joined[3], joined[2])
        self.up3 = ConvLeaky(joined[2], joined[1])
        self.up2 = ConvLeaky(joined[1], 32)
        self.up1 = ConvLeaky(32, num_classes)
        self.out = Probe(32, role="output", modality="fused", meaning="decoder's last feature before the class scores")

    def forward(self, features: list[Tensor]) -> Tensor:
        f2, f3, f4, out = features
        for up, skip in ((self.up4, f4), (self.up3, f3), (self.up2, f2)):
            out = up(interpolate(out, scale_factor=2, mode="nearest") + skip)
        return self.up1(interpolate(self.out(out), scale_factor=2, mode="nearest"))


@architectures.register("mfnet")
class MFNet(FusionModel):
    """MFNet for colour and thermal images.

    Args:
        num_classes: 9, with their names, in the MFNet data set.
        x_channels: 1 for thermal.
        preprocess: both inputs / 255 where None.

    >>> model = MFNet()
    >>> sum(p.numel() for p in model.parameters())
    736275
    >>> model(torch.zeros(1, 3, 30, 40), torch.zeros(1, 1, 30, 40)).shape
    torch.Size([1, 9, 30, 40])
    """

    stride = 16

    def __init__(self, num_classes: int = 9, x_channels: int = 1, preprocess: Preprocess | None = None) -> None:
        super().__init__(num_classes, x_channels, preprocess or plain_thermal(x_channels))
        self.rgb_encoder = Encoder(3, RGB_CHANNELS)
        self.x_encoder = Encoder(x_channels, X_CHANNELS)
        for i, (a, b) in enumerate(zip(RGB_CHANNELS, X_CHANNELS, strict=True), 1):
            setattr(self, f"stage{i}", Stage(a, Join(a + b) if i > 1 else None, x_channels=b))
        self.decoder = Decoder(num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at the input size")
        if num_classes == len(CLASSES):
            self.set_classes(CLASSES)

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        fused = []
        for i in range(1, 6):
            stage: Stage = getattr(self, f"stage{i}")
            rgb, x = stage.rgb(self.rgb_encoder.stage(i, rgb)), stage.x(self.x_encoder.stage(i, x))
            if i > 1:
                fused.append(stage.fusion(rgb, x))
        return self.logits(self.decoder(fused))


def plain_thermal(x_channels: int = 1) -> Preprocess:
    """Colour and thermal values divided by 255, no mean, no deviation."""
    zero, one = (0.0,), (1.0,)
    return Preprocess(zero * 3, one * 3, "thermal", 1 / 255, zero * x_channels, one * x_channels)
