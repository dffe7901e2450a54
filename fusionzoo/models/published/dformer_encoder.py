"""DFormer's encoder: four stages of DFormer blocks on RGB and a half-width depth stream.

Paper, origin and licence facts: see `fusionzoo.fusion.dformer`. Stem of each stream: two 3x3 convolutions of stride 2
with batch norm, GELU between; later stages start with batch norm and a 3x3 convolution of stride 2. The first stage's
blocks have the local path only; the last block of the last stage does not update depth.
"""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion.dformer import DFormerBlock

__all__ = ["SIZES", "DFormerEncoder"]

SIZES = {
    "tiny": ((32, 64, 128, 256), (3, 3, 5, 2)),
    "small": ((64, 128, 256, 512), (2, 2, 4, 2)),
    "base": ((64, 128, 256, 512), (3, 3, 12, 2)),
    "large": ((96, 192, 288, 576), (3, 3, 12, 2)),
}
"""Name -> (channels, blocks) by stage."""

HEADS = (1, 2, 4, 8)
MLP_RATIOS = (8, 8, 4, 4)


def _stem(in_channels: int, channels: int) -> nn.Sequential:
    half = channels // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, half, 3, stride=2, padding=1),
        nn.BatchNorm2d(half),
        nn.GELU(),
        nn.Conv2d(half, channels, 3, stride=2, padding=1),
        nn.BatchNorm2d(channels),
    )


def _shrink(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.Conv2d(in_channels, channels, 3, stride=2, padding=1))


class DFormerEncoder(nn.Module):
    """(rgb (B, 3, H, W), x (B, 1 or more, H, W)) -> four maps of strides 4, 8, 16, 32. Only channel 0 of x is read.

    Args:
        size: a name of SIZES.
        drop: stochastic depth of the last block, rising linearly from 0.
    """

    def __init__(self, size: str = "tiny", drop: float = 0.0) -> None:
        super().__init__()
        self.channels, blocks = SIZES[size]
        before = (3, *self.channels[:3])
        self.down = nn.ModuleList(
            _stem(a, b) if i == 0 else _shrink(a, b) for i, (a, b) in enumerate(zip(before, self.channels, strict=True))
        )
        self.down_e = nn.ModuleList(
            _stem(1, b // 2) if i == 0 else _shrink(a // 2, b // 2)
            for i, (a, b) in enumerate(zip(before, self.channels, strict=True))
        )
        total = sum(blocks)
        rates = [drop * i / max(1, total - 1) for i in range(total)]
        self.stages = nn.ModuleList()
        for i, (channels, count) in enumerate(zip(self.channels, blocks, strict=True)):
            stage = nn.ModuleList()
            for j in range(count):
                stage.append(
                    DFormerBlock(
                        channels,
                        HEADS[i],
                        MLP_RATIOS[i],
                        window=0 if i == 0 else 7,
                        drop_depth=i == 3 and j == count - 1,
                        drop=rates[sum(blocks[:i]) + j],
                    )
                )
            self.stages.append(stage)

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        x = x[:, :1]
        outs = []
        for down, down_e, stage in zip(self.down, self.down_e, self.stages, strict=True):
            rgb, x = down(rgb), down_e(x)
            a, b = rgb.movedim(1, 3), x.movedim(1, 3)  # channels last
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                a, b = block(a, b)
            rgb, x = a.movedim(3, 1), b.movedim(3, 1)
            outs.append(rgb)
        return tuple(outs)
