"""SA-Gate: separate what is doubtful in each modality, then aggregate per pixel with a soft gate.

Paper: Chen et al., "Bi-directional Cross-Modality Feature Propagation with Separation-and-Aggregation Gate for RGB-D
Semantic Segmentation", ECCV 2020, arXiv 2007.09183. Origin: github.com/charlesCXK/RGBD_Semantic_Segmentation_PyTorch
(MIT); written here from the equations.

    FSP(guide g, main m) = m + s * g,   s = sigmoid(W2 ReLU(W1 GAP[g; m]))     W1: 2C -> C/r, W2: C/r -> C
    r~ = FSP(x, rgb), d~ = FSP(rgb, x)                                        own weights each
    A  = softmax over the two maps (w_r . [r~; d~] + b_r, w_d . [r~; d~] + b_d)  per pixel
    m  = A_r * rgb + A_d * x                                                  of the features as they came in
    rgb' = ReLU((rgb + m) / 2),  x' = ReLU((x + m) / 2),  fused = m           (no ReLU on what the decoder gets)

r~ and d~ drive the gate alone. No normalisation inside. Parameters at r = 16 and C >= 64: 3 C^2 / 8 + 49 C / 8 + 2.
Differs: at least 4 hidden units in FSP (only below C = 64; `min_hidden=1` is the original's).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fusionzoo.fusion._parts import Squeeze, gate_init_, gate_probe, gated_sum, probe_pair, reduced, share_probe
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["FeatureSeparation", "SAGate"]


class FeatureSeparation(nn.Module):
    """main + s * guide, with s from both pooled: (B, C, H, W) twice -> (B, C, H, W).

    Args:
        channels: C.
        reduction: r of the bottleneck.
        modality: of `main`, for the probes.
        min_hidden: least width of the bottleneck.
    """

    def __init__(self, channels: int, reduction: int, modality: str, min_hidden: int = 4) -> None:
        super().__init__()
        self.excite = Squeeze(2 * channels, reduced(channels, reduction, min_hidden), channels)
        self.gate = gate_probe(channels, modality, "how much of the guide is added", "B C 1 1")
        self.filtered = Probe(channels, role="filtered", modality=modality, meaning="feature with its guide added")

    def forward(self, guide: Tensor, main: Tensor) -> Tensor:
        pooled = torch.cat([guide.mean((2, 3), keepdim=True), main.mean((2, 3), keepdim=True)], dim=1)  # (B, 2C, 1, 1)
        return self.filtered(main + self.gate(self.excite(pooled).sigmoid()) * guide)


@fusions.register("sagate")
class SAGate(FusionBlock):
    """Separation-and-aggregation gate.

    >>> sum(p.numel() for p in SAGate(256).parameters())
    26146
    """

    interaction = "exchange"
    family = "attention"
    paper = "Chen et al., SA-Gate (ECCV 2020), arXiv 2007.09183"
    licence = "MIT (ours, from the equations); original: MIT"
    rectified = ("rgb_out", "x_out")

    def __init__(self, channels: int, *, reduction: int = 16, min_hidden: int = 4, **place: int) -> None:
        super().__init__(channels, **place)
        self.separate_rgb = FeatureSeparation(channels, reduction, "rgb", min_hidden)
        self.separate_x = FeatureSeparation(channels, reduction, "x", min_hidden)
        self.score_rgb = nn.Conv2d(2 * channels, 1, 1)
        self.score_x = nn.Conv2d(2 * channels, 1, 1)
        gate_init_(self.score_rgb, self.score_x)
        told = "score of RGB at each pixel before softmax", "score of x at each pixel before softmax"
        self.logit_rgb, self.logit_x = probe_pair(1, "logit", *told)
        self.attention = share_probe(2, "share of RGB (channel 0) and of x (channel 1) at each pixel")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        both = torch.cat([self.separate_rgb(x, rgb), self.separate_x(rgb, x)], dim=1)  # (B, 2C, H, W)
        logits = torch.cat([self.logit_rgb(self.score_rgb(both)), self.logit_x(self.score_x(both))], dim=1)
        share_rgb, share_x = self.attention(logits.softmax(dim=1)).split(1, dim=1)  # (B, 1, H, W) each
        merged = gated_sum(rgb, share_rgb, x, share_x)
        return Fused((rgb + merged).div_(2).relu_(), (x + merged).div_(2).relu_(), merged)
