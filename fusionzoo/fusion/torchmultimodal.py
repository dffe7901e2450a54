"""Attention fusion of vectors (TorchMultimodal's late fusion), used at every pixel.

Origin: github.com/facebookresearch/multimodal, `AttentionFusionModule` (BSD-3-Clause); written here from the equations.

    w = softmax over modalities of (W [z_1; ..; z_M] + b),   fused = sum_i w_i (P_i z_i + p_i)

P_i: each modality's width -> the common one (by default the smallest of them). The original fuses one vector per
sample; the layers act on the last axis, so the same module runs on vectors and, channels last, on maps. As a strategy
(ours): at every pixel, parameters 2 C^2 + 6 C + 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import gate_init_, share_probe
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["AttentionFusion", "VectorAttention"]


class VectorAttention(nn.Module):
    """M values (..., D_i) -> (..., out), weighed by one softmax over the modalities.

    Args:
        widths: D_i.
        out: common width; None takes the smallest of `widths`.

    >>> sum(p.numel() for p in VectorAttention([96, 128]).parameters())
    22146
    """

    def __init__(self, widths: Sequence[int], out: int | None = None) -> None:
        super().__init__()
        self.widths = tuple(widths)
        out = out or min(self.widths)
        self.score = nn.Linear(sum(self.widths), len(self.widths))
        gate_init_(self.score)
        self.project = nn.ModuleList(nn.Linear(width, out) for width in self.widths)
        self.attention = share_probe(len(self.widths), "share of each modality; (B, M) where the inputs are vectors")

    def forward(self, *values: Tensor) -> Tensor:
        if len(values) != len(self.widths):
            raise InputError(f"{len(values)} modalities given, this fusion was built for {len(self.widths)}")
        weights = self.score(torch.cat(values, dim=-1)).softmax(dim=-1)  # (B, ..., M)
        weights = self.attention(weights.movedim(-1, 1)).movedim(1, -1)
        projected = torch.stack([layer(v) for layer, v in zip(self.project, values, strict=True)], dim=-1)
        return (projected * weights.unsqueeze(-2)).sum(-1)


@fusions.register("attention_fusion")
class AttentionFusion(FusionBlock):
    """Softmax share of each modality at every pixel, times its projection.

    >>> sum(p.numel() for p in AttentionFusion(8).parameters()) == 2 * 8**2 + 6 * 8 + 2
    True
    """

    family = "attention"
    paper = "TorchMultimodal AttentionFusionModule (github.com/facebookresearch/multimodal)"
    licence = "MIT (ours, from the equations); original: BSD-3-Clause"

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        self.fusion = VectorAttention([channels, channels])

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        return Fused(rgb, x, self.fusion(rgb.movedim(1, 3), x.movedim(1, 3)).movedim(3, 1))
