"""EAEF: explicit attention split into what both modalities respond to and what they do not.

Paper: Liang et al., "Explicit Attention-Enhanced Fusion for RGB-Thermal Perception Tasks", IEEE RA-L 2023, arXiv
2303.15710. Origin: github.com/FreeformRobotics/EAEFNet (README badge MIT, no licence file); written here from the
equations, no code taken.

    y_m  = W2 GELU(W1 GAP m) / its L2 norm                           W1: C -> 2C, W2: 2C -> C, shared by both modalities
    g_c  = sigmoid(T y_rgb,c y_x,c)                                  T a learned scalar, C at the start
    rA   = rgb * g,  xA = x * g                                      correlated responses
    F    = sigmoid(Lin(C/8 -> 2C) GELU Lin(2C -> C/8) GMP(conv7x7([rA; xA], groups C)))
    r1   = rgb * (1 - g) + rA * F_rgb,  x1 likewise
    A    = softmax of (w_rgb . r1 + b_rgb, w_x . x1 + b_x)           per pixel, over the two modalities
    rgb' = r1 * A_rgb + x1 * A_x,  x' = x1 * A_x,  fused = rgb'

Parameters 9 C^2 / 2 + 1641 C / 8 + 3 at C >= 32.

`official_diagonal`, which only the port sets: the released code takes torch.diagonal of sigmoid(T y_rgb y_x^T), shape
(B, C, C), over the dimensions 0 and 1, not 1 and 2. One image then gets g_c = sigmoid(T y_rgb,0 y_x,c); in a batch of
several, samples are mixed. Released weights were trained so; the default here is the equation.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import Squeeze, gate_init_, gate_probe, gate_probes, probe_pair, reduced, share_probe
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["EAEF"]


@fusions.register("eaef")
class EAEF(FusionBlock):
    """Explicit attention-enhanced fusion.

    Args:
        channels: C.
        reduction: of the excitation's 2C inputs.
        min_hidden: least width of the excitation's bottleneck.
        official_diagonal: the released code's gate (see above); for its checkpoints only.

    >>> sum(p.numel() for p in EAEF(64).parameters())
    31563
    """

    interaction = "exchange"
    family = "attention"
    paper = "Liang et al., EAEF (RA-L 2023), arXiv 2303.15710"
    licence = "MIT (ours, from the equations); original: README badge says MIT, no licence file"

    def __init__(
        self, channels: int, *, reduction: int = 16, min_hidden: int = 4, official_diagonal: bool = False, **place: int
    ) -> None:
        super().__init__(channels, **place)
        self.official_diagonal = official_diagonal
        self.temperature = nn.Parameter(torch.tensor(float(channels)))
        self.embed = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 7, padding=3, groups=channels)
        self.excite = Squeeze(2 * channels, reduced(2 * channels, reduction, min_hidden), 2 * channels, nn.GELU())
        self.score_rgb = nn.Conv2d(channels, 1, 1)
        self.score_x = nn.Conv2d(channels, 1, 1)
        gate_init_(self.embed[0], self.embed[2], self.score_rgb, self.score_x)
        self.gate = gate_probe(channels, "fused", "g: how far both modalities respond in the channel", "B C 1 1")
        told = "F: what is kept of the correlated response"
        self.excitation_rgb, self.excitation_x = gate_probes(channels, told, axes="B C 1 1")
        told_rgb, told_x = "r1: RGB after both attentions", "x1: x after both attentions"
        self.enhanced_rgb, self.enhanced_x = probe_pair(channels, "enhanced", told_rgb, told_x)
        self.attention = share_probe(2, "share of RGB (channel 0) and of x (channel 1) at each pixel")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        gate = self.gate(self._gate(rgb, x)[:, :, None, None])  # (B, C, 1, 1)
        same_rgb, same_x = rgb * gate, x * gate
        peak = self.mix(torch.cat([same_rgb, same_x], dim=1)).amax((2, 3), keepdim=True)  # (B, 2C, 1, 1)
        keep_rgb, keep_x = self.excite(peak).sigmoid().chunk(2, dim=1)
        r = self.enhanced_rgb(rgb * (1 - gate) + same_rgb * self.excitation_rgb(keep_rgb))
        t = self.enhanced_x(x * (1 - gate) + same_x * self.excitation_x(keep_x))
        scores = torch.cat([self.score_rgb(r), self.score_x(t)], dim=1)  # (B, 2, H, W)
        share_rgb, share_x = self.attention(scores.softmax(dim=1)).split(1, dim=1)
        t = t * share_x
        r = r * share_rgb + t
        return Fused(r, t, r)

    def _gate(self, rgb: Tensor, x: Tensor) -> Tensor:
        # unit vectors in float32: in float16 a short one has the norm 0
        y_rgb, y_x = (F.normalize(self.embed(v.mean((2, 3))).float(), dim=1).to(v.dtype) for v in (rgb, x))  # (B, C)
        if not self.official_diagonal:
            return (self.temperature * y_rgb * y_x).sigmoid()
        batch, channels = y_rgb.shape
        if batch > channels:
            raise InputError(
                f"a batch of {batch} is more than the {channels} channels that the official gate can index"
            )
        row = torch.diagonal(y_rgb)[:batch, None]  # y_rgb[i, i], (B, 1)
        picked = (self.temperature * row * y_x).sigmoid()  # [i, k] = L[i, i, k]
        return picked.t().reshape(batch, channels)  # the released reshape of (C, B)
