"""Sigma: state-space scans that read each other (CroMB), then one scan over both modalities in turn (ConMB).

Paper: Wan et al., "Sigma: Siamese Mamba Network for Multi-Modal Semantic Segmentation", WACV 2025, arXiv 2404.04256.
Origin: github.com/zifuwan/Sigma (MIT); written here from the equations. The scan is `fusionzoo.fusion.scan`, so no CUDA
extension has to be built. d = 2 C, states N = 4, R = ceil(C / 16), pixels in row-major order.

CroMB, i in {rgb, x}:
    u_i = SiLU(dw3x3 Lin_i(C -> d) m_i)                                      one dw3x3 for both, no bias in Lin
    (s, B, C)_i = Lin_i(d -> R + 2N) u_i,  D_i = softplus(Lin_i(R -> d) s_i)
    y_i = scan(u_i, D_i, A_i, B_i, C_j)                                      forward, the OTHER modality's C
    m_i' = m_i + Lin_i(d -> C) LN_i(y_i)
ConMB:
    a_i = Lin_i(C -> d) m_i,  u_i = SiLU(dw3x3_i a_i),  sequence [u_rgb; u_x] of length 2 H W
    y = scan forward + scan reversed, own weights each;  y_rgb, y_x = its halves, each through LN
    y_rgb * SE(GAP a_x),  y_x * SE(GAP a_rgb)                                gates crossed
    fused = rgb + x + Lin(2d -> C) [y_rgb; y_x]
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion._parts import Squeeze, gate_probes, probe_pair, reduced, to_map, to_tokens
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.fusion.scan import selective_scan
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["ConcatScan", "CrossScan", "Sigma", "log_states", "step_bias"]


def step_bias(*shape: int) -> Tensor:
    """Start of the steps' bias: softplus of it is log-uniform in [0.001, 0.1], as in Mamba."""
    step = torch.exp(torch.rand(*shape) * math.log(100) + math.log(0.001))
    return step + torch.log(-torch.expm1(-step))


def log_states(width: int, states: int) -> Tensor:
    """log of 1 .. N for every channel, (width, N): A = -exp of it."""
    return torch.arange(1, states + 1, dtype=torch.float32).log().repeat(width, 1)


class _Half(nn.Module):
    """One modality's weights of the CroMB."""

    def __init__(self, channels: int, states: int, modality: str) -> None:
        super().__init__()
        width, rank = 2 * channels, math.ceil(channels / 16)
        self.sizes = [rank, states, states]
        self.enter = nn.Linear(channels, width, bias=False)
        self.select = nn.Linear(width, rank + 2 * states, bias=False)
        self.step = nn.Linear(rank, width)
        nn.init.uniform_(self.step.weight, -(rank**-0.5), rank**-0.5)
        self.step.bias = nn.Parameter(step_bias(width))
        self.log_a = nn.Parameter(log_states(width, states))
        self.skip = nn.Parameter(torch.ones(width))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, channels, bias=False)
        told = "D: how much each pixel writes into the states"
        self.steps = Probe(width, role="step", modality=modality, low=0.0, meaning=told)
        self.scanned = Probe(width, role="scanned", modality=modality, meaning="normalised output of the crossed scan")

    def selection(self, u: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """(step (B, N, d), B (B, N, states), C) of tokens u."""
        s, b, c = self.select(u).split(self.sizes, dim=2)
        step = F.softplus(self.step(s))
        return to_tokens(self.steps(to_map(step, size))), b, c


class CrossScan(nn.Module):
    """CroMB: (rgb, x), each (B, C, H, W) -> both, same shapes.

    >>> sum(p.numel() for p in CrossScan(96).parameters())
    86400
    """

    def __init__(self, channels: int, states: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.rgb = _Half(channels, states, "rgb")
        self.x = _Half(channels, states, "x")

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        size = (rgb.shape[2], rgb.shape[3])
        halves = self.rgb, self.x
        u = [
            F.silu(to_tokens(self.conv(to_map(half.enter(to_tokens(m)), size))))
            for half, m in zip(halves, (rgb, x), strict=True)
        ]
        selected = [half.selection(t, size) for half, t in zip(halves, u, strict=True)]
        outs = []
        for i, half in enumerate(halves):
            step, b, _ = selected[i]
            c = selected[1 - i][2]  # the other modality reads
            y = half.norm(selective_scan(u[i], step, -half.log_a.exp(), b, c, half.skip))
            y = to_tokens(half.scanned(to_map(y, size)))
            outs.append(to_map(half.leave(y), size))
        return rgb + outs[0], x + outs[1]


class ConcatScan(nn.Module):
    """ConMB: (rgb, x), each (B, C, H, W) -> fused (B, C, H, W).

    >>> sum(p.numel() for p in ConcatScan(96).parameters())
    97536
    """

    def __init__(self, channels: int, states: int = 4, min_hidden: int = 4) -> None:
        super().__init__()
        width, rank = 2 * channels, math.ceil(channels / 16)
        self.sizes = [rank, states, states]
        self.enter_rgb = nn.Linear(channels, width, bias=False)
        self.enter_x = nn.Linear(channels, width, bias=False)
        self.conv_rgb = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.conv_x = nn.Conv2d(width, width, 3, padding=1, groups=width)
        bound = width**-0.5
        self.select = nn.Parameter(torch.empty(2, rank + 2 * states, width).uniform_(-bound, bound))
        self.step_weight = nn.Parameter(torch.empty(2, width, rank).uniform_(-(rank**-0.5), rank**-0.5))
        self.step_bias = nn.Parameter(step_bias(2, width))
        self.log_a = nn.Parameter(log_states(2 * width, states))
        self.skip = nn.Parameter(torch.ones(2 * width))
        self.norm_rgb = nn.LayerNorm(width)
        self.norm_x = nn.LayerNorm(width)
        hidden = reduced(width, 16, min_hidden)
        self.excite_from_rgb = Squeeze(width, hidden, width, nn.SiLU(), bias=False)
        self.excite_from_x = Squeeze(width, hidden, width, nn.SiLU(), bias=False)
        self.leave = nn.Linear(2 * width, channels, bias=False)
        told = "channel gate of the scanned {}, made from {}"
        self.gate_rgb, self.gate_x = gate_probes(width, told.format("RGB", "x"), told.format("x", "RGB"), "B C 1 1")
        told = "{} half of both scans, normalised"
        self.scanned_rgb, self.scanned_x = probe_pair(width, "scanned", told.format("RGB's"), told.format("x's"))

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        size = (rgb.shape[2], rgb.shape[3])
        a_rgb = to_map(self.enter_rgb(to_tokens(rgb)), size)  # (B, 2C, H, W)
        a_x = to_map(self.enter_x(to_tokens(x)), size)
        u = torch.cat([to_tokens(F.silu(self.conv_rgb(a_rgb))), to_tokens(F.silu(self.conv_x(a_x)))], dim=1)
        y_rgb, y_x = self._scan(u).chunk(2, dim=1)  # (B, HW, 2C) each
        gate_rgb = self.gate_rgb(self.excite_from_x(a_x.mean((2, 3), keepdim=True)).sigmoid())
        gate_x = self.gate_x(self.excite_from_rgb(a_rgb.mean((2, 3), keepdim=True)).sigmoid())
        y_rgb = self.scanned_rgb(to_map(self.norm_rgb(y_rgb), size)) * gate_rgb
        y_x = self.scanned_x(to_map(self.norm_x(y_x), size)) * gate_x
        return rgb + x + to_map(self.leave(to_tokens(torch.cat([y_rgb, y_x], dim=1))), size)

    def _scan(self, u: Tensor) -> Tensor:
        both = torch.stack([u, u.flip(1)], dim=2)  # (B, T, 2, d): forward and reversed
        s, b, c = torch.einsum("btkd,ked->btke", both, self.select).split(self.sizes, dim=3)
        step = F.softplus(torch.einsum("btkr,kdr->btkd", s, self.step_weight) + self.step_bias)
        a = -self.log_a.exp().unflatten(0, (2, -1))  # (2, d, N)
        forward, backward = selective_scan(both, step, a, b, c, self.skip.unflatten(0, (2, -1))).unbind(2)
        return forward + backward.flip(1)


@fusions.register("sigma")
class Sigma(FusionBlock):
    """CroMB for the streams, ConMB of its outputs for the decoder.

    >>> sum(p.numel() for p in Sigma(96).parameters()) == 86400 + 97536
    True
    """

    interaction = "exchange"
    family = "cross-modal"
    paper = "Wan et al., Sigma (WACV 2025), arXiv 2404.04256"
    licence = "MIT (ours, from the equations); original: MIT"

    def __init__(self, channels: int, *, states: int = 4, **place: int) -> None:
        super().__init__(channels, **place)
        self.cross = CrossScan(channels, states)
        self.concat = ConcatScan(channels, states)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        rgb, x = self.cross(rgb, x)
        return Fused(rgb, x, self.concat(rgb, x))
