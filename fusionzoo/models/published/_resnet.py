"""What the published ResNet models share: a trunk that runs stage by stage, and two of them side by side.

The blocks are torchvision's (stride on the 3x3 convolution). `stage(1, .)` is the stem (stride 2), `stage(2, .)` the
max pool and the first group of blocks, and so on to `stage(5, .)` (stride 32). No pretrained weights are fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torchvision.models.resnet import BasicBlock, Bottleneck

from fusionzoo.errors import InputError
from fusionzoo.models.base import SIDE, SIDE_FACTOR, FusionModel
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess

__all__ = ["BLOCKS", "ResNetTrunk", "TwoResNets", "WithSideOutputs", "group", "he_init_", "pool", "shortcut"]

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""ResNet depth -> blocks in each group."""


def pool(feature: Tensor) -> Tensor:
    """The ResNet's max pool: 3x3, stride 2."""
    return max_pool2d(feature, 3, 2, 1)


def he_init_(module: nn.Module) -> None:
    """Convolutions N(0, 2 / fan_out), zero biases. Batch norms start at 1 and 0 by themselves."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def shortcut(inp: int, out: int, stride: int) -> nn.Sequential:
    """1x1 convolution and batch norm."""
    return nn.Sequential(nn.Conv2d(inp, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))


def group(block: Callable[..., Any], inp: int, planes: int, count: int, stride: int = 1) -> nn.Sequential:
    """`count` residual blocks; the first changes size and width, with a 1x1 shortcut where it must."""
    out = planes * int(getattr(block, "expansion", 1))
    narrowed = shortcut(inp, out, stride) if stride != 1 or inp != out else None
    rest = [block(out, planes) for _ in range(count - 1)]
    return nn.Sequential(block(inp, planes, stride, narrowed), *rest)


class ResNetTrunk(nn.Module):
    """A ResNet without its classifier.

    Args:
        depth: 18, 34, 50, 101 or 152.
        in_channels: of the image.
        block: class of the residual blocks; by depth where None.
    """

    def __init__(self, depth: int, in_channels: int, block: Callable[..., Any] | None = None) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise InputError(f"ResNet-{depth} is not one of {', '.join(map(str, BLOCKS))}")
        chosen: Any = block or (BasicBlock if depth < 50 else Bottleneck)
        widen = int(getattr(chosen, "expansion", 1))
        self.channels = (64, *(widen * c for c in (64, 128, 256, 512)))
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        for i, count in enumerate(BLOCKS[depth]):
            stage = group(chosen, self.channels[i], 64 << i, count, stride=1 if i == 0 else 2)
            setattr(self, f"layer{i + 1}", stage)
        he_init_(self)

    def stage(self, number: int, feature: Tensor) -> Tensor:
        """Stage 1: image (B, C, H, W) -> (B, 64, H/2, W/2); stages 2 to 5 each from the one before."""
        if number == 1:
            return self.bn1(self.conv1(feature)).relu()
        if number == 2:
            feature = pool(feature)
        out: Tensor = getattr(self, f"layer{number - 1}")(feature)
        return out


class TwoResNets(FusionModel):
    """Two trunks, the fused feature of each of five stages carried on in the RGB stream.

    Args:
        depth, block: see ResNetTrunk.
        fusion: (channels, level=stage) -> fusion block.
    """

    def __init__(
        self,
        depth: int,
        fusion: Callable[..., nn.Module],
        *,
        num_classes: int,
        x_channels: int,
        preprocess: Preprocess | None,
        block: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess)
        self.rgb_encoder = ResNetTrunk(depth, 3, block)
        self.x_encoder = ResNetTrunk(depth, x_channels, block)
        self.channels = self.rgb_encoder.channels
        for i, channels in enumerate(self.channels, 1):
            setattr(self, f"stage{i}", Stage(channels, fusion(channels, level=i)))

    reads: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5)
    """Stages whose fused maps the decoder reads; no other map is kept."""

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The fused maps of the stages that the decoder reads, finest first; strides 2 to 32 of all five."""
        out = []
        for i in range(1, 6):
            stage: Stage = getattr(self, f"stage{i}")
            rgb = stage.rgb(self.rgb_encoder.stage(i, rgb))  # one after the other: what went in need not be kept
            x = stage.x(self.x_encoder.stage(i, x))
            fused = stage.fusion(rgb, x)
            rgb, x = fused.fused, fused.x
            del fused
            if i in self.reads:
                out.append(rgb)
        return out


class WithSideOutputs(TwoResNets):
    """Base: subclasses set `decoder`, whose `all(features)` gives class scores and side outputs, and `logits`."""

    @property
    def loss_factors(self) -> dict[str, float]:
        return {SIDE: SIDE_FACTOR}

    def scores_and_sides(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        own: Any = self
        out, *sides = own.decoder.all(self.features(rgb, x))
        return [own.logits(out), *sides]
