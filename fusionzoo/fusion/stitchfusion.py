"""StitchFusion's adapters between streams of one shared encoder, and MMSFormer's fusion block, which ends its stages.

Both take any number of modalities.

Papers: Li et al., "StitchFusion: Weaving Any Visual Modalities to Enhance Multimodal Semantic Segmentation", 2024,
arXiv 2408.01343; Reza et al., "MMSFormer: Multimodal Transformer for Material and Semantic Segmentation", IEEE
OJSP 2024, arXiv 2309.04001. Origin: github.com/LiBingyu01/StitchFusion (Apache-2.0; its README asks to contact the
authors for commercial use); written here from the equations.

Adapter(C):  A(z) = W_3 dropout(GELU(W_2 W_1 z)),  C -> 8 -> 8 -> C, with biases                              17 C + 80
    W_3 starts at zero here; in the original |A(z)| / |z| starts at 3e-4 to 8e-4 (`original_init`)
Adapters of M streams: x_j <- x_j + sum over i != j of A_ij(n_i),  n_i a layer norm of x_i
    "pair": A_ij = A_ji;  "directed": one for each direction;  "shared": one for all
    `in_order`, which official weights need: i = 1 .. M one after the other, n_i that of what x_i has become by then.
    So the order of the modalities matters there, and exchanged inputs do not give exchanged outputs.
MMSFormer's block (`Mix`) of x_1 .. x_M, as a strategy of rgb and x:                            (M + 4 + 1/8) C^2 + 95 C
    z = J [x_1; ..; x_M]                                   J: M C -> C
    u = BN conv1x1 W_1 z
    fused = W_2 GELU BN conv1x1 (u + dw3 u + dw5 u + dw7 u) + g z,  g = sigmoid(E ReLU R GAP z),  R: C -> C/16, no bias
    the streams carry on unfused
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import check_known
from fusionzoo.fusion._mit import mit_init_
from fusionzoo.fusion._parts import Squeeze, reduced
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.fusion.prompt import length_ratio, start_at_zero_
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["VARIANTS", "Adapter", "Adapters", "MMSFormer", "Mix"]

VARIANTS = ("pair", "directed", "shared")
"""Which streams share an adapter."""


class Adapter(nn.Module):
    """A bottleneck from one stream to another: tokens (B, N, C) -> (B, N, C).

    >>> sum(p.numel() for p in Adapter(64).parameters())
    1168
    """

    def __init__(self, channels: int, hidden: int = 8, original_init: bool = False) -> None:
        super().__init__()
        self.down = nn.Linear(channels, hidden)
        self.mid = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(0.1)
        self.up = nn.Linear(hidden, channels)
        if original_init:
            mit_init_(self)
        else:
            start_at_zero_(self.up)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.up(self.dropout(F.gelu(self.mid(self.down(tokens)))))


class Adapters(nn.Module):
    """Adapters between M streams: M times (B, N, C) -> the same, each with what the others give it.

    Args:
        channels: C.
        streams: M, 1 or more; with 1 nothing is given.
        variant: one of VARIANTS.
        in_order: see the module's text.
        original_init: all layers start as published.

    Raises:
        UnknownNameError: another variant.
    """

    def __init__(
        self, channels: int, streams: int, variant: str = "pair", in_order: bool = False, original_init: bool = False
    ) -> None:
        super().__init__()
        check_known("variant of adapters", variant, VARIANTS)
        self.in_order = in_order
        self.names: dict[tuple[int, int], str] = {}
        """(from, to) -> the adapter's name; streams are counted from 1, as in the names of the original."""
        for i in range(1, streams + 1):
            for j in range(1, streams + 1):
                first, second = (i, j) if variant == "directed" else (min(i, j), max(i, j))
                if i != j:
                    self.names[i, j] = "all" if variant == "shared" else f"{first}_{second}"
        names = dict.fromkeys(self.names.values())
        self.between = nn.ModuleDict({name: Adapter(channels, original_init=original_init) for name in names})
        self.given = nn.ModuleDict()
        self.ratio = nn.ModuleDict()
        for i, j in self.names:
            whose, told = "rgb" if i == 1 else "x", f"what modality {i} gives modality {j}"
            self.given[f"{i}_{j}"] = Probe(channels, role="added", modality=whose, meaning=told, axes="B HW C")
            told += ", by the length of what it is added to"
            self.ratio[f"{i}_{j}"] = Probe(None, role="scale", modality=whose, meaning=told, low=0.0, axes="B HW 1")

    def forward(
        self, streams: Sequence[Tensor], norm: Callable[[Tensor], Tensor], normed: Sequence[Tensor], drop: nn.Module
    ) -> list[Tensor]:
        """`normed`: the layer norms of the streams before the layer that they have just passed; `norm` gives them."""
        out = list(streams)
        for i, source in enumerate(normed, 1):
            if self.in_order and self.names:
                source = norm(out[i - 1])
            for j in range(1, len(out) + 1):
                if j == i:
                    continue
                given = self.given[f"{i}_{j}"](self.between[self.names[i, j]](source))
                ratio = self.ratio[f"{i}_{j}"]
                if isinstance(ratio, Probe) and ratio.tap is not None:  # made for who looks only
                    ratio(length_ratio(given, out[j - 1], 2))
                out[j - 1] = out[j - 1] + drop(given)
        return out


class Mix(nn.Module):
    """MMSFormer's fusion of M maps (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C.
        streams: M.
        min_hidden: least width of the channel gate's bottleneck; the original's is C / 16.

    >>> sum(p.numel() for p in Mix(128, 4).parameters())
    145280
    """

    def __init__(self, channels: int, streams: int = 2, min_hidden: int = 1) -> None:
        super().__init__()
        self.join = nn.Conv2d(streams * channels, channels, 1)
        self.widen = nn.Conv2d(channels, channels, 1)
        self.point1 = nn.Conv2d(channels, channels, 1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.depthwise = nn.ModuleList(
            nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels) for side in (3, 5, 7)
        )
        self.point2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.excite = Squeeze(channels, reduced(channels, 16, min_hidden), channels, bias=False)
        told = "z: all modalities, joined pixel by pixel"
        self.joined = Probe(channels, role="joined", modality="fused", meaning=told)
        self.gate = Probe(
            channels, role="gate", modality="fused", low=0.0, high=1.0, axes="B C 1 1",
            meaning="g: how much of each joined channel passes",
        )  # fmt: skip

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        z = self.joined(self.join(torch.cat(list(maps), dim=1)))
        u = self.norm1(self.point1(self.widen(z)))
        u = u + sum(conv(u) for conv in self.depthwise)
        gate = self.gate(self.excite(z.mean((2, 3), keepdim=True)).sigmoid())  # (B, C, 1, 1)
        return self.narrow(F.gelu(self.norm2(self.point2(u)))) + gate * z


@fusions.register("mmsformer")
class MMSFormer(FusionBlock):
    """MMSFormer's fusion block of two modalities.

    Args:
        channels: C.
        min_hidden: least width of the channel gate's bottleneck.
    """

    family = "attention"
    paper = "Reza et al., MMSFormer (IEEE OJSP 2024), arXiv 2309.04001"
    licence = "MIT (ours, from the equations); in StitchFusion: Apache-2.0, README: commercial use, contact the authors"

    def __init__(self, channels: int, *, min_hidden: int = 4, **place: int) -> None:
        super().__init__(channels, **place)
        self.mix = Mix(channels, 2, min_hidden)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        return Fused(rgb, x, self.mix([rgb, x]))
