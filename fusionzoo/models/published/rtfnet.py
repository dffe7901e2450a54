"""RTFNet: two ResNets for colour and thermal images, addition into RGB, a decoder without skips.

Paper: Sun et al., "RTFNet: RGB-Thermal Fusion Network for Semantic Segmentation of Urban Scenes", IEEE RA-L 2019.
Origin: github.com/yuxiangsun/RTFNet (MIT); written here from the paper and its sizes.

    r_k = layer_k(f_{k-1}), d_k = layer_k(d_{k-1}), f_k = r_k + d_k  for the stem and four groups (strides 2 to 32)
    decoder: f_5 through five pairs of bottlenecks, the second of each pair doubles the size and halves the width

The bottlenecks of the decoder do not narrow: all convolutions are as wide as their output, so that the decoder holds
three quarters of the parameters (R50: 185,238,501; R152: 254,510,053 at 9 classes). As published, class scores leave a
ReLU. Inputs: both divided by 255, nothing else.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from fusionzoo.fusion.addition import RTFNet as Addition
from fusionzoo.models.published._resnet import TwoResNets, he_init_
from fusionzoo.models.published.mfnet import CLASSES, plain_thermal
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["RTFNet", "UpBottleneck"]

DEPTHS = (18, 34, 50, 101, 152)


class UpBottleneck(nn.Module):
    """1x1, 3x3 and 3x3 convolutions (the last a 2x2 transposed one where `double`) round a shortcut.

    (B, inp, H, W) -> (B, out, H, W), or (B, out, 2H, 2W) where `double`.
    """

    def __init__(self, inp: int, out: int, double: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inp, out, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv3 = (
            nn.ConvTranspose2d(out, out, 2, stride=2, bias=False)
            if double
            else nn.Conv2d(out, out, 3, padding=1, bias=False)
        )
        self.bn3 = nn.BatchNorm2d(out)
        self.doubles = double
        if double:
            self.shortcut = nn.Sequential(nn.ConvTranspose2d(inp, out, 2, stride=2, bias=False), nn.BatchNorm2d(out))

    def forward(self, feature: Tensor) -> Tensor:
        out = self.bn1(self.conv1(feature)).relu()
        out = self.bn2(self.conv2(out)).relu()
        out = self.bn3(self.conv3(out))
        return (out + (self.shortcut(feature) if self.doubles else feature)).relu()


class Decoder(nn.Module):
    """(B, C, H/32, W/32) -> class scores (B, K, H, W), not below 0."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        widths = [channels >> i for i in range(5)]
        for i, width in enumerate(widths):
            after = widths[i + 1] if i < 4 else num_classes
            up = nn.Sequential(UpBottleneck(width, width, False), UpBottleneck(width, after, True))
            setattr(self, f"up{i + 1}", up)
        self.out = Probe(
            widths[-1], role="output", modality="fused", meaning="decoder's last feature before the class scores"
        )
        he_init_(self)

    def forward(self, feature: Tensor) -> Tensor:
        for i in range(1, 5):
            feature = getattr(self, f"up{i}")(feature)
        return self.get_submodule("up5")(self.out(feature))


class RTFNet(TwoResNets):
    """RTFNet.

    Args:
        depth: of both ResNets; the names `rtfnet_r50`, `rtfnet_r152`, ... fix it.
        num_classes, x_channels, preprocess: see MFNet.
    """

    reads = (5,)

    def __init__(
        self, depth: int, num_classes: int = 9, x_channels: int = 1, preprocess: Preprocess | None = None
    ) -> None:
        super().__init__(
            depth,
            Addition,
            num_classes=num_classes,
            x_channels=x_channels,
            preprocess=preprocess or plain_thermal(x_channels),
        )
        self.decoder = Decoder(self.channels[-1], num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", low=0.0, meaning="class scores, rectified")
        if num_classes == len(CLASSES):
            self.set_classes(CLASSES)

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.logits(self.decoder(self.features(rgb, x)[-1]))


for _depth in DEPTHS:
    architectures.add(f"rtfnet_r{_depth}", partial(RTFNet, _depth))
