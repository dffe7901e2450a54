"""CMNeXt: any number of auxiliary modalities through one hub, pooled-mixing blocks, then CMX's FRM and FFM.

Paper: Zhang et al., "Delivering Arbitrary-Modal Semantic Segmentation", CVPR 2023, arXiv 2303.01480. Origin:
github.com/jamycheung/DELIVER (Apache-2.0; its README asks to contact the authors for commercial use); written here from
the equations.

Self-query hub over auxiliary modalities x_1 .. x_M, M >= 2:
    s_i = sigmoid(conv1x1(C -> 1) dw3x3 x_i),  x_i <- x_i + s_i x_i,  f = max_i x_i (element-wise)        M (11 C + 1)
    the boosted x_i are what the modalities carry on with
Parallel pooling mixer (PPX), u = BN x, expansion e:
    z = dw7x7 u,  p = z + avg3 z + avg7 z + avg11 z     stride 1, same size, padding not counted in the mean
    x <- x + l_1 * (sigmoid(conv1x1 p) * u + u)
    c = sigmoid(conv1d_3 over the channels of GAP x),  x <- c * x + l_2 * conv1x1 GELU dw3x3 conv1x1 BN x
    l_1, l_2 per channel, 0.01 at the start                                         (1 + 2e) C^2 + (58 + 11e) C + 3
As a strategy with one auxiliary modality: u = PPX(x), (rgb', x') = FRM(rgb, u), fused = FFM(rgb', x'); RGB carries on
with rgb', x with x'. With more modalities the hub takes part and x_i carries on with x_i + x': the whole model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._mit import mit_init_
from fusionzoo.fusion._parts import drop_path, gate_init_, gate_probe
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.fusion.cmx import FeatureFusion, FeatureRectify, default_heads, pixels_at
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["CMNeXt", "ParallelPoolingMixer", "SelfQueryHub"]


class SelfQueryHub(nn.Module):
    """M maps (B, C, H, W) -> (hub feature (B, C, H, W), the M boosted maps).

    >>> sum(p.numel() for p in SelfQueryHub(64, 3).parameters())
    2115
    """

    def __init__(self, channels: int, modalities: int) -> None:
        super().__init__()
        if modalities < 1:
            raise InputError(f"a hub of {modalities} modalities; it needs one at least")
        self.score = nn.ModuleList()
        self.gates = nn.ModuleList()
        for i in range(modalities):
            mix = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
            query = nn.Conv2d(channels, 1, 1)
            gate_init_(mix, query)
            self.score.append(nn.Sequential(mix, query))
            told = f"how informative auxiliary modality {i} is at each pixel"
            self.gates.append(gate_probe(1, "x", told))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        if len(maps) != len(self.score):
            raise InputError(f"{len(maps)} modalities given, this hub was built for {len(self.score)}")
        boosted = [
            x + gate(score(x).sigmoid()) * x for x, score, gate in zip(maps, self.score, self.gates, strict=True)
        ]
        hub = boosted[0]
        for other in boosted[1:]:
            hub = torch.maximum(hub, other)
        return hub, boosted


class ParallelPoolingMixer(nn.Module):
    """PPX: (B, C, H, W) -> the same shape.

    Args:
        channels: C.
        expansion: e, hidden width of the feed-forward half over C; the original uses 8, 8, 4, 4 by stage.
        scale: l_1 and l_2 at the start.
        drop: probability of stochastic depth.

    >>> sum(p.numel() for p in ParallelPoolingMixer(64, 8).parameters())
    78979
    """

    def __init__(self, channels: int, expansion: int = 8, scale: float = 0.01, drop: float = 0.0) -> None:
        super().__init__()
        hidden = channels * expansion
        self.scale1 = nn.Parameter(torch.full((channels,), scale))
        self.scale2 = nn.Parameter(torch.full((channels,), scale))
        self.norm1 = nn.BatchNorm2d(channels)
        self.mix = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.weigh = nn.Conv2d(channels, channels, 1)
        gate_init_(self.mix, self.weigh)
        self.norm2 = nn.BatchNorm2d(channels)
        self.widen = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.narrow = nn.Conv2d(hidden, channels, 1)
        self.neighbours = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        gate_init_(self.neighbours)
        self.drop = drop_path(drop)
        self.gate = gate_probe(channels, "x", "weight of every value by its surroundings")
        self.mixed = Probe(channels, role="mixed", modality="x", meaning="normalised feature after the pooled gate")
        self.channel_gate = gate_probe(channels, "x", "c: weight of every channel", "B C 1 1")

    def forward(self, x: Tensor) -> Tensor:
        u = self.norm1(x)
        z = self.mix(u)
        pooled = z
        for size in (3, 7, 11):
            pooled = pooled + F.avg_pool2d(z, size, stride=1, padding=size // 2, count_include_pad=False)
        mixed = self.mixed(self.gate(self.weigh(pooled).sigmoid()) * u + u)
        x = x + self.drop(self.scale1.view(-1, 1, 1) * mixed)
        mean = x.mean((2, 3)).unsqueeze(1)  # (B, 1, C)
        gate = self.channel_gate(self.neighbours(mean).sigmoid().transpose(1, 2).unsqueeze(3))  # (B, C, 1, 1)
        wide = F.gelu(self.depthwise(self.widen(self.norm2(x))))
        return gate * x + self.drop(self.scale2.view(-1, 1, 1) * self.narrow(wide))


@fusions.register("cmnext")
class CMNeXt(FusionBlock):
    """PPX on x, then FRM and FFM.

    Args:
        channels: C.
        expansion: of the PPX; None takes 8 in the finer half of the stages and 4 in the coarser, as the original.
        heads: of the FFM; None as in CMX.
        original_init: as in CMX, with CMNeXt's smaller depthwise weights.
    """

    interaction = "exchange"
    family = "cross-modal"
    paper = "Zhang et al., CMNeXt (CVPR 2023), arXiv 2303.01480"
    licence = "MIT (ours, from the equations); original: Apache-2.0, README: commercial use, contact the authors"

    def __init__(
        self,
        channels: int,
        *,
        expansion: int | None = None,
        heads: int | None = None,
        original_init: bool = False,
        **place: int,
    ) -> None:
        super().__init__(channels, **place)
        self.mixer = ParallelPoolingMixer(channels, expansion or (8 if 2 * self.level <= self.depth + 1 else 4))
        self.rectify = FeatureRectify(channels)
        self.fusion = FeatureFusion(channels, heads or default_heads(channels), pixels=pixels_at(self.level))
        if original_init:
            mit_init_(self, by_group=False)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        rgb, rectified = self.rectify(rgb, self.mixer(x))
        return Fused(rgb, rectified, self.fusion(rgb, rectified))
