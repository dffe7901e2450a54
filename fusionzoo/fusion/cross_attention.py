"""Cross-attention between the streams with a linear (efficient) attention: O(HW) time and memory, no HW x HW map.

Efficient attention: Shen et al., "Efficient Attention: Attention with Linear Complexities", WACV 2021. Keys are
normalised over positions, queries over channels, so the keys and values of one stream condense into a d x d context:

    ctx_m = softmax_pos(K_m)^T V_m,   y_rgb = rgb + s_rgb * Wo_rgb(softmax_ch(Q_rgb) ctx_x),   y_x likewise with ctx_rgb
    fused = ReLU(BN(W [y_rgb; y_x]))

Ours: the pairing of two streams, batch-normalised inputs (the two streams come at different scales), and a learned
channel scale s, 0.1 at the start, that lets training choose how much crosses over. In float16 and bfloat16 the softmax
over positions is computed in float32.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._parts import probe_pair
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions


class EfficientCrossAttention(nn.Module):
    """One direction: queries from `here`, keys and values from `there`. Both (B, C, H, W) -> (B, C, H, W).

    Args:
        channels: C, divisible by heads.
        heads: number of heads, each with width // heads channels.
        width: inner channels of queries, keys and values.
    """

    def __init__(self, channels: int, heads: int, width: int, modality: str) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Conv2d(channels, width, 1)
        self.key_value = nn.Conv2d(channels, 2 * width, 1)
        self.out = nn.Conv2d(width, channels, 1)
        self.attention = Probe(
            None, role="attention", modality=modality, low=0.0, high=1.0, sums_to_one=-1, axes="B heads d HW",
            meaning="key weights over positions of the other stream",
        )  # fmt: skip
        told = "digest of the other stream"
        self.context = Probe(None, role="context", modality=modality, meaning=told, axes="B heads d d")

    def forward(self, here: Tensor, there: Tensor) -> Tensor:
        q = rearrange(self.query(here), "b (heads d) h w -> b heads d (h w)", heads=self.heads)
        k, v = rearrange(self.key_value(there), "b (two heads d) h w -> two b heads d (h w)", two=2, heads=self.heads)
        k = self.attention(k.float().softmax(dim=-1).to(v.dtype))
        context = self.context(k @ v.transpose(-1, -2))  # (B, heads, d, d)
        y = context.transpose(-1, -2) @ q.softmax(dim=-2)  # (B, heads, d, HW)
        return self.out(rearrange(y, "b heads d (h w) -> b (heads d) h w", h=here.shape[2]))


@fusions.register("cross_attention")
class CrossAttention(FusionBlock):
    """Each stream queries the other; a 1x1 projection joins them.

    >>> import torch
    >>> CrossAttention(16)(torch.randn(1, 16, 4, 5), torch.randn(1, 16, 4, 5)).fused.shape
    torch.Size([1, 16, 4, 5])
    """

    family = "cross-modal"
    paper = "Shen et al., Efficient Attention (WACV 2021), for the attention"
    rectified = ("fused",)

    def __init__(self, channels: int, *, heads: int = 4, **place: int) -> None:
        super().__init__(channels, **place)
        width = max(heads * 4, channels // 2 // heads * heads)
        self.norm_rgb = nn.BatchNorm2d(channels)
        self.norm_x = nn.BatchNorm2d(channels)
        self.to_rgb = EfficientCrossAttention(channels, heads, width, "rgb")
        self.to_x = EfficientCrossAttention(channels, heads, width, "x")
        self.scale_rgb = nn.Parameter(torch.full((channels, 1, 1), 0.1))
        self.scale_x = nn.Parameter(torch.full((channels, 1, 1), 0.1))
        told = "RGB with what it drew from x", "x with what it drew from RGB"
        self.crossed_rgb, self.crossed_x = probe_pair(channels, "crossed", *told)
        self.project = nn.Sequential(nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        r, d = self.norm_rgb(rgb), self.norm_x(x)
        y_rgb = self.crossed_rgb(r + self.scale_rgb * self.to_rgb(r, d))
        y_x = self.crossed_x(d + self.scale_x * self.to_x(d, r))
        fused = self.project(torch.cat([y_rgb, y_x], dim=1)).relu()
        return Fused(rgb, x, fused)
