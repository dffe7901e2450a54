"""SE-add: squeeze-excitation on each modality, then the sum; ESANet's and EMSANet's fusion.

Papers: Seichter et al., "Efficient RGB-D Semantic Segmentation for Indoor Scene Analysis" (ESANet), ICRA 2021, arXiv
2011.06961; "Efficient Multi-Task RGB-D Scene Analysis for Indoor Environments" (EMSANet), IJCNN 2022, arXiv 2207.04526.
Origin: github.com/TUI-NICR/ESANet and nicr-multitask-scene-analysis (Apache-2.0); written here from the equations.

    g_m = sigmoid(W2 ReLU(W1 GAP(m))),  W1: C -> C/16, W2: C/16 -> C, own weights each
    fused = g_rgb * rgb + g_x * x

`se_add`: both streams carry on with `fused` (the library's bidirectional form: one and the same tensor).
`se_add_uni_rgb`: only the RGB stream does, x stays pure; the form of ESANet and of EMSANet's default.
Parameters at C >= 64: C^2 / 4 + 17 C / 8.
Differs: at least 4 hidden units (only below C = 64; `min_hidden=1` is the original's).
"""

from __future__ import annotations

from torch import Tensor

from fusionzoo.fusion._parts import Squeeze, gate_probes, gated_sum, probe_pair, reduced
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["SEAdd", "SEAddUniRGB"]


@fusions.register("se_add")
class SEAdd(FusionBlock):
    """Gated sum that both streams carry on with.

    >>> sum(p.numel() for p in SEAdd(64).parameters())
    1160
    """

    interaction = "exchange"
    family = "attention"
    paper = "Seichter et al., ESANet (ICRA 2021), arXiv 2011.06961"
    licence = "MIT (ours, from the equations); original: Apache-2.0"

    def __init__(self, channels: int, *, reduction: int = 16, min_hidden: int = 4, **place: int) -> None:
        super().__init__(channels, **place)
        hidden = reduced(channels, reduction, min_hidden)
        self.excite_rgb = Squeeze(channels, hidden, channels)
        self.excite_x = Squeeze(channels, hidden, channels)
        self.gate_rgb, self.gate_x = gate_probes(channels, "channel gate of RGB", "channel gate of x", "B C 1 1")
        self.weighted_rgb, self.weighted_x = probe_pair(channels, "weighted", "RGB times its gate", "x times its gate")

    def add(self, rgb: Tensor, x: Tensor) -> Tensor:
        """The fused feature alone, (B, C, H, W)."""
        gate_rgb = self.gate_rgb(self.excite_rgb(rgb.mean((2, 3), keepdim=True)).sigmoid())  # (B, C, 1, 1)
        gate_x = self.gate_x(self.excite_x(x.mean((2, 3), keepdim=True)).sigmoid())
        if self.weighted_rgb.tap is None and self.weighted_x.tap is None:
            return gated_sum(rgb, gate_rgb, x, gate_x)
        return self.weighted_rgb(rgb * gate_rgb) + self.weighted_x(x * gate_x)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        fused = self.add(rgb, x)
        return Fused(fused, fused, fused)


@fusions.register("se_add_uni_rgb")
class SEAddUniRGB(SEAdd):
    """Gated sum that only the RGB stream carries on with."""

    interaction = "inject"
    paper = "Seichter et al., ESANet (ICRA 2021), arXiv 2011.06961; EMSANet (IJCNN 2022), arXiv 2207.04526"

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        fused = self.add(rgb, x)
        return Fused(fused, x, fused)
