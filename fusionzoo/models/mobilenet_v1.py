"""MobileNet v1 encoder at any width (Howard et al., arXiv 1704.04861).

Laid out so that Google's ImageNet weights (TensorFlow.js layer files, converted by `fusionzoo convert mobilenet_v1`)
give equal values: batch-norm epsilon 1e-3, no convolution bias, ReLU6, and stride-2 convolutions that pad only right
and bottom (TensorFlow's "same" on even sizes, after Keras' explicit zero padding). Input convention of those weights:
rgb / 127.5 - 1.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MobileNetV1"]

# (output channels at width 1, stride) of the 13 depthwise-separable blocks
_BLOCKS = (
    (64, 1),
    (128, 2), (128, 1),
    (256, 2), (256, 1),
    (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
_ENDS = (1, 3, 5, 11, 13)
"""A stage ends after this many blocks: strides 2, 4, 8, 16, 32."""


class _Conv(nn.Sequential):
    """Convolution, batch norm, ReLU6, with TensorFlow's padding; keys `0.weight` and `1.*`."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(
            nn.Conv2d(inp, out, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(out, eps=1e-3)
        )
        self.pad = stride == 2

    def forward(self, x: Tensor) -> Tensor:
        if self.pad:
            x = F.pad(x, (0, 1, 0, 1))
        return F.relu6(self[1](self[0](x)))


class _Separable(nn.Module):
    def __init__(self, inp: int, out: int, stride: int) -> None:
        super().__init__()
        self.dw = _Conv(inp, inp, 3, stride, groups=inp)
        self.pw = _Conv(inp, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pw(self.dw(x))


class MobileNetV1(nn.Module):
    """Five stages at strides 2 to 32.

    Args:
        width: channel multiplier; published weights exist for 0.25, 0.5, 0.75 and 1.
        in_channels: channels of the input image.

    `forward` returns smp's feature list: the input itself, then the five stages.

    >>> import torch
    >>> [tuple(f.shape[1:]) for f in MobileNetV1(0.25)(torch.zeros(1, 3, 64, 64))][1:3]
    [(16, 32, 32), (32, 16, 16)]
    """

    output_stride = 32
    ends = _ENDS

    def __init__(self, width: float = 1.0, in_channels: int = 3) -> None:
        super().__init__()
        if not 0 < width <= 4:
            raise ValueError(f"width {width} is not in (0, 4]")
        scaled = lambda c: max(8, int(c * width + 4) // 8 * 8)  # noqa: E731  multiples of 8
        inp = scaled(32)
        self.width = width
        self.conv1 = _Conv(in_channels, inp, 3, 2)
        blocks = []
        self.out_channels = [in_channels]
        for i, (channels, stride) in enumerate(_BLOCKS, start=1):
            blocks.append(_Separable(inp, scaled(channels), stride))
            inp = scaled(channels)
            if i in _ENDS:
                self.out_channels.append(inp)
        self.blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Stage 1..5: from the previous stage's feature (the image for stage 1) to this one's."""
        if number == 1:
            x = self.conv1(x)
        start = 0 if number == 1 else _ENDS[number - 2]
        for block in self.blocks[start : _ENDS[number - 1]]:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [x]
        for number in range(1, 6):
            features.append(self.stage(number, features[-1]))
        return features
