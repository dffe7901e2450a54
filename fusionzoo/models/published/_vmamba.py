"""VMamba: the encoder of Sigma, whose blocks scan the pixels in four orders.

Paper: Liu et al., "VMamba: Visual State Space Model", NeurIPS 2024, arXiv 2401.10166; written here from its equations
and from the sizes that Sigma uses. Maps are channels last inside. d = 2 C, states N = 16, R = ceil(C / 16).

    scan of a map:   [u; z] = Lin(C -> 2d) m,  u = SiLU(dw3x3 u)
                     orders: row by row, column by column, and both reversed, each with weights of its own
                     (s, B, C)_k = W_k u,  D_k = softplus(V_k s + v_k),  y = the sum of the four scans, laid back
                     Lin(d -> C) (LN(y) * SiLU(z)), no biases
    block:           m + scan(LN(m)), without a feed-forward part
    between stages:  Swin's merging of patches (`_swin.PatchMerge`)

The scan itself is `fusionzoo.fusion.scan`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._parts import drop_path
from fusionzoo.fusion.scan import selective_scan
from fusionzoo.fusion.sigma import log_states, step_bias

__all__ = ["MapScan", "ScanBlock"]

ORDERS = 4


class MapScan(nn.Module):
    """The four scans of a map: (B, H, W, C) -> same shape.

    Args:
        channels: C.
        states: N, 16 in the encoder and 4 in Sigma's decoder.
    """

    def __init__(self, channels: int, states: int = 16) -> None:
        super().__init__()
        width, rank = 2 * channels, math.ceil(channels / 16)
        self.sizes = [rank, states, states]
        self.enter = nn.Linear(channels, 2 * width, bias=False)
        self.conv = nn.Conv2d(width, width, 3, padding=1, groups=width)
        bound, small = width**-0.5, rank**-0.5
        self.select = nn.Parameter(torch.empty(ORDERS, rank + 2 * states, width).uniform_(-bound, bound))
        self.step_weight = nn.Parameter(torch.empty(ORDERS, width, rank).uniform_(-small, small))
        self.step_bias = nn.Parameter(step_bias(ORDERS, width))
        self.log_a = nn.Parameter(log_states(ORDERS * width, states))
        self.skip = nn.Parameter(torch.ones(ORDERS * width))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, channels, bias=False)

    def forward(self, feature: Tensor) -> Tensor:
        u, z = self.enter(feature).chunk(2, dim=3)
        u = F.silu(self.conv(u.movedim(3, 1))).movedim(1, 3)  # (B, H, W, d)
        return self.leave(self.norm(self._scans(u)) * F.silu(z))

    def _scans(self, u: Tensor) -> Tensor:
        """(B, H, W, d) -> the sum of four scans, same shape."""
        height = u.shape[1]
        rows, columns = rearrange(u, "b h w d -> b (h w) d"), rearrange(u, "b h w d -> b (w h) d")
        four = torch.stack([rows, columns, rows.flip(1), columns.flip(1)], dim=2)  # (B, HW, 4, d)
        s, b, c = torch.einsum("btkd,ked->btke", four, self.select).split(self.sizes, dim=3)
        step = F.softplus(torch.einsum("btkr,kdr->btkd", s, self.step_weight) + self.step_bias)
        a = -self.log_a.exp().unflatten(0, (ORDERS, -1))
        y = selective_scan(four, step, a, b, c, self.skip.unflatten(0, (ORDERS, -1)))
        by_row = y[:, :, 0] + y[:, :, 2].flip(1)
        by_column = y[:, :, 1] + y[:, :, 3].flip(1)
        by_row = rearrange(by_row, "b (h w) d -> b h w d", h=height)
        return by_row + rearrange(by_column, "b (w h) d -> b h w d", h=height)


class ScanBlock(nn.Module):
    """m + scan(LN(m)): (B, H, W, C) -> same shape."""

    def __init__(self, channels: int, drop: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.scan = MapScan(channels)
        self.drop = drop_path(drop)

    def forward(self, feature: Tensor) -> Tensor:
        return feature + self.drop(self.scan(self.norm(feature)))
