"""DFormer T, S, B, L: four stages of DFormer blocks on RGB and a half-width depth stream, LightHam decoder.

Paper: Yin et al., "DFormer: Rethinking RGBD Representation Learning for Semantic Segmentation", ICLR 2024, arXiv
2309.09668. Origin: github.com/VCIP-RGBD/DFormer (MIT file, while its README says "non-commercial use only"); written
here from the equations of the block (`fusionzoo.fusion.dformer`), the paper and the sizes.

    enter stage 1: two 3x3 of stride 2 with batch norm, GELU between; later: batch norm, 3x3 of stride 2; a stem each
    stage k: blocks (rgb C_k, depth C_k / 2) -> both; local path only in stage 1; the last block of all keeps depth
    decoder (`_ham`) on RGB's maps of strides 8, 16, 32 -> class scores at stride 8

There is no fused map beside the streams: RGB's is it. `stage{i}.rgb` and `stage{i}.x` are what enters a stage's blocks,
`stage{i}.fusion.fused` is RGB's map after them and `stage{i}.fusion.x_out` depth's.

Parameters at 40 classes: 6,003,912 (tiny), 18,747,144 (small), 29,524,840 (base), 39,030,392 (large).

Differs: layer scales start at 0.1, not at 1e-6, so that an untrained model's probes show something (`scale`); the
decoder's bases are a constant (`random_bases`, see `_ham`). x is one channel: depth as a grey image, 0 to 255.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from torch import Tensor, nn

from fusionzoo.fusion.dformer import POOLED, DFormerBlock
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._ham import HamDecoder
from fusionzoo.models.published._mit import drop_rates
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["HEADS", "MLP_RATIOS", "SIZES", "DFormer", "enter", "grey_depth", "shrink"]

SIZES = {
    "tiny": ((32, 64, 128, 256), (3, 3, 5, 2), 0.1),
    "small": ((64, 128, 256, 512), (2, 2, 4, 2), 0.1),
    "base": ((64, 128, 256, 512), (3, 3, 12, 2), 0.1),
    "large": ((96, 192, 288, 576), (3, 3, 12, 2), 0.15),
}
"""Name -> channels and number of blocks of the four stages, published stochastic depth of the last block."""

HEADS = (1, 2, 4, 8)
MLP_RATIOS = (8, 8, 4, 4)


def grey_depth(x_channels: int = 1) -> Preprocess:
    """ImageNet's statistics for RGB; x is grey, 0 to 255: (x / 255 - 0.48) / 0.28. Black is a value like any other."""
    return Preprocess(x_kind="grey", x_scale=1 / 255, x_mean=(0.48,) * x_channels, x_std=(0.28,) * x_channels)


def enter(in_channels: int, channels: int) -> nn.Sequential:
    """Two 3x3 of stride 2 with batch norm, GELU between: (B, in, H, W) -> (B, channels, H / 4, W / 4)."""
    half = channels // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, half, 3, stride=2, padding=1),
        nn.BatchNorm2d(half),
        nn.GELU(),
        nn.Conv2d(half, channels, 3, stride=2, padding=1),
        nn.BatchNorm2d(channels),
    )


def shrink(in_channels: int, channels: int) -> nn.Sequential:
    """Batch norm, 3x3 of stride 2."""
    return nn.Sequential(nn.BatchNorm2d(in_channels), nn.Conv2d(in_channels, channels, 3, stride=2, padding=1))


class StageBlocks(nn.Module):
    """The blocks of one stage: rgb (B, C, H, W), x (B, C/2, H, W) -> both, same shapes.

    Args:
        channels: C.
        blocks: (B, H, W, C) and (B, H, W, C/2) -> the same.
        x_meaning: of the probe of x's map after them; None: no probe.
    """

    def __init__(self, channels: int, blocks: Iterable[nn.Module], x_meaning: str | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.fused = Probe(channels, role="fused", modality="fused", meaning="RGB's map after the blocks")
        if x_meaning is not None:
            self.x_out = Probe(channels // 2, role="output", modality="x", meaning=x_meaning)
        self.shows_x = x_meaning is not None

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = rgb.movedim(1, 3), x.movedim(1, 3)  # channels last
        for block in self.blocks:
            a, b = block(a, b)
        rgb, x = self.fused(a.movedim(3, 1)), b.movedim(3, 1)
        return rgb, self.x_out(x) if self.shows_x else x


class HalfWidth(FusionModel):
    """Stages 2 to 5 of blocks on RGB and a stream of half its width, entered by `rgb_down` and `x_down`."""

    rgb_down: nn.ModuleList
    x_down: nn.ModuleList

    def add_stages(
        self,
        channels: tuple[int, ...],
        depths: tuple[int, ...],
        drop: float,
        block: Callable[..., nn.Module],
        x_meanings: Sequence[str | None],
    ) -> None:
        """Both ways down and the stages.

        Args:
            channels, depths: widths of RGB's stream and numbers of blocks.
            drop: stochastic depth of the last block, linear from 0.
            block: (channels, heads, mlp_ratio, window, whether x is not updated, drop=...) -> a block. The first stage
                has no global path (window 0); the last block of the last stage does not update x.
            x_meanings: of each stage, as of `StageBlocks`.
        """
        self.rgb_down, self.x_down = nn.ModuleList(), nn.ModuleList()
        for i, (width, rates) in enumerate(zip(channels, drop_rates(depths, drop), strict=True)):
            before = channels[i - 1]
            self.rgb_down.append(shrink(before, width) if i else enter(3, width))
            self.x_down.append(shrink(before // 2, width // 2) if i else enter(self.x_channels, width // 2))
            last = [i == len(channels) - 1 and j == len(rates) - 1 for j in range(len(rates))]
            kind = (width, HEADS[i], MLP_RATIOS[i], POOLED if i else 0)
            blocks = [block(*kind, ends, drop=rate) for ends, rate in zip(last, rates, strict=True)]
            stage = StageBlocks(width, blocks, x_meanings[i])
            setattr(self, f"stage{i + 2}", Stage(width, stage, x_channels=width // 2))

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """RGB's maps after the four stages, strides 4, 8, 16, 32."""
        out = []
        for i in range(4):
            stage: Stage = getattr(self, f"stage{i + 2}")
            rgb, x = stage.fusion(stage.rgb(self.rgb_down[i](rgb)), stage.x(self.x_down[i](x)))
            out.append(rgb)
        return out


class DFormer(HalfWidth):
    """DFormer.

    Args:
        size: a name of SIZES; the names `dformer_tiny`, ... fix it.
        num_classes: 40 in NYU Depth v2, 37 in SUN RGB-D.
        x_channels: 1; the original is given three equal ones and reads the first.
        preprocess: ImageNet's statistics for RGB, grey depth of mean 0.48 and deviation 0.28 where None.
        decoder_channels: of the decoder's last feature.
        norm_eps: of the decoder's batch norms.
        scale: layer scales at the start; published 1e-6.
        drop: stochastic depth of the last block, linear from 0; None is the published value.
        random_bases: the decoder draws new bases at every call, as published.
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
        super().__init__(num_classes, x_channels, preprocess or grey_depth(x_channels))
        channels, depths, usual = SIZES[size]
        drop = usual if drop is None else drop
        self.model_args |= {"drop": drop}
        told = "depth's map after the blocks"
        self.add_stages(channels, depths, drop, partial(DFormerBlock, scale=scale), (told, told, told, None))
        self.decoder = HamDecoder(channels[1:], num_classes, decoder_channels, norm_eps, random_bases=random_bases)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 8")

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.logits(self.decoder(self.features(rgb, x)[1:]))


for _size in SIZES:
    architectures.add(f"dformer_{_size}", partial(DFormer, _size))
