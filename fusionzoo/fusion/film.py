"""FiLM: x scales and shifts RGB, channel by channel, at every pixel.

Paper: Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018, arXiv 1709.07871. Written
here from the equation.

    gamma, beta = W x + b (1x1 convolution, C -> 2C),   rgb' = fused = (1 + gamma) * rgb + beta

The paper conditions on one vector for the whole image; here every pixel has its own condition, as both inputs are maps
(`pooled=True` conditions on GAP x). Parameters 2 C^2 + 2 C.
"""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion._parts import gate_init_
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["FiLM"]


@fusions.register("film")
class FiLM(FusionBlock):
    """Feature-wise linear modulation of RGB by x.

    >>> sum(p.numel() for p in FiLM(8).parameters()) == 2 * 8**2 + 2 * 8
    True
    """

    interaction = "inject"
    family = "cross-modal"
    paper = "Perez et al., FiLM (AAAI 2018), arXiv 1709.07871"
    licence = "MIT (ours, from the equation)"

    def __init__(self, channels: int, *, pooled: bool = False, **place: int) -> None:
        super().__init__(channels, **place)
        self.pooled = pooled
        self.condition = nn.Conv2d(channels, 2 * channels, 1)
        gate_init_(self.condition, gain=0.5)
        self.scale = Probe(channels, role="scale", modality="x", meaning="1 + gamma: what x multiplies RGB by")
        self.shift = Probe(channels, role="shift", modality="x", meaning="beta: what x adds to RGB")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        source = x.mean((2, 3), keepdim=True) if self.pooled else x
        gamma, beta = self.condition(source).chunk(2, dim=1)
        fused = self.scale(1 + gamma) * rgb + self.shift(beta)
        return Fused(fused, x, fused)
