"""Hybrid by trust: a consistent part averaged by learned trust, private parts whole, multiplied and exchanged. Ours.

The rule of Chen et al. (arXiv 2308.10019), specificity-driven inference under consistency constraints, in a second form
(`hybrid` is the first); m in {rgb, x}:

    n_m = BN_m(m)                                   modalities brought to one scale
    s_m = P n_m                                     one projection P for both: consistent candidates (S channels)
    t_m = softmax_m(trust_m(n_m))                   trust per position from local evidence, t_rgb + t_x = 1
    a   = (1 + cos(s_rgb, s_x)) / 2                 agreement per position, 1/2 where they have nothing in common
    c   = 2 a (t_rgb s_rgb + t_x s_x)               the consistent part: a weight around 1, never shut
    p_m = V_m n_m                                   the private part, whole: nothing gates it (S channels)
    q   = (A p_rgb) * (B p_x)                       low-rank product of the private parts: conjunctions (R channels)
    fused = ReLU(BN(W [c; p_rgb; p_x; q]))
    rgb'  = rgb + Z_rgb ReLU(BN(D_x p_x)),  x' = x + Z_x ReLU(BN(D_rgb p_rgb))       Z starts near 0

trust_m is a 1x1 convolution to 8 maps, ReLU, a depthwise 3x3, ReLU, 1x1 to one. Each term can be left out: without
trust t_m = 1/2, without agreement a = 1/2, without product no q, without exchange (and after the last stage) the
streams stay as they were, without supervision there are no losses. Losses: 1 - cos(s_rgb, s_x), each position weighed
by t_rgb t_x (no gradient to it), that is where both are trusted; mean squared correlation of private with shared parts
and of private with private ones. Parameters 4.25 C^2 + 23 C + 192.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.fusion._parts import correlation, probe_pair
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.fusion.hybrid_exchange import ResidualExchange
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

HIDDEN = 8
"""Maps from which the trust is read."""


@fusions.register("hybrid_trust")
class HybridTrust(FusionBlock):
    """Consistent part by trust, private parts whole, multiplied and exchanged.

    Args:
        channels: C.
        trust, agreement, product, exchange, supervise: whether the term (last: the losses) is there.

    >>> block = HybridTrust(16)
    >>> block(torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)).fused.shape
    torch.Size([2, 16, 4, 4])
    """

    interaction = "exchange"
    family = "hybrid"
    paper = "rule: Chen et al., arXiv 2308.10019; block ours"
    rectified = ("fused",)
    loss_probes = ("shared_rgb", "shared_x", "specific_rgb", "specific_x", "trust")
    loss_factors = MappingProxyType({"consistency": 0.1, "decorrelation": 0.1})

    def __init__(
        self,
        channels: int,
        *,
        trust: bool = True,
        agreement: bool = True,
        product: bool = True,
        exchange: bool = True,
        supervise: bool = True,
        **place: int,
    ) -> None:
        super().__init__(channels, **place)
        width, rank = max(4, channels // 2), max(4, channels // 4)
        self.supervise, self.agrees = supervise, agreement
        self.norm_rgb = nn.BatchNorm2d(channels)
        self.norm_x = nn.BatchNorm2d(channels)
        self.share = nn.Conv2d(channels, width, 1, bias=False)
        self.specify_rgb = nn.Conv2d(channels, width, 1, bias=False)
        self.specify_x = nn.Conv2d(channels, width, 1, bias=False)
        self.trust_rgb = _evidence(channels) if trust else None
        self.trust_x = _evidence(channels) if trust else None
        self.factor_rgb = nn.Conv2d(width, rank, 1, bias=False) if product else None
        self.factor_x = nn.Conv2d(width, rank, 1, bias=False) if product else None
        self.join = nn.Conv2d(3 * width + (rank if product else 0), channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.give_rgb = ResidualExchange(width, channels) if exchange and self.level < self.depth else None
        self.give_x = ResidualExchange(width, channels) if exchange and self.level < self.depth else None

        both = "candidate in the space both modalities share"
        self.shared_rgb, self.shared_x = probe_pair(width, "shared", both)
        self.trust = Probe(2, role="gate", modality="fused", meaning="trust in RGB (0) and in x (1)", low=0.0, high=1.0,
                           sums_to_one=1)  # fmt: skip
        self.agreement = Probe(1, role="agreement", meaning="(1 + cosine of the candidates) / 2", low=0.0, high=1.0)
        self.consistent = Probe(width, role="consistent", modality="fused", meaning="what both modalities say")
        self.specific_rgb, self.specific_x = probe_pair(width, "specific", "RGB's own part", "x's own part")
        if product:
            self.product = Probe(rank, role="product", modality="fused", meaning="what only both together say")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        n_rgb, n_x = self.norm_rgb(rgb), self.norm_x(x)
        s_rgb, s_x = self.shared_rgb(self.share(n_rgb)), self.shared_x(self.share(n_x))
        if self.trust_rgb is not None and self.trust_x is not None:
            scores = torch.cat([self.trust_rgb(n_rgb), self.trust_x(n_x)], dim=1)  # (B, 2, H, W)
        else:
            scores = s_rgb.new_zeros(len(rgb), 2, *rgb.shape[2:])
        trust = self.trust(scores.softmax(dim=1))
        agree = F.cosine_similarity(s_rgb.float(), s_x.float(), dim=1)[:, None] if self.agrees else 0 * trust[:, :1]
        agree = self.agreement(((1 + agree) / 2).to(s_rgb.dtype))  # (B, 1, H, W)
        consistent = self.consistent(2 * agree * (trust[:, :1] * s_rgb + trust[:, 1:] * s_x))
        p_rgb, p_x = self.specific_rgb(self.specify_rgb(n_rgb)), self.specific_x(self.specify_x(n_x))
        parts = [consistent, p_rgb, p_x]
        if self.factor_rgb is not None and self.factor_x is not None:
            parts.append(self.product(self.factor_rgb(p_rgb) * self.factor_x(p_x)))
        fused = self.norm(self.join(torch.cat(parts, dim=1))).relu()
        if self.give_rgb is not None and self.give_x is not None:
            rgb, x = rgb + self.give_x(p_x), x + self.give_rgb(p_rgb)
        return Fused(rgb, x, fused)

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """consistency: 1 - cos of the candidates where both are trusted. decorrelation: of private parts."""
        if not self.supervise:
            return {}
        s_rgb, s_x, p_rgb, p_x = (seen[name].float() for name in self.loss_probes[:4])
        weight = seen["trust"].detach().float().prod(dim=1)  # (B, H, W)
        apart = 1 - F.cosine_similarity(s_rgb, s_x, dim=1)
        consistency = (weight * apart).sum() / weight.sum().clamp(min=1e-6)
        decorrelation = (correlation(p_rgb, s_rgb) + correlation(p_x, s_x) + correlation(p_rgb, p_x)) / 3
        return {"consistency": consistency, "decorrelation": decorrelation}


def _evidence(channels: int) -> nn.Sequential:
    """(B, C, H, W) -> (B, 1, H, W): how far a modality can be trusted here, from a 3x3 neighbourhood."""
    return nn.Sequential(
        nn.Conv2d(channels, HIDDEN, 1),
        nn.ReLU(),
        nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1, groups=HIDDEN),
        nn.ReLU(),
        nn.Conv2d(HIDDEN, 1, 1, bias=False),  # a bias of both would cancel in the softmax
    )
