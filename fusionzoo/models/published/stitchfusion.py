"""StitchFusion: one Mix Transformer for all modalities, small adapters between their streams in every block.

Paper: Li et al., "StitchFusion: Weaving Any Visual Modalities to Enhance Multimodal Semantic Segmentation", 2024, arXiv
2408.01343. Origin: github.com/LiBingyu01/StitchFusion (Apache-2.0; its README asks to contact the authors for
commercial use); written here from the equations.

Modalities x_1 (RGB) .. x_M, stage k (adapters A, B and fusion: `fusionzoo.fusion.stitchfusion`):
    x_i <- LN conv x_i;  in every block  x_i <- x_i + attention(n_i),  x_j <- x_j + sum of A_ij(n_i),  n_i = LN x_i
                                         x_i <- x_i + MixFFN(m_i),     x_j <- x_j + sum of B_ij(m_i),  m_i = LN' x_i
    x_i <- LN x_i;  MMSFormer's fusion of all goes to the decoder, the streams carry on unfused
All layer norms have eps 1e-5. The weights are shared by all modalities, convolutions of three channels each; of one
channel each, it is repeated. SegFormer's head, 256 wide for B0 and B1, else 512.

Parameters with MiT-B2 at 25 classes: 28,384,601 with M = 2, 29,874,649 with 4; B0 at 9 classes 4,390,761 and, M = 3,
4,559,209. In the original the adapters read streams that others have changed already, one modality after the other;
its checkpoints need that: `in_order`, which only the converter sets. RGB / 255 with ImageNet's statistics, the others
/ 255 alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import to_map
from fusionzoo.fusion.stitchfusion import Adapters, Mix
from fusionzoo.models.published._mit import SIZES, MiT, MixBlock
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.published._several import SeveralAuxiliaries, sized
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["Stitch", "StitchFusion", "stitched"]


class Stitch(nn.Module):
    """The adapters of one block: after its attention and after its MixFFN; arguments as of `Adapters`."""

    def __init__(self, channels: int, streams: int, variant: str, in_order: bool, original_init: bool) -> None:
        super().__init__()
        self.attention = Adapters(channels, streams, variant, in_order, original_init)
        self.mlp = Adapters(channels, streams, variant, in_order, original_init)


def stitched(block: MixBlock, stitch: Stitch, streams: list[Tensor], size: tuple[int, int]) -> list[Tensor]:
    """One block of a Mix Transformer on several streams: M times (B, N, C) -> the same."""
    for norm, layer, adapters in (
        (block.norm1, block.attention, stitch.attention),
        (block.norm2, block.mlp, stitch.mlp),
    ):
        normed = [norm(tokens) for tokens in streams]
        streams = [t + block.drop(layer(n, size)) for t, n in zip(streams, normed, strict=True)]
        streams = adapters(streams, norm, normed, block.drop)
    return streams


class Fusion(nn.Module):
    """MMSFormer's fusion of one stage: M maps (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, streams: int) -> None:
        super().__init__()
        self.mix = Mix(channels, streams)
        self.fused = Probe(channels, role="fused", modality="fused", meaning="what the decoder receives")

    def forward(self, maps: list[Tensor]) -> Tensor:
        return self.fused(self.mix(maps))


class StitchFusion(SeveralAuxiliaries):
    """StitchFusion with SegFormer's decoder.

    `x` holds the auxiliary images one behind the other along the channels: (B, 3 M', H, W) as published, M' = M - 1;
    they may also be given one by one, `model(rgb, x1, ..., xM')`. So do the probes `x` of the stages.

    Args:
        size: 0 to 5, of the Mix Transformer; the names `stitchfusion_mit_b0` to `stitchfusion_mit_b5` fix it.
        num_classes: 25 in DeLiVER.
        auxiliaries: M', the modalities beside RGB, 0 or more (published: up to 3); with 0 the model ignores x. None:
            as many as the preprocessing names, or 1.
        x_channels: of all auxiliary images together; None: 3 each (and 3 for M' = 0), or those of the kinds named. One
            channel goes into the encoder three times.
        preprocess: where None, RGB with ImageNet's statistics and the others / 255, as published: HHA, event, LiDAR.
        width: of the decoder; 256 for B0 and B1 and 512 for the others where None.
        adapters: "pair", "directed" or "shared".
        in_order: see the module's text.
        original_init: adapters start as published, not at zero.

    Raises:
        InputError: M' below 0 or not the number of kinds named, or x_channels that are neither 1 nor 3 for each.
    """

    own_map = "stage{stage}.maps.{number}"

    def __init__(
        self,
        size: int,
        num_classes: int = 25,
        auxiliaries: int | None = None,
        x_channels: int | None = None,
        preprocess: Preprocess | dict[str, Any] | None = None,
        width: int | None = None,
        adapters: str = "pair",
        in_order: bool = False,
        original_init: bool = False,
    ) -> None:
        sizes = sized(auxiliaries, x_channels, preprocess)
        auxiliaries, x_channels, parts = sizes.auxiliaries, sizes.x_channels, len(sizes.widths)
        if x_channels not in (parts, 3 * parts) and not sizes.named:
            raise InputError(
                f"{x_channels} x channels for {auxiliaries} images that share RGB's convolution; give 1 or 3 for each"
            )
        super().__init__(num_classes, x_channels, sizes.preprocess)
        self.auxiliaries = auxiliaries
        self.widths = sizes.widths
        width = width or (256 if size < 2 else 512)
        self.model_args |= {"auxiliaries": auxiliaries, "x_channels": x_channels, "width": width}
        self.encoder = MiT(size, eps=1e-5)
        self.channels = self.encoder.channels
        streams = auxiliaries + 1
        for i, (channels, blocks) in enumerate(zip(self.channels, self.encoder.depths, strict=True), 2):
            stage = Stage(channels, Fusion(channels, streams), max(1, auxiliaries) * channels)
            told = "encoder's feature of auxiliary modality {} at this stage"
            stage.maps = nn.ModuleList(
                Probe(channels, role="feature", modality="x", meaning=told.format(j))
                for j in range(1, streams if auxiliaries > 1 else 1)
            )
            stage.stitches = nn.ModuleList(
                Stitch(channels, streams, adapters, in_order, original_init) for _ in range(blocks)
            )
            if auxiliaries == 0:
                del stage.x
            setattr(self, f"stage{i}", stage)
        self.decoder = SegFormerHead(self.channels, num_classes, width)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The four fused maps, strides 4 to 32."""
        maps = [rgb, *(x.split(self.widths, dim=1) if self.auxiliaries else ())]
        maps = [m.expand(-1, 3, -1, -1) for m in maps]  # one channel: three times
        out = []
        for i in range(1, 5):
            stage = getattr(self, f"stage{i + 1}")
            embedded = [getattr(self.encoder, f"embed{i}")(m) for m in maps]
            streams, size = [tokens for tokens, _ in embedded], embedded[0][1]
            for block, stitch in zip(getattr(self.encoder, f"blocks{i}"), stage.stitches, strict=True):
                streams = stitched(block, stitch, streams, size)
            norm = getattr(self.encoder, f"norm{i}")
            first, *others = [to_map(norm(tokens), size) for tokens in streams]
            maps = [stage.rgb(first)]
            if others:
                others = [shown(m) for m, shown in zip(others, stage.maps, strict=True)] if stage.maps else others
                maps += stage.x(torch.cat(others, dim=1)).chunk(self.auxiliaries, dim=1)
            out.append(stage.fusion(maps))
        return out


for _size in SIZES:
    architectures.add(f"stitchfusion_mit_b{_size}", partial(StitchFusion, _size))
