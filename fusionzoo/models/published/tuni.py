"""TUNI, and its second version in three sizes: four stages of TUNI blocks on RGB and a half-width thermal stream.

Papers: Guo et al., "TUNI", 2025, arXiv 2509.10005, and its second version. Origin: github.com/xiaodonguo/TUNI and
github.com/xiaodonguo/TUNI-v2, which state no licence: all rights reserved; written here from the equations of the block
(`fusionzoo.fusion.tuni`) and the sizes. The first version has one size, the second's S is as large.

    enter stage 1: two 3x3 of stride 2 with batch norm, GELU between; later: batch norm, 3x3 of stride 2; a stem each
    stage k: blocks (rgb C_k, x C_k / 2) -> both; local paths only in stage 1; the last block of all keeps x
    decoder: SegFormer's, width 256, on RGB's maps -> class scores at stride 4

There is no fused map beside the streams: RGB's is it. `stage{i}.rgb` and `stage{i}.x` are what enters a stage's blocks,
`stage{i}.fusion.fused` is RGB's map after them and `stage{i}.fusion.x_out` x's; in the last stage that is what the last
block gives in its place, which nothing reads (version 2's second decoder, for training, did).

Parameters at 9 classes: 10,635,761 (both S), 4,993,209 (v2 T), 29,570,441 (v2 B).

Differs: layer scales start at 0.1, not at 1e-6, so that an untrained model's probes show something (`scale`). x is one
channel: thermal, 0 to 255.
"""

from __future__ import annotations

from functools import partial

from fusionzoo.fusion.tuni import TUNIBlock
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.published.dformer import HalfWidth
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["SIZES", "TUNI"]

SIZES = {
    "t": ((32, 64, 128, 256), (2, 2, 4, 2)),
    "s": ((48, 96, 192, 384), (2, 2, 4, 2)),
    "b": ((64, 128, 256, 512), (3, 3, 12, 2)),
}
"""Name -> channels and number of blocks of the four stages."""
DROP = {(1, "s"): 0.1, (2, "b"): 0.1}
"""Version and size -> published stochastic depth of the last block; 0 elsewhere."""


def thermal(x_channels: int = 1) -> Preprocess:
    """ImageNet's statistics for RGB, and for thermal, 0 to 255, their means: (x / 255 - 0.449) / 0.226."""
    return Preprocess(x_kind="thermal", x_scale=1 / 255, x_mean=(0.449,) * x_channels, x_std=(0.226,) * x_channels)


class TUNI(HalfWidth):
    """TUNI.

    Args:
        version: 1 or 2: equal shapes and names, another order within the blocks. The names `tuni_s`, `tuni_v2_s`, ...
            fix it and the size.
        size: a name of SIZES.
        num_classes: 9 in MFNet and MSRS, 15 in FMB, 5 in PST900, 12 in CART.
        x_channels: 1; the original is given three equal ones and reads the first.
        preprocess: ImageNet's statistics for RGB, thermal of mean 0.449 and deviation 0.226 where None.
        scale: layer scales at the start; published 1e-6.
        drop: stochastic depth of the last block, linear from 0; None is the published value.
    """

    def __init__(
        self,
        version: int,
        size: str,
        num_classes: int = 9,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        scale: float = 0.1,
        drop: float | None = None,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess or thermal(x_channels))
        channels, depths = SIZES[size]
        drop = DROP.get((version, size), 0.0) if drop is None else drop
        self.model_args |= {"drop": drop}
        block = partial(TUNIBlock, version=version, scale=scale)
        self.add_stages(channels, depths, drop, block, ("what the blocks give for x",) * 4)
        self.decoder = SegFormerHead(channels, num_classes, 256, bias=True)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")


architectures.add("tuni_s", partial(TUNI, 1, "s"))
for _size in SIZES:
    architectures.add(f"tuni_v2_{_size}", partial(TUNI, 2, _size))
