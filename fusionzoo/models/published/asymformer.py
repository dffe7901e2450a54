"""AsymFormer: ConvNeXt-T for RGB beside a small Mix Transformer for depth; what is fused goes on in the depth stream.

Paper: Du et al., "AsymFormer: Asymmetrical Cross-Modal Representation Learning for Mobile Platform Real-Time RGB-D
Semantic Segmentation", CVPR Workshops 2024, arXiv 2309.14065. ConvNeXt: Liu et al., CVPR 2022, arXiv 2201.03545.
Origin: github.com/Fourier7754/AsymFormer (Apache-2.0); written here from the equations and the sizes.

    rgb: stem 4x4 of stride 4 and LN, then LN and 2x2 of stride 2;  blocks f + g * W2 GELU(W1 LN(dw7x7 f)), 96 to 768
    x:   MiT-B0 (`_mit`), 32 to 256
    stages 2 to 4: m = SCC(rgb, x) (`fusionzoo.fusion.asymformer`) takes x's place; RGB never receives x
    decoder: SegFormer's (`_segformer_head`, with bias) on x of stage 1 and m of stages 2 to 4 -> class scores, stride 4

33,059,576 parameters at 40 classes. Depth by default in metres with the original's mean and deviation.

Differs: the scale inside SCC's selection, see the block; `official_scale`, which only the converter sets, is the
published one. Stochastic depth (`drop`) is off by default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from fusionzoo.fusion._parts import drop_path
from fusionzoo.fusion.asymformer import SelectAndAttend
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._mit import ChannelNorm, MiT, drop_rates
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["AsymFormer", "ConvNeXt"]

CHANNELS = (96, 192, 384, 768)
DEPTHS = (3, 3, 9, 3)


class ConvNeXtBlock(nn.Module):
    """f + g * W2 GELU(W1 LN(dw7x7 f)): (B, C, H, W) -> the same shape."""

    def __init__(self, channels: int, scale: float, drop: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))
        self.drop = drop_path(drop)

    def forward(self, feature: Tensor) -> Tensor:
        tokens = self.norm(self.depthwise(feature).movedim(1, 3))  # channels last
        out = self.scale * self.narrow(gelu(self.widen(tokens)))
        return feature + self.drop(out.movedim(3, 1))


class ConvNeXt(nn.Module):
    """ConvNeXt-T without its last norm, one stage at a time: `stage(i, feature)`, i = 1 to 4.

    Args:
        scale: layer scales at the start.
        drop: stochastic depth of the last block.
    """

    def __init__(self, scale: float = 1e-6, drop: float = 0.0) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Sequential(nn.Conv2d(3, CHANNELS[0], 4, stride=4), ChannelNorm(CHANNELS[0]))])
        for inp, out in zip(CHANNELS[:-1], CHANNELS[1:], strict=True):
            self.down.append(nn.Sequential(ChannelNorm(inp), nn.Conv2d(inp, out, 2, stride=2)))
        self.stages = nn.ModuleList(
            nn.Sequential(*[ConvNeXtBlock(width, scale, rate) for rate in rates])
            for width, rates in zip(CHANNELS, drop_rates(DEPTHS, drop), strict=True)
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                assert part.bias is not None
                nn.init.zeros_(part.bias)

    def stage(self, stage: int, feature: Tensor) -> Tensor:
        """The image or the map before -> (B, C, H / s, W / s)."""
        return self.stages[stage - 1](self.down[stage - 1](feature))


class Fusion(nn.Module):
    """SCC and its result: (rgb (B, c_r, H, W), x (B, c_d, H, W)) -> (B, c_d, H, W)."""

    def __init__(self, x_channels: int, rgb_channels: int, official_scale: bool) -> None:
        super().__init__()
        self.scc = SelectAndAttend(x_channels, rgb_channels, min_hidden=1, official_scale=official_scale)
        self.fused = Probe(
            x_channels, role="fused", modality="fused", meaning="what the decoder and x's stream receive"
        )

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.fused(self.scc(rgb, x))


class AsymFormer(FusionModel):
    """AsymFormer with ConvNeXt-T and MiT-B0, the published pair.

    Args:
        num_classes: 40 in NYU Depth v2, 37 in SUN RGB-D.
        x_channels: 1 for depth.
        preprocess: ImageNet's statistics for RGB, depth in metres of mean 2.8425 and deviation 0.9933 where None.
        scale: ConvNeXt's layer scales at the start.
        drop: stochastic depth of the last block of both encoders.
        official_scale: SCC's selection with the scale 1 / C^2.
    """

    def __init__(
        self,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        scale: float = 1e-6,
        drop: float = 0.0,
        official_scale: bool = False,
    ) -> None:
        if preprocess is None and x_channels == 1:
            preprocess = Preprocess(x_mean=(2.8424503515351494,), x_std=(0.9932836506164299,))
        super().__init__(num_classes, x_channels, preprocess)
        self.rgb_encoder = ConvNeXt(scale, drop)
        self.x_encoder = MiT(0, x_channels, drop=drop)
        for i, (wide, narrow) in enumerate(zip(CHANNELS, self.x_encoder.channels, strict=True), 1):
            fusion = Fusion(narrow, wide, official_scale) if i > 1 else None
            setattr(self, f"stage{i + 1}", Stage(wide, fusion, x_channels=narrow))
        self.decoder = SegFormerHead(self.x_encoder.channels, num_classes, 256, bias=True)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        streams = {i: {"rgb": f"stage{i}.rgb", "x": f"stage{i}.x"} for i in range(2, 6)}
        return {i: at | ({"fused": f"stage{i}.fusion.fused"} if i > 2 else {}) for i, at in streams.items()}

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """What the decoder receives, strides 4, 8, 16, 32: x of the first stage, the fused maps of the others."""
        out = []
        for i in range(1, 5):
            stage: Stage = getattr(self, f"stage{i + 1}")
            rgb = stage.rgb(self.rgb_encoder.stage(i, rgb))
            x = stage.x(self.x_encoder.stage(i, x))
            if i > 1:
                x = stage.fusion(rgb, x)
            out.append(x)
        return out


architectures.add("asymformer_b0t", AsymFormer)
