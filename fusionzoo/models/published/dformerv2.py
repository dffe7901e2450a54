"""DFormerv2 S, B, L: one encoder of geometry self-attention; depth enters as a prior only. LightHam decoder.

Paper: Yin et al., "DFormerv2: Geometry Self-Attention for RGBD Semantic Segmentation", CVPR 2025, arXiv 2504.04701.
Origin: github.com/VCIP-RGBD/DFormer (MIT file, while its README says "non-commercial use only"); written here from the
equations of the block (`fusionzoo.fusion.dformerv2`), the paper and the sizes.

    enter stage 1: four 3x3 of strides 2, 1, 2, 1 with batch norm, GELU between; later: 3x3 of stride 2, batch norm
    stage k: blocks with the prior of depth, resized to the stage; rows then columns in stages 1 to 3, all pixels in 4
    LN (eps 1e-5) on the maps of stages 2 to 4, which the next stage does not see
    decoder (`_ham`) on the maps of strides 8, 16, 32 -> class scores at stride 8

Depth is no stream: `stage{i}.x` is the depth map, resized, that the stage's priors are made from, one channel. What
depth can change is two numbers a block (`prior.mixing`). `stage{i}.rgb` enters a stage's blocks,
`stage{i}.fusion.rgb_out` leaves them, `stage{i}.fusion.fused` is what the decoder receives (stage 1: the same).

Parameters at 40 classes: 26,686,018 (S), 53,923,050 (B), 95,266,426 (L; 95,550,074 with the 1,024 decoder channels of
the authors' settings).

Differs: layer scales (stages 3 and 4 of B and L) start at 0.1, not at 1e-6, so that an untrained model's probes show
something (`scale`); the decoder's bases are a constant (`random_bases`, see `_ham`).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import interpolate

from fusionzoo.errors import InputError
from fusionzoo.fusion.dformerv2 import DFormerV2Block
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._ham import HamDecoder
from fusionzoo.models.published._mit import drop_rates
from fusionzoo.models.published.dformer import grey_depth
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["DFormerV2", "SIZES"]

SIZES = {
    "s": ((64, 128, 256, 512), (3, 4, 18, 4), (4, 4, 8, 16), (4, 4, 6, 6), False, 0.25),
    "b": ((80, 160, 320, 512), (4, 8, 25, 8), (5, 5, 10, 16), (5, 5, 6, 6), True, 0.2),
    "l": ((112, 224, 448, 640), (4, 8, 25, 8), (7, 7, 14, 20), (6, 6, 6, 6), True, 0.3),
}
"""Name -> channels, blocks, heads and range of the decays by stage; whether stages 3 and 4 have layer scales;
published stochastic depth of the last block."""

MLP_RATIOS = (4, 4, 3, 3)


def _stem(channels: int) -> nn.Sequential:
    half = channels // 2
    widths = (3, half, half, channels, channels)
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        layers += [nn.Conv2d(a, b, 3, stride=2 - i % 2, padding=1), nn.BatchNorm2d(b), nn.GELU()]
    return nn.Sequential(*layers[:-1])


class StageBlocks(nn.Module):
    """The blocks of one stage, all with the same depth map: (B, C, H, W), (B, 1, H, W) -> next stage's, decoder's.

    Args:
        blocks: of the stage.
        channels: C.
        norm: whether the decoder's map passes a layer norm.
    """

    def __init__(self, blocks: list[DFormerV2Block], channels: int, norm: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels) if norm else None
        self.rgb_out = Probe(channels, role="output", modality="rgb", meaning="map after the blocks")
        self.fused = Probe(channels, role="fused", modality="fused", meaning="what the decoder receives")

    def forward(self, rgb: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        tokens = rgb.movedim(1, 3)  # channels last
        for block in self.blocks:
            tokens = block(tokens, depth)
        out = self.rgb_out(tokens.movedim(3, 1))
        if self.norm is None:
            fused = self.fused(out)
            return fused, fused
        return out, self.fused(self.norm(out.movedim(1, 3)).movedim(3, 1))


class DFormerV2(FusionModel):
    """DFormerv2.

    Args:
        size: a name of SIZES; the names `dformerv2_s`, ... fix it.
        decoder_channels: of the decoder's last feature; the authors' settings have 512, L 1,024.
        num_classes, x_channels, preprocess, norm_eps, scale, drop, random_bases: as of DFormer.

    Raises:
        InputError: more than one x channel: the prior is made from depth alone.
    """

    def __init__(
        self,
        size: str,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        decoder_channels: int = 512,
        norm_eps: float = 1e-3,
        scale: float = 0.1,
        drop: float | None = None,
        random_bases: bool = False,
    ) -> None:
        if x_channels != 1:
            raise InputError(f"DFormerv2 makes its prior from one channel of depth, not {x_channels}; give 1")
        super().__init__(num_classes, x_channels, preprocess or grey_depth())
        channels, depths, heads, spreads, scaled, usual = SIZES[size]
        drop = usual if drop is None else drop
        self.model_args |= {"drop": drop}
        self.down = nn.ModuleList([_stem(channels[0])])
        for i, (width, rates) in enumerate(zip(channels, drop_rates(depths, drop), strict=True)):
            if i:
                conv = nn.Conv2d(channels[i - 1], width, 3, stride=2, padding=1)
                self.down.append(nn.Sequential(conv, nn.BatchNorm2d(width)))
            blocks = [
                DFormerV2Block(
                    width,
                    heads[i],
                    width * MLP_RATIOS[i],
                    decomposed=i < 3,
                    spread=spreads[i],
                    scale=scale if scaled and i >= 2 else None,
                    drop=rate,
                )
                for rate in rates
            ]
            setattr(self, f"stage{i + 2}", Stage(width, StageBlocks(blocks, width, norm=i > 0), x_channels=1))
        self.decoder = HamDecoder(channels[1:], num_classes, decoder_channels, norm_eps, random_bases=random_bases)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 8")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """What the decoder receives of the four stages, strides 4, 8, 16, 32."""
        out = []
        for i, down in enumerate(self.down):
            stage: Stage = getattr(self, f"stage{i + 2}")
            rgb = stage.rgb(down(rgb))
            depth = stage.x(interpolate(x, size=rgb.shape[-2:], mode="bilinear", align_corners=False))
            rgb, fused = stage.fusion(rgb, depth)
            out.append(fused)
        return out

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.logits(self.decoder(self.features(rgb, x)[1:]))


for _size in SIZES:
    architectures.add(f"dformerv2_{_size}", partial(DFormerV2, _size))
