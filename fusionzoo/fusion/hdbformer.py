"""HDBFormer's interaction module (MIIM): pooled attention and large kernels across both streams, twice with one set of
weights.

Paper: Wei et al., "HDBFormer: Efficient RGB-D Semantic Segmentation with A Heterogeneous Dual-Branch Framework", IEEE
SPL 2025, arXiv 2504.13579. Origin: github.com/Weishuobin/HDBFormer (CC BY-NC-SA 4.0, code and weights); written here
from the equations alone. c of RGB and e of x enter each pass through LN (eps 1e-6) over the channels.

    g = upsample(softmax(m k^T / sqrt(d)) v),  m = Lin(2C -> C/2) pool6x6 [c; e],
        k, v = split(Lin(C -> C) GELU Lin(C -> C) c), h heads of d = C / 2h; 36 queries, bilinear back to H x W
    L(a, b) = Lin(C -> C/2) a * Lin(C/2 -> C/2) dw7x7 Lin(C -> C/2) b        one set of weights for both directions
    y = [g; L(c, e); L(e, c)],  c' = Lin(3C/2 -> C) y,  e' = Lin(3C/2 -> C) y                   no residual

The second pass takes c' and e' of the first; its own e' is shown and used nowhere. Without a residual a pass shrinks
what it is given: deviation 0.08 from 1 at the start.

As a strategy (ours): both passes, fused = c' of the second; the streams carry on unchanged, as in the original.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion._parts import gate_init_, probe_pair, require_divisible
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.fusion.dformer import depthwise, pooled_attention
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["MIIM", "POOLED", "HDBFormer", "Pass"]

POOLED = 6
"""Side of the pooled grid of queries."""


class Pass(nn.Module):
    """What one pass of the module shows; without weights."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        half = channels // 2
        self.attention = Probe(
            heads, role="attention", modality="fused", low=0.0, high=1.0, sums_to_one=3, axes="B C 36 HW",
            meaning="where each cell of a 6x6 grid looks, sums to 1 over positions",
        )  # fmt: skip
        self.aware = Probe(half, role="global", modality="fused", meaning="g: global path")
        self.rgb_local, self.x_local = probe_pair(
            half, "local", "L(c, e): RGB asks, x answers", "L(e, c): x asks, RGB answers"
        )
        self.rgb_out, self.x_out = probe_pair(channels, "output", "c' of this pass", "e' of this pass")


class MIIM(nn.Module):
    """(c (B, C, H, W), e (B, C, H, W)) -> (c', e') of the same shapes.

    Args:
        channels: C; C / 2 divisible by heads.
        heads: of the global path.
        passes: how often it is used in one forward pass; each use has probes of its own.

    >>> sum(p.numel() for p in MIIM(128).parameters())
    123264
    """

    def __init__(self, channels: int, heads: int = 8, passes: int = 1) -> None:
        super().__init__()
        require_divisible(channels, 2, "halves")
        half = channels // 2
        require_divisible(half, heads, "heads")
        self.heads = heads
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.norm_e = nn.LayerNorm(channels, eps=1e-6)
        self.lift = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, channels)
        self.pooled_query = nn.Linear(2 * channels, half)
        self.ask = nn.Linear(channels, half)
        self.before = nn.Linear(channels, half)
        self.conv = nn.Conv2d(half, half, 7, padding=3, groups=half)
        self.after = nn.Linear(half, half)
        self.project = nn.Linear(channels + half, channels)
        self.project_e = nn.Linear(channels + half, channels)
        gate_init_(self.pooled_query, self.key_value)
        self.passes = nn.ModuleList(Pass(channels, heads) for _ in range(passes))

    def _local(self, a: Tensor, b: Tensor) -> Tensor:
        """L(a, b) on channels-last values, as a map (B, C/2, H, W)."""
        return (self.ask(a) * self.after(depthwise(self.conv, self.before(b)))).movedim(3, 1)

    def forward(self, c: Tensor, e: Tensor, number: int = 0) -> tuple[Tensor, Tensor]:
        """Pass `number`."""
        shown = self.passes[number]
        assert isinstance(shown, Pass)
        c, e = self.norm(c.movedim(1, 3)), self.norm_e(e.movedim(1, 3))
        source, both = F.gelu(self.lift(c)), torch.cat([c, e], dim=3)
        seen = pooled_attention(both, source, self.pooled_query, self.key_value, shown.attention, self.heads, POOLED)
        parts = [shown.aware(seen), shown.rgb_local(self._local(c, e)), shown.x_local(self._local(e, c))]
        y = torch.cat(parts, dim=1).movedim(1, 3)  # (B, H, W, 3C/2)
        return shown.rgb_out(self.project(y).movedim(3, 1)), shown.x_out(self.project_e(y).movedim(3, 1))

    def twice(self, c: Tensor, e: Tensor) -> Tensor:
        """c' of the second of two passes."""
        return self(*self(c, e), number=1)[0]


@fusions.register("hdbformer")
class HDBFormer(FusionBlock):
    """MIIM between the two streams, twice.

    Args:
        channels: C, even.
        heads: None takes 8 where 16 divides C, else 1.
    """

    interaction = "none"
    family = "cross-modal"
    paper = "Wei et al., HDBFormer (SPL 2025), arXiv 2504.13579"
    licence = "MIT (ours, from the equations); original: CC BY-NC-SA 4.0"

    def __init__(self, channels: int, *, heads: int | None = None, **place: int) -> None:
        super().__init__(channels, **place)
        self.miim = MIIM(channels, heads or (8 if channels % 16 == 0 else 1), passes=2)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        return Fused(rgb, x, self.miim.twice(rgb, x))
