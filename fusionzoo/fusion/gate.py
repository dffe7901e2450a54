"""Gate: squeeze-excitation per modality, then add.

g_m = sigmoid(W2 ReLU(W1 GAP(m))), fused = g_rgb * rgb + g_x * x; separate weights per modality. The gate is Hu et al.'s
squeeze-and-excitation (CVPR 2018); ESANet's published form is `se_add`, which this one differs from in its reduction
floor (at least 8 hidden channels, so that narrow encoders keep an informative gate).
"""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion._parts import gate_probes
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions


@fusions.register("gate")
class Gate(FusionBlock):
    """Squeeze-excitation on each modality, then the sum.

    >>> import torch
    >>> Gate(16)(torch.randn(1, 16, 4, 4), torch.randn(1, 16, 4, 4)).fused.shape
    torch.Size([1, 16, 4, 4])
    """

    family = "attention"

    def __init__(self, channels: int, *, reduction: int = 16, **place: int) -> None:
        super().__init__(channels, **place)
        hidden = max(8, channels // reduction)
        self.excite_rgb = _excitation(channels, hidden)
        self.excite_x = _excitation(channels, hidden)
        self.gate_rgb, self.gate_x = gate_probes(channels, "channel gate of RGB", "channel gate of x", "B C 1 1")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        gate_rgb = self.gate_rgb(self.excite_rgb(rgb).sigmoid())  # (B, C, 1, 1)
        gate_x = self.gate_x(self.excite_x(x).sigmoid())
        return Fused(rgb, x, gate_rgb * rgb + gate_x * x)


def _excitation(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1)
    )
