"""DFormerv2's encoder: four stages of geometry self-attention; depth enters as a prior only.

Paper, origin and licence facts: see `fusionzoo.fusion.dformerv2`. Stem: four 3x3 convolutions with batch norm, strides
2, 1, 2, 1, GELU between; later stages start with a 3x3 convolution of stride 2 and batch norm. Outputs of the stages 2
to 4 pass one more layer norm (eps 1e-5), which the next stage does not see.
"""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion.dformerv2 import DFormerV2Block

__all__ = ["SIZES", "DFormerV2Encoder"]

SIZES = {
    "small": ((64, 128, 256, 512), (3, 4, 18, 4), (4, 4, 8, 16), None),
    "base": ((80, 160, 320, 512), (4, 8, 25, 8), (5, 5, 10, 16), 1e-6),
    "large": ((112, 224, 448, 640), (4, 8, 25, 8), (7, 7, 14, 20), 1e-6),
}
"""Name -> (channels, blocks, heads) by stage, and the start of the layer scales in the stages 3 and 4 (None: none)."""

MLP_RATIOS = (4, 4, 3, 3)
SPREADS = (4, 4, 6, 6)


class DFormerV2Encoder(nn.Module):
    """(rgb (B, 3, H, W), x (B, 1 or more, H, W)) -> four maps of strides 4, 8, 16, 32. Only channel 0 of x is read.

    Args:
        size: a name of SIZES.
        drop: stochastic depth of the last block, rising linearly from 0.
    """

    def __init__(self, size: str = "small", drop: float = 0.0) -> None:
        super().__init__()
        self.channels, blocks, heads, scale = SIZES[size]
        first, half = self.channels[0], self.channels[0] // 2
        widths = (3, half, half, first, first)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            layers += [nn.Conv2d(a, b, 3, stride=2 - i % 2, padding=1), nn.BatchNorm2d(b), nn.GELU()]
        self.stem = nn.Sequential(*layers[:-1])
        total = sum(blocks)
        rates = [drop * i / max(1, total - 1) for i in range(total)]
        self.stages = nn.ModuleList()
        self.down = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, channels in enumerate(self.channels):
            stage = [
                DFormerV2Block(
                    channels,
                    heads[i],
                    channels * MLP_RATIOS[i],
                    decomposed=i < 3,
                    spread=SPREADS[i],
                    scale=scale if i >= 2 else None,
                    drop=rates[sum(blocks[:i]) + j],
                )
                for j in range(blocks[i])
            ]
            self.stages.append(nn.ModuleList(stage))
            if i < 3:
                wider = self.channels[i + 1]
                self.down.append(
                    nn.Sequential(nn.Conv2d(channels, wider, 3, stride=2, padding=1), nn.BatchNorm2d(wider))
                )
                self.norms.append(nn.LayerNorm(wider))

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        depth = x[:, :1]
        feature = self.stem(rgb)
        outs = []
        for i, stage in enumerate(self.stages):
            tokens = feature.movedim(1, 3)  # channels last
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                tokens = block(tokens, depth)
            feature = tokens.movedim(3, 1)
            outs.append(feature if i == 0 else self.norms[i - 1](tokens).movedim(3, 1))
            if i < 3:
                feature = self.down[i](feature)
        return tuple(outs)
