"""SA-Gate: two ResNets that exchange rectified features after each group, DeepLabV3+ on the merged ones.

Paper: Chen et al., "Bi-directional Cross-Modality Feature Propagation with Separation-and-Aggregation Gate for RGB-D
Semantic Segmentation", ECCV 2020, arXiv 2007.09183. Origin: github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch
(MIT); written here from the paper and its sizes.

    stem: three 3x3 (64, 64, 128), stride 2, max pool
    group k of both streams, then the gate (`fusionzoo.fusion.sagate`): its rectified outputs go to the next groups,
    its merged output m_k to the decoder
    group 4 keeps stride 16: its 3x3 convolutions have dilations 2, 4, 8
    decoder: ASPP(1x1; 3x3 with dilations 6, 12, 18; global mean) on m_4, enlarged beside m_1 reduced to 48, two 3x3

In the original the 1x1 shortcut of each group is one module for both streams, batch norm included, which its
checkpoints and its 110,875,160 parameters (ResNet-101, 40 classes) need: `shared_shortcut`. Private shortcuts make it
113,668,120. The auxiliary head on m_4 is for training: `side_scores`. x is HHA, both inputs with ImageNet's statistics.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from fusionzoo.fusion.sagate import SAGate as Gate
from fusionzoo.models.base import SIDE, SIDE_FACTOR, FusionModel
from fusionzoo.models.published._resnet import BLOCKS, he_init_, pool, shortcut
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["SAGate", "imagenet_hha"]

CHANNELS = (128, 256, 512, 1024, 2048)
RATES = (6, 12, 18)


def imagenet_hha(x_channels: int) -> Preprocess | None:
    """HHA with ImageNet's mean and deviation; None, that is the default, for other numbers of channels."""
    rgb = Preprocess()
    if x_channels != 3:
        return None
    return Preprocess(x_kind="hha", x_scale=1 / 255, x_mean=rgb.rgb_mean, x_std=rgb.rgb_std)


def stem(in_channels: int) -> nn.Sequential:
    """Three 3x3 convolutions of stride 2, 1, 1, batch norm and ReLU after each."""
    layers: list[nn.Module] = []
    for inp, out, stride in ((in_channels, 64, 2), (64, 64, 1), (64, CHANNELS[0], 1)):
        layers += [nn.Conv2d(inp, out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


class Path(nn.Module):
    """The three convolutions of a bottleneck, without its shortcut."""

    def __init__(self, inp: int, planes: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inp, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)

    def forward(self, feature: Tensor) -> Tensor:
        out = self.bn1(self.conv1(feature)).relu()
        return self.bn3(self.conv3(self.bn2(self.conv2(out)).relu()))


class PairBottleneck(nn.Module):
    """A bottleneck for each stream; where the shape changes, one shortcut for both or one each."""

    def __init__(self, inp: int, planes: int, stride: int, dilation: int, changes: bool, shared: bool) -> None:
        super().__init__()
        self.rgb = Path(inp, planes, stride, dilation)
        self.x = Path(inp, planes, stride, dilation)
        self.changes, self.shared = changes, shared
        if changes and shared:
            self.shortcut = shortcut(inp, 4 * planes, stride)
        elif changes:
            self.shortcut_rgb = shortcut(inp, 4 * planes, stride)
            self.shortcut_x = shortcut(inp, 4 * planes, stride)

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.rgb(rgb), self.x(x)
        if self.changes:
            rgb = self.shortcut(rgb) if self.shared else self.shortcut_rgb(rgb)
            x = self.shortcut(x) if self.shared else self.shortcut_x(x)
        return (a + rgb).relu(), (b + x).relu()


class ASPP(nn.Module):
    """Atrous pyramid with its global mean: (B, C, H, W) -> (B, 256, H, W). LeakyReLU of slope 0.01."""

    def __init__(self, inp: int, out: int = 256) -> None:
        super().__init__()
        convs = [nn.Conv2d(inp, out, 1, bias=False)]
        convs += [nn.Conv2d(inp, out, 3, padding=r, dilation=r, bias=False) for r in RATES]
        self.branches = nn.ModuleList(convs)
        self.branch_bn = nn.BatchNorm2d(out * len(convs))
        self.mean_conv = nn.Conv2d(inp, out, 1, bias=False)
        self.mean_bn = nn.BatchNorm2d(out)
        self.join = nn.Conv2d(out * len(convs), out, 1, bias=False)
        self.join_mean = nn.Conv2d(out, out, 1, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.act = nn.LeakyReLU(0.01)

    def forward(self, feature: Tensor) -> Tensor:
        out = self.join(self.act(self.branch_bn(torch.cat([b(feature) for b in self.branches], dim=1))))
        mean = self.act(self.mean_bn(self.mean_conv(feature.mean((2, 3), keepdim=True))))
        return self.act(self.bn(out + self.join_mean(mean)))


class Decoder(nn.Module):
    """DeepLabV3+: (finest merged map, deepest merged map) -> class scores at stride 4."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.aspp = ASPP(CHANNELS[4])
        self.reduce = nn.Sequential(nn.Conv2d(CHANNELS[1], 48, 1, bias=False), nn.BatchNorm2d(48), nn.ReLU())
        layers: list[nn.Module] = []
        for inp in (256 + 48, 256):
            layers += [nn.Conv2d(inp, 256, 3, padding=1, bias=False), nn.BatchNorm2d(256), nn.ReLU()]
        self.refine = nn.Sequential(*layers)
        self.out = Probe(256, role="output", modality="fused", low=0.0, meaning="decoder's last feature")
        self.classify = nn.Conv2d(256, num_classes, 1)
        self.side = nn.Sequential(
            nn.Conv2d(CHANNELS[4], 512, 3, padding=1, bias=False),
            nn.BatchNorm2d(512),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(512, num_classes, 1),
        )
        he_init_(self)

    def forward(self, fine: Tensor, deep: Tensor) -> Tensor:
        context = interpolate(self.aspp(deep), size=fine.shape[-2:], mode="bilinear", align_corners=True)
        return self.classify(self.out(self.refine(torch.cat([context, self.reduce(fine)], dim=1))))


class SAGate(FusionModel):
    """SA-Gate with DeepLabV3+.

    Args:
        depth: of both ResNets; the names `sagate_resnet50` and `sagate_resnet101` fix it.
        num_classes: 40 in NYU Depth v2.
        x_channels: 3 for HHA.
        preprocess: ImageNet's statistics for both inputs where None.
        shared_shortcut: one shortcut for both streams, as published.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 40,
        x_channels: int = 3,
        preprocess: Preprocess | None = None,
        shared_shortcut: bool = True,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess or imagenet_hha(x_channels))
        self.rgb_stem, self.x_stem = stem(3), stem(x_channels)
        he_init_(self)
        self.stage1 = Stage(CHANNELS[0], None)
        for i, count in enumerate(BLOCKS[depth]):
            planes = 64 << i
            blocks = nn.ModuleList()
            for j in range(count):
                blocks.append(
                    PairBottleneck(
                        CHANNELS[i] if j == 0 else 4 * planes,
                        planes,
                        stride=2 if j == 0 and i in (1, 2) else 1,
                        dilation=2 << j if i == 3 else 1,
                        changes=j == 0,
                        shared=shared_shortcut,
                    )
                )
            he_init_(blocks)
            setattr(self, f"layer{i + 1}", blocks)
            setattr(self, f"stage{i + 2}", Stage(4 * planes, Gate(4 * planes, level=i + 2)))
        self.decoder = Decoder(num_classes)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at the input size")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The merged maps of the four groups, strides 4, 8, 16, 16."""
        rgb, x = pool(self.stage1.rgb(self.rgb_stem(rgb))), pool(self.stage1.x(self.x_stem(x)))
        out = []
        for i in range(2, 6):
            for block in getattr(self, f"layer{i - 1}"):
                rgb, x = block(rgb, x)
            stage: Stage = getattr(self, f"stage{i}")
            fused = stage.fusion(stage.rgb(rgb), stage.x(x))
            rgb, x = fused.rgb, fused.x
            out.append(fused.fused)
        return out

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.logits(self._at_input_size(self.features(rgb, x), rgb))

    def _at_input_size(self, merged: list[Tensor], rgb: Tensor) -> Tensor:
        out = self.decoder(merged[0], merged[-1])
        return interpolate(out, size=rgb.shape[-2:], mode="bilinear", align_corners=True)

    @property
    def loss_factors(self) -> dict[str, float]:
        return {SIDE: SIDE_FACTOR}

    def scores_and_sides(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The auxiliary head's are at stride 16."""
        merged = self.features(rgb, x)
        return [self.logits(self._at_input_size(merged, rgb)), self.decoder.side(merged[-1])]


for _depth in (50, 101):
    architectures.add(f"sagate_resnet{_depth}", partial(SAGate, _depth))
