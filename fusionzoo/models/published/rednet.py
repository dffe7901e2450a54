"""RedNet: two ResNets, depth added into RGB at five scales, a residual decoder with skips and side outputs.

Paper: Jiang et al., "RedNet: Residual Encoder-Decoder Network for indoor RGB-D Semantic Segmentation", 2018, arXiv
1806.01054. Origin: github.com/JindongJiang/RedNet (CC BY-NC 4.0); written here from the paper and its sizes.

    r_k = layer_k(f_{k-1}), d_k = layer_k(d_{k-1}), f_k = r_k + d_k                            strides 2 to 32
    s_k = ReLU(BN(1x1(f_k))) to 64, 64, 128, 256, 512 channels
    u = up_1(s_5);  u = up_{6-k}(u + s_k) for k = 4, 3, 2;  scores = 2x2 transposed(blocks(u + s_1))

81,970,233 parameters with ResNet-50 at 37 classes, side outputs included. Side outputs (1x1 on u at four scales) are
for training: `side_scores`, strides 2 to 16. Depth was normalised as (raw - 19050) / 9650 with SUN RGB-D's raw values,
8 to a millimetre: mean 2.38125 m, deviation 1.20625 m.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from fusionzoo.fusion.addition import RedNet as Addition
from fusionzoo.models.published._resnet import WithSideOutputs, he_init_
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["RedNet", "ResidualDecoder", "UpBlock"]

SKIP_CHANNELS = (64, 64, 128, 256, 512)
BLOCKS = (6, 4, 3, 3)


class UpBlock(nn.Module):
    """Two 3x3 convolutions round a shortcut; the second is a transposed one of stride 2 where `out` is given.

    (B, inp, H, W) -> the same shape, or (B, out, 2H, 2W).
    """

    def __init__(self, inp: int, out: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inp, inp, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inp)
        self.doubles = out is not None
        width = inp if out is None else out
        self.conv2 = (
            nn.ConvTranspose2d(inp, width, 3, stride=2, padding=1, output_padding=1, bias=False)
            if self.doubles
            else nn.Conv2d(inp, width, 3, padding=1, bias=False)
        )
        self.bn2 = nn.BatchNorm2d(width)
        if self.doubles:
            self.shortcut = nn.Sequential(
                nn.ConvTranspose2d(inp, width, 2, stride=2, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, feature: Tensor) -> Tensor:
        out = self.bn2(self.conv2(self.bn1(self.conv1(feature)).relu()))
        return (out + (self.shortcut(feature) if self.doubles else feature)).relu()


class ResidualDecoder(nn.Module):
    """The decoder of RedNet and ACNet: five fused maps -> class scores at the input size.

    Args:
        channels: of the five maps, finest first.
        num_classes: K.
    """

    def __init__(self, channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        for i, (inp, out) in enumerate(zip(channels, SKIP_CHANNELS, strict=True), 1):
            setattr(
                self, f"lateral{i}", nn.Sequential(nn.Conv2d(inp, out, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())
            )
            setattr(self, f"skip{i}", Probe(out, role="lateral", modality="fused", low=0.0, meaning="narrowed skip"))
        for i, count in enumerate(BLOCKS, 1):
            inp, out = SKIP_CHANNELS[5 - i], SKIP_CHANNELS[4 - i]
            setattr(self, f"up{i}", nn.Sequential(*[UpBlock(inp) for _ in range(count - 1)], UpBlock(inp, out)))
            setattr(self, f"side{i}", nn.Conv2d(out, num_classes, 1))
        self.last = nn.Sequential(*[UpBlock(64) for _ in range(3)])
        self.out = Probe(64, role="output", modality="fused", meaning="decoder's last feature before the class scores")
        self.classify = nn.ConvTranspose2d(64, num_classes, 2, stride=2)
        he_init_(self)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.all(features, sides=False)[0]

    def all(self, features: Sequence[Tensor], sides: bool = True) -> list[Tensor]:
        """[class scores, then side outputs from the finest (stride 2) to the coarsest (stride 16)]."""
        skips = [getattr(self, f"skip{i}")(getattr(self, f"lateral{i}")(f)) for i, f in enumerate(features, 1)]
        extra: list[Tensor] = []
        out = skips[4]
        for i in range(1, 5):
            out = getattr(self, f"up{i}")(out)
            if sides:
                extra.insert(0, getattr(self, f"side{i}")(out))
            out = out + skips[4 - i]
        return [self.classify(self.out(self.last(out))), *extra]


class RedNet(WithSideOutputs):
    """RedNet.

    Args:
        depth: of both ResNets; the names `rednet_resnet50`, ... fix it.
        num_classes: 37 in SUN RGB-D.
        x_channels, preprocess: see FusionModel; depth in metres by default.
    """

    def __init__(
        self, depth: int, num_classes: int = 37, x_channels: int = 1, preprocess: Preprocess | None = None
    ) -> None:
        if preprocess is None and x_channels == 1:
            preprocess = Preprocess(x_mean=(2.38125,), x_std=(1.20625,))
        super().__init__(depth, Addition, num_classes=num_classes, x_channels=x_channels, preprocess=preprocess)
        self.decoder = ResidualDecoder(self.channels, num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at the input size")


for _depth in (34, 50, 101):
    architectures.add(f"rednet_resnet{_depth}", partial(RedNet, _depth))
