"""Hybrid: specificity-driven inference under consistency constraints, as a block.

The rule is that of Chen et al., "Interpretation on Multi-modal Visual Fusion" (arXiv 2308.10019). The authors' own
block equation is not available to us; THIS BLOCK IS OURS, built from the rule alone:

    n_m = BN_m(m)                                   modalities brought to one scale, m in {rgb, x}
    s_m = P n_m                                     one projection P shared by both: consistent candidates
    a   = max(0, cos_g(s_rgb, s_x))                 agreement per position and channel group g
    c   = a * (s_rgb + s_x) / 2                     the consistent part: said by both
    e_m = n_m - U s_m                               what the shared space cannot express (U shared as well)
    k_m = sigmoid(conf_m(e_m))                      the modality's own confidence, with a 3x3 neighbourhood
    p_m = k_m * (1 - l a') * V_m e_m                the specific part; a' = mean of a over groups, l in (0, 1) per stage
    fused = ReLU(BN(W [c; p_rgb; p_x] + w_rgb * n_rgb + w_x * n_x))

The last two terms are a plain path, one weight per channel; without it gradients reach the encoders only through
gates. Auxiliary losses (`losses`): s_rgb and s_x are pulled together where both are confident; specific is
decorrelated from shared, and specific from specific. l is learned per stage, so that stages can weigh the two
differently; it starts at 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion._parts import correlation, gate_probes, probe_pair
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions


@fusions.register("hybrid")
class Hybrid(FusionBlock):
    """Consistency-specificity hybrid.

    Args:
        channels: C.
        shared: width S of the shared space, a multiple of groups; min(C // 2, 160) by default.
        groups: channel groups of the agreement.

    >>> block = Hybrid(16)
    >>> block(torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)).fused.shape
    torch.Size([2, 16, 4, 4])
    """

    family = "hybrid"
    paper = "rule: Chen et al., arXiv 2308.10019; block ours"
    rectified = ("fused",)
    loss_probes = ("shared_rgb", "shared_x", "specific_rgb", "specific_x", "confidence_rgb", "confidence_x")
    loss_factors = MappingProxyType({"consistency": 0.1, "decorrelation": 0.1})

    def __init__(self, channels: int, *, shared: int | None = None, groups: int = 4, **place: int) -> None:
        super().__init__(channels, **place)
        width = shared or max(groups, min(channels // 2, 160) // groups * groups)
        self.groups = groups
        self.norm_rgb = nn.BatchNorm2d(channels)
        self.norm_x = nn.BatchNorm2d(channels)
        self.share = nn.Conv2d(channels, width, 1, bias=False)
        self.unshare = nn.Conv2d(width, channels, 1, bias=False)
        self.confide_rgb = _confidence(channels)
        self.confide_x = _confidence(channels)
        self.specify_rgb = nn.Conv2d(channels, width, 1, bias=False)
        self.specify_x = nn.Conv2d(channels, width, 1, bias=False)
        self.lean = nn.Parameter(torch.zeros(()))  # l = sigmoid(lean)
        self.join = nn.Conv2d(3 * width, channels, 1, bias=False)
        self.plain_rgb = nn.Parameter(torch.full((channels, 1, 1), 0.5))
        self.plain_x = nn.Parameter(torch.full((channels, 1, 1), 0.5))
        self.norm = nn.BatchNorm2d(channels)

        both = "candidate in the space both modalities share"
        alone = "what the shared space cannot express, before its gate"
        own = "the modality's own confidence in its specific part"
        self.shared_rgb, self.shared_x = probe_pair(width, "shared", both)
        self.agreement = Probe(
            groups, role="agreement", meaning="cosine of the candidates per group", low=0.0, high=1.0
        )
        self.consistent = Probe(width, role="consistent", modality="fused", meaning="what both modalities say")
        self.specific_rgb, self.specific_x = probe_pair(width, "specific", alone)
        self.confidence_rgb, self.confidence_x = gate_probes(1, own)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        r, d = self.norm_rgb(rgb), self.norm_x(x)
        s_r, s_d = self.shared_rgb(self.share(r)), self.shared_x(self.share(d))
        a = self.agreement(self._agreement(s_r, s_d))  # (B, G, H, W)
        spread = a.repeat_interleave(s_r.shape[1] // self.groups, dim=1)  # (B, S, H, W)
        consistent = self.consistent(spread * (s_r + s_d) / 2)

        e_r, e_d = r - self.unshare(s_r), d - self.unshare(s_d)
        k_r = self.confidence_rgb(self.confide_rgb(e_r).sigmoid())  # (B, 1, H, W)
        k_d = self.confidence_x(self.confide_x(e_d).sigmoid())
        leave = 1 - self.lean.sigmoid() * a.mean(dim=1, keepdim=True)  # (B, 1, H, W)
        p_r = self.specific_rgb(self.specify_rgb(e_r)) * (k_r * leave)
        p_d = self.specific_x(self.specify_x(e_d)) * (k_d * leave)

        fused = self.join(torch.cat([consistent, p_r, p_d], dim=1)) + self.plain_rgb * r + self.plain_x * d
        return Fused(rgb, x, self.norm(fused).relu())

    def _agreement(self, s_r: Tensor, s_d: Tensor) -> Tensor:
        """max(0, cosine) per position and group: (B, S, H, W) twice -> (B, G, H, W)."""
        u = s_r.unflatten(1, (self.groups, -1)).float()  # (B, G, S/G, H, W)
        v = s_d.unflatten(1, (self.groups, -1)).float()
        dot, uu, vv = (u * v).sum(2), u.square().sum(2), v.square().sum(2)
        return (dot * (uu * vv + 1e-6).rsqrt()).clamp(0, 1).to(s_r.dtype)

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """consistency: 1 - cos(s_rgb, s_x), weighed by both confidences (without gradient to them).
        decorrelation: mean squared correlation of specific with shared (each modality) and of specific with specific.
        """
        s_r, s_d = seen["shared_rgb"].float(), seen["shared_x"].float()
        p_r, p_d = seen["specific_rgb"].float(), seen["specific_x"].float()
        weight = (seen["confidence_rgb"] * seen["confidence_x"]).detach().float().squeeze(1)  # (B, H, W)
        apart = 1 - F.cosine_similarity(s_r, s_d, dim=1)
        consistency = (weight * apart).sum() / weight.sum().clamp(min=1e-6)
        decorrelation = (correlation(p_r, s_r) + correlation(p_d, s_d) + correlation(p_r, p_d)) / 3
        return {"consistency": consistency, "decorrelation": decorrelation}


def _confidence(channels: int) -> nn.Sequential:
    hidden = max(8, min(channels // 8, 32))
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
        nn.ReLU(),
        nn.Conv2d(hidden, 1, 1),
    )
