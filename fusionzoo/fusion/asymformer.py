"""AsymFormer's fusion (SCC): select what matters in both features (LAFS), then let the streams attend alike (CMA).

Paper: Du et al., "AsymFormer: Asymmetrical Cross-Modal Representation Learning for Mobile Platform Real-Time RGB-D
Semantic Segmentation", CVPR Workshops 2024, arXiv 2309.14065. Origin: github.com/Fourier7754/AsymFormer (Apache-2.0);
written here from the equations. The streams may differ in width: c_r of RGB, c_d of x, C = c_d + c_r.

LAFS on z = [x; rgb], no biases, 3 C^2 / 8 parameters:
      g = GAP z,  a = W2 ReLU(W1 g) (C -> C/16 -> C),  b = sigmoid(V2 ReLU(V1 g)) (C -> C/8 -> C)
      M = sigmoid(s * sum_c a_c z_c),  out = M * z * b
f   = BN(conv1x1 out)                                                         C -> c_d, no bias
CMA:  m1 = c_d / 4, m2 = c_r / 4;  [k1, q1, k2, q2] = interleave(Lin(c_d -> 2 m2) BN(x), Lin(c_r -> 2 m2) BN(rgb))
      v1, v2 = split(Lin(c_d -> 2 m1) f);  v_i <- softmax(q_i k_i^T / sqrt(m2)) v_i
      fused = f + BN(Lin(2 m1 -> c_d) [v1; v2])

`fused` goes into the x stream; RGB never receives x. Attention runs over all H W positions; it is computed without
keeping the HW x HW map (values are padded to the width of the queries, which changes nothing).

Differs: the scale s. Published is 1 / C^2, which keeps M within 0.5 +- 0.0001 on unit-variance input whatever the
weights do at the start, so the map selects nothing. Default here 1 / sqrt(C); `official_scale`, which only the port
sets, is the published one. The dropout of 0.2 on the attention is the original's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion._parts import Squeeze, gate_probe, reduced, require_divisible, to_map, to_tokens
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["AsymFormer", "CrossModalAttention", "FeatureSelection", "SelectAndAttend"]


class FeatureSelection(nn.Module):
    """LAFS: (B, C, H, W) of both modalities stacked -> the same shape.

    >>> sum(p.numel() for p in FeatureSelection(256).parameters())
    24576
    """

    def __init__(self, channels: int, min_hidden: int = 4, official_scale: bool = False) -> None:
        super().__init__()
        self.scale = channels**-2.0 if official_scale else channels**-0.5
        self.spatial = Squeeze(channels, reduced(channels, 16, min_hidden), channels, bias=False)
        self.channel = Squeeze(channels, reduced(channels, 8, min_hidden), channels, bias=False)
        self.spatial_gate = gate_probe(1, "", "M: selection of pixels")
        self.channel_gate = gate_probe(channels, "", "b: selection of channels, x first", "B C 1 1")
        self.selected = Probe(channels, role="selected", meaning="both features after the selection, x first")

    def forward(self, both: Tensor) -> Tensor:
        pooled = both.mean((2, 3), keepdim=True)
        weights = self.spatial(pooled) * self.scale  # (B, C, 1, 1)
        spatial = self.spatial_gate((both * weights).sum(1, keepdim=True).sigmoid())
        return self.selected(spatial * both * self.channel_gate(self.channel(pooled).sigmoid()))


class CrossModalAttention(nn.Module):
    """CMA: (f, x, rgb) of (B, c_d, H, W), (B, c_d, H, W), (B, c_r, H, W) -> (B, c_d, H, W).

    >>> sum(p.numel() for p in CrossModalAttention(64, 192).parameters())
    29600
    """

    def __init__(self, x_channels: int, rgb_channels: int, dropout: float = 0.2) -> None:
        super().__init__()
        require_divisible(x_channels, 4, "quarters")
        require_divisible(rgb_channels, 4, "quarters")
        value, key = x_channels // 4, rgb_channels // 4
        self.dropout = dropout
        self.norm_x = nn.BatchNorm2d(x_channels)
        self.norm_rgb = nn.BatchNorm2d(rgb_channels)
        self.key_query_x = nn.Linear(x_channels, 2 * key)
        self.key_query_rgb = nn.Linear(rgb_channels, 2 * key)
        self.value = nn.Linear(x_channels, 2 * value)
        self.out = nn.Linear(2 * value, x_channels)
        self.norm = nn.BatchNorm2d(x_channels)
        self.first = Probe(value, role="attended", modality="fused", meaning="v1 after its attention")
        self.second = Probe(value, role="attended", modality="fused", meaning="v2 after its attention")

    def forward(self, fused: Tensor, x: Tensor, rgb: Tensor) -> Tensor:
        size = (x.shape[2], x.shape[3])
        from_x = self.key_query_x(to_tokens(self.norm_x(x)))  # (B, N, 2 m2)
        from_rgb = self.key_query_rgb(to_tokens(self.norm_rgb(rgb)))
        mixed = torch.stack([from_x, from_rgb], dim=3).flatten(2)  # channels of both in turn, (B, N, 4 m2)
        k1, q1, k2, q2 = mixed.chunk(4, dim=2)
        v1, v2 = self.value(to_tokens(fused)).chunk(2, dim=2)
        v1 = to_tokens(self.first(to_map(self._attend(q1, k1, v1), size)))
        v2 = to_tokens(self.second(to_map(self._attend(q2, k2, v2), size)))
        return self.norm(to_map(self.out(torch.cat([v1, v2], dim=2)), size)) + fused

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scale, width = q.shape[2] ** -0.5, v.shape[2]
        pad = q.shape[2] - width
        if pad > 0:  # fused kernels want one width for all three
            v = F.pad(v, (0, pad))
        elif pad < 0:
            q, k = F.pad(q, (0, -pad)), F.pad(k, (0, -pad))
        dropout = self.dropout if self.training else 0.0
        q, k, v = (t.unsqueeze(1) for t in (q, k, v))  # one head
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale).squeeze(1)[..., :width]


class SelectAndAttend(nn.Module):
    """SCC: (rgb, x) of (B, c_r, H, W), (B, c_d, H, W) -> fused (B, c_d, H, W).

    >>> sum(p.numel() for p in SelectAndAttend(64, 192).parameters())
    70688
    """

    def __init__(
        self,
        x_channels: int,
        rgb_channels: int,
        dropout: float = 0.2,
        min_hidden: int = 4,
        official_scale: bool = False,
    ) -> None:
        super().__init__()
        both = x_channels + rgb_channels
        self.select = FeatureSelection(both, min_hidden, official_scale)
        self.join = nn.Sequential(nn.Conv2d(both, x_channels, 1, bias=False), nn.BatchNorm2d(x_channels))
        self.attend = CrossModalAttention(x_channels, rgb_channels, dropout)
        self.joined = Probe(x_channels, role="joined", modality="fused", meaning="f: the selected features, projected")
        self.attended = Probe(x_channels, role="attended", modality="fused", meaning="f with what attention added")

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        fused = self.joined(self.join(self.select(torch.cat([x, rgb], dim=1))))
        return self.attended(self.attend(fused, x, rgb))


@fusions.register("asymformer")
class AsymFormer(FusionBlock):
    """SCC with both streams of one width: x carries on with the fused feature, RGB stays as it is."""

    interaction = "exchange"
    family = "hybrid"
    paper = "Du et al., AsymFormer (CVPRW 2024), arXiv 2309.14065"
    licence = "MIT (ours, from the equations); original: Apache-2.0"

    def __init__(self, channels: int, *, dropout: float = 0.2, **place: int) -> None:
        super().__init__(channels, **place)
        self.scc = SelectAndAttend(channels, channels, dropout)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        fused = self.scc(rgb, x)
        return Fused(rgb, fused, fused)
