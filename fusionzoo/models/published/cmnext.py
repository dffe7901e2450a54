"""CMNeXt: a Mix Transformer for RGB, one light branch for any number of other modalities, CMX's blocks between them.

Paper: Zhang et al., "Delivering Arbitrary-Modal Semantic Segmentation", CVPR 2023, arXiv 2303.01480. Origin:
github.com/jamycheung/DELIVER (Apache-2.0; its README asks to contact the authors for commercial use); written here from
the paper and its sizes.

Auxiliary modalities a_1 .. a_M, stage k (blocks: `fusionzoo.fusion.cmnext`, `fusionzoo.fusion.cmx`):
    a_j <- LN_j(conv a_j)    one convolution for all, a norm each;  f = hub(a_1, .., a_M), which boosts them
    f <- LN(PPX ... PPX f)   as many as the Mix Transformer has blocks
    r', f' = FRM(r, f);  FFM(r', f') goes to the decoder, r' to RGB's next stage, a_j + f' to the branch's
M = 1: no hub, f = a_1, and f' alone goes to the branch's next stage. M = 0: SegFormer on RGB.

Parameters with MiT-B2 at 25 classes, M = 0, 1, 2, 3: 25,785,049, 58,694,225, 58,718,809, 58,732,125; B4, M = 1, 40
classes: 116,576,299. In a_j + f' the original takes the values of a_j, which lie channel by channel, as if they lay
pixel by pixel, and so adds f' to scrambled maps; its checkpoints of M > 1 need that: `scrambled`, which only the
converter sets. RGB / 255 with ImageNet's statistics, the others / 255 (three channels each: HHA, event, LiDAR, ...).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._mit import mit_init_
from fusionzoo.fusion.cmnext import ParallelPoolingMixer, SelfQueryHub
from fusionzoo.fusion.cmx import CMX as Exchange
from fusionzoo.models.published._mit import HEADS, SIZES, ChannelNorm, MiT, drop_rates, patch_conv
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.published._several import SeveralAuxiliaries, sized
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.registry import architectures

__all__ = ["CMNeXt"]

EXPANSIONS = (8, 8, 4, 4)
"""Of the PPX blocks, by stage."""


class Branch(nn.Module):
    """One stage of the auxiliary branch: M maps -> (their merged map, what each of them carries on with).

    Args:
        inp, out: channels before and after.
        stage: 1 to 4.
        count: M, 1 or more.
        drops: stochastic depth of each PPX block.
    """

    def __init__(self, inp: int, out: int, stage: int, count: int, drops: list[float], original_init: bool) -> None:
        super().__init__()
        self.conv = patch_conv(inp, out, stage)
        self.norms = nn.ModuleList(ChannelNorm(out) for _ in range(count))
        told = "feature of auxiliary modality {} before the hub"
        self.maps = nn.ModuleList(
            Probe(out, role="feature", modality="x", meaning=told.format(j)) for j in range(count if count > 1 else 0)
        )
        self.hub = SelfQueryHub(out, count) if count > 1 else None
        mixers = (ParallelPoolingMixer(out, EXPANSIONS[stage - 1], drop=drop) for drop in drops)
        self.mixers = nn.Sequential(*mixers)
        self.norm = ChannelNorm(out)
        mit_init_(self if original_init else self.conv, by_group=False)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        maps = [norm(self.conv(a)) for a, norm in zip(maps, self.norms, strict=True)]
        if self.hub is None:
            merged = maps[0]
        else:
            merged, maps = self.hub([shown(a) for a, shown in zip(maps, self.maps, strict=True)])
        return self.norm(self.mixers(merged)), maps


def as_if_by_pixel(feature: Tensor) -> Tensor:
    """The original's slip: the values of (B, C, H, W), in their order, taken for (B, H, W, C) -> (B, C, H, W)."""
    batch, channels, height, width = feature.shape
    return feature.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class CMNeXt(SeveralAuxiliaries):
    """CMNeXt with SegFormer's decoder.

    `x` holds the auxiliary images one behind the other along the channels: (B, 3 M, H, W) as published; they may also
    be given one by one, `model(rgb, x1, ..., xM)`. A modality of one channel (depth in metres, thermal) beside ones of
    three goes into the branch three times.

    Args:
        size: 0 to 5, of the Mix Transformer; the names `cmnext_mit_b0` to `cmnext_mit_b5` fix it.
        num_classes: 25 in DeLiVER.
        auxiliaries: M, the modalities beside RGB, 0 or more (published: up to 3); with 0 the model ignores x. None: as
            many as the preprocessing names, or 1.
        x_channels: of all auxiliary images together; None: 3 each (and 3 for M = 0), or those of the kinds named.
        preprocess: where None, RGB with ImageNet's statistics and the others / 255, as published: HHA, event, LiDAR.
        width: of the decoder; 256 for B0 and B1 and 512 for the others where None.
        scrambled: see the module's text.
        original_init: the fusion blocks start as published, with the spatial gates saturated.

    Raises:
        InputError: M below 0 or not the number of kinds named, or x_channels that M does not divide.
    """

    own_map = "branch{before}.maps.{number}"

    def __init__(
        self,
        size: int,
        num_classes: int = 25,
        auxiliaries: int | None = None,
        x_channels: int | None = None,
        preprocess: Preprocess | dict[str, Any] | None = None,
        width: int | None = None,
        scrambled: bool = False,
        original_init: bool = False,
    ) -> None:
        sizes = sized(auxiliaries, x_channels, preprocess)
        auxiliaries, x_channels, parts = sizes.auxiliaries, sizes.x_channels, len(sizes.widths)
        if x_channels % parts and not sizes.named:
            raise InputError(f"{x_channels} x channels are not {auxiliaries} images of equally many; give a multiple")
        super().__init__(num_classes, x_channels, sizes.preprocess)
        self.auxiliaries, self.scrambled = auxiliaries, scrambled
        width = width or (256 if size < 2 else 512)
        self.model_args |= {"auxiliaries": auxiliaries, "x_channels": x_channels, "width": width}
        self.rgb_encoder = MiT(size, eps=1e-5)
        self.channels = self.rgb_encoder.channels
        drops = drop_rates(self.rgb_encoder.depths, 0.1)
        self.widths, before = sizes.widths[:auxiliaries], max(sizes.widths)
        for i, channels in enumerate(self.channels, 1):
            if auxiliaries == 0:
                stage: nn.Module = nn.Module()
                stage.rgb = Probe(channels, role="feature", modality="rgb", meaning="RGB encoder's feature")
            else:
                block = Exchange(channels, level=i + 1, heads=HEADS[i - 1], original_init=original_init)
                stage = Stage(channels, block)
                branch = Branch(before, channels, i, auxiliaries, drops[i - 1], original_init)
                setattr(self, f"branch{i}", branch)
                before = channels
            setattr(self, f"stage{i + 1}", stage)
        self.decoder = SegFormerHead(self.channels, num_classes, width)
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="class scores at stride 4")

    def features(self, rgb: Tensor, x: Tensor) -> list[Tensor]:
        """The four maps that the decoder receives, strides 4 to 32: fused, or RGB's own with no other modality."""
        maps = list(x.split(self.widths, dim=1)) if self.auxiliaries else []
        maps = [a.expand(-1, max(self.widths), -1, -1) for a in maps]  # one channel beside three: three times
        out = []
        for i in range(1, 5):
            stage: Stage = getattr(self, f"stage{i + 1}")
            rgb = stage.rgb(self.rgb_encoder.stage(i, rgb))
            if not maps:
                out.append(rgb)
                continue
            merged, maps = getattr(self, f"branch{i}")(maps)
            fused = stage.fusion(rgb, stage.x(merged))
            rgb = fused.rgb
            out.append(fused.fused)
            if self.scrambled:
                maps = [as_if_by_pixel(a) for a in maps]
            maps = [a + fused.x for a in maps] if len(maps) > 1 else [fused.x]
        return out


for _size in SIZES:
    architectures.add(f"cmnext_mit_b{_size}", partial(CMNeXt, _size))
