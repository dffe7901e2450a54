"""ACNet's attention complementary module: one channel gate per modality, then the sum.

Paper: Hu et al., "ACNet: Attention Based Network to Exploit Complementary Features for RGBD Semantic Segmentation",
ICIP 2019, arXiv 1905.10089. Origin: github.com/anheidelonghu/ACNet, which states no licence; written here from the
equations, no code taken.

    g_m = sigmoid(W_m GAP(m) + b_m),  W_m in R^{C x C} (no reduction),   fused = g_rgb * rgb + g_x * x

Parameters 2 (C^2 + C). In the original a third, merged stream m_k = layer_k(m_{k-1}) + fused_k exists and neither
modality receives it; a two-stream model has no such stream, so here `fused` goes to the decoder. `hub.originals` adds
the merged input back.
"""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion._parts import gate_init_, gate_probes, gated_sum
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["ACNet"]


@fusions.register("acnet")
class ACNet(FusionBlock):
    """Gated sum with a full C x C gate for each modality.

    >>> sum(p.numel() for p in ACNet(64).parameters())
    8320
    """

    family = "attention"
    paper = "Hu et al., ACNet (ICIP 2019), arXiv 1905.10089"
    licence = "MIT (ours, from the equations); original: no licence stated"

    def __init__(self, channels: int, **place: int) -> None:
        super().__init__(channels, **place)
        self.excite_rgb = nn.Conv2d(channels, channels, 1)
        self.excite_x = nn.Conv2d(channels, channels, 1)
        gate_init_(self.excite_rgb, self.excite_x)
        self.gate_rgb, self.gate_x = gate_probes(channels, "channel gate of RGB", "channel gate of x", "B C 1 1")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        gate_rgb = self.gate_rgb(self.excite_rgb(rgb.mean((2, 3), keepdim=True)).sigmoid())  # (B, C, 1, 1)
        gate_x = self.gate_x(self.excite_x(x.mean((2, 3), keepdim=True)).sigmoid())
        return Fused(rgb, x, gated_sum(rgb, gate_rgb, x, gate_x))
