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

trust_m is a 1x1 convolution to 8 maps, ReLU, a depthwise 3x3, ReLU, 1x1 to one. Losses: 1 - cos(s_rgb, s_x), each
position weighed by t_rgb t_x (no gradient to it), that is where both are trusted; mean squared correlation of private
with shared parts and of private with private ones. Parameters 4.25 C^2 + 23 C + 192.

Each term can be left out, one at a time or several; what is left out has no parameters, no probes and no losses:

    trust       t_m = 1/2, trust_m gone
    agreement   a = 1/2
    product     no q: fused from [c; p_rgb; p_x]
    consistent  no c, and nothing that only c needs: P, s_m, t_m, a. fused from [p_rgb; p_x; q], loss of p_rgb with p_x
                alone. 3.25 C^2 + 7 C parameters
    private     no p_m, and nothing made of them: V_m, q, exchange. fused from c, the first loss alone. C^2 + 22 C + 192
    exchange    the streams stay as they were (as after the last stage)
    supervise   no losses

The probes of trust and agreement stay where these are constant, and go with the consistent part.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
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
        trust, agreement, product, consistent, private, exchange, supervise: whether the term (last: the losses) is
            there, see above.

    Raises:
        InputError: neither the consistent part nor the private ones.

    >>> block = HybridTrust(16)
    >>> block(torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)).fused.shape
    torch.Size([2, 16, 4, 4])
    """

    interaction = "exchange"
    family = "hybrid"
    paper = "rule: Chen et al., arXiv 2308.10019; block ours"
    rectified = ("fused",)
    loss_probes: tuple[str, ...] = ("shared_rgb", "shared_x", "specific_rgb", "specific_x", "trust")
    loss_factors: Mapping[str, float] = MappingProxyType({"consistency": 0.1, "decorrelation": 0.1})

    def __init__(
        self,
        channels: int,
        *,
        trust: bool = True,
        agreement: bool = True,
        product: bool = True,
        consistent: bool = True,
        private: bool = True,
        exchange: bool = True,
        supervise: bool = True,
        **place: int,
    ) -> None:
        super().__init__(channels, **place)
        if not (consistent or private):
            raise InputError("hybrid_trust: consistent and private cannot both be false, nothing would be left to fuse")
        width, rank = max(4, channels // 2), max(4, channels // 4)
        trust, product = trust and consistent, product and private
        exchange = exchange and private and self.level < self.depth
        self.agrees, self.has_consistent, self.has_private = agreement, consistent, private
        there = {"consistency": consistent, "decorrelation": private}
        self.loss_factors = {name: f for name, f in type(self).loss_factors.items() if supervise and there[name]}
        needs = {"shared": consistent, "trust": consistent, "specific": private}
        self.loss_probes = tuple(n for n in type(self).loss_probes if supervise and needs[n.partition("_")[0]])

        self.norm_rgb = nn.BatchNorm2d(channels)
        self.norm_x = nn.BatchNorm2d(channels)
        if consistent:
            self.share = nn.Conv2d(channels, width, 1, bias=False)
        if private:
            self.specify_rgb = nn.Conv2d(channels, width, 1, bias=False)
            self.specify_x = nn.Conv2d(channels, width, 1, bias=False)
        self.trust_rgb = _evidence(channels) if trust else None
        self.trust_x = _evidence(channels) if trust else None
        self.factor_rgb = nn.Conv2d(width, rank, 1, bias=False) if product else None
        self.factor_x = nn.Conv2d(width, rank, 1, bias=False) if product else None
        parts = width * (consistent + 2 * private) + rank * product
        self.join = nn.Conv2d(parts, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.give_rgb = ResidualExchange(width, channels) if exchange else None
        self.give_x = ResidualExchange(width, channels) if exchange else None

        if consistent:
            both = "candidate in the space both modalities share"
            self.shared_rgb, self.shared_x = probe_pair(width, "shared", both)
            self.trust = Probe(2, role="gate", modality="fused", meaning="trust in RGB (0) and in x (1)", low=0.0,
                               high=1.0, sums_to_one=1)  # fmt: skip
            self.agreement = Probe(1, role="agreement", meaning="(1 + cosine of the candidates) / 2", low=0.0, high=1.0)
            self.consistent = Probe(width, role="consistent", modality="fused", meaning="what both modalities say")
        if private:
            self.specific_rgb, self.specific_x = probe_pair(width, "specific", "RGB's own part", "x's own part")
        if product:
            self.product = Probe(rank, role="product", modality="fused", meaning="what only both together say")

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        n_rgb, n_x = self.norm_rgb(rgb), self.norm_x(x)
        parts = [self._consistent(n_rgb, n_x)] if self.has_consistent else []
        if self.has_private:
            p_rgb, p_x = self.specific_rgb(self.specify_rgb(n_rgb)), self.specific_x(self.specify_x(n_x))
            parts += [p_rgb, p_x]
            if self.factor_rgb is not None and self.factor_x is not None:
                parts.append(self.product(self.factor_rgb(p_rgb) * self.factor_x(p_x)))
            if self.give_rgb is not None and self.give_x is not None:
                rgb, x = rgb + self.give_x(p_x), x + self.give_rgb(p_rgb)
        return Fused(rgb, x, self.norm(self.join(torch.cat(parts, dim=1))).relu())

    def _consistent(self, n_rgb: Tensor, n_x: Tensor) -> Tensor:
        """(B, C, H, W) each -> c, (B, S, H, W)."""
        s_rgb, s_x = self.shared_rgb(self.share(n_rgb)), self.shared_x(self.share(n_x))
        if self.trust_rgb is not None and self.trust_x is not None:
            scores = torch.cat([self.trust_rgb(n_rgb), self.trust_x(n_x)], dim=1)  # (B, 2, H, W)
        else:
            scores = s_rgb.new_zeros(len(n_rgb), 2, *n_rgb.shape[2:])
        trust = self.trust(scores.softmax(dim=1))
        agree = F.cosine_similarity(s_rgb.float(), s_x.float(), dim=1)[:, None] if self.agrees else 0 * trust[:, :1]
        agree = self.agreement(((1 + agree) / 2).to(s_rgb.dtype))  # (B, 1, H, W)
        return self.consistent(2 * agree * (trust[:, :1] * s_rgb + trust[:, 1:] * s_x))

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """consistency: 1 - cos of the candidates where both are trusted. decorrelation: of private parts."""
        v = {name: seen[name].float() for name in self.loss_probes}
        out = {}
        if "consistency" in self.loss_factors:
            weight = v["trust"].detach().prod(dim=1)  # (B, H, W)
            apart = 1 - F.cosine_similarity(v["shared_rgb"], v["shared_x"], dim=1)
            out["consistency"] = (weight * apart).sum() / weight.sum().clamp(min=1e-6)
        if "decorrelation" in self.loss_factors:
            pairs = [("specific_rgb", "shared_rgb"), ("specific_x", "shared_x"), ("specific_rgb", "specific_x")]
            found = [correlation(v[a], v[b]) for a, b in pairs if a in v and b in v]
            out["decorrelation"] = sum(found[1:], found[0]) / len(found)
        return out


def _evidence(channels: int) -> nn.Sequential:
    """(B, C, H, W) -> (B, 1, H, W): how far a modality can be trusted here, from a 3x3 neighbourhood."""
    return nn.Sequential(
        nn.Conv2d(channels, HIDDEN, 1),
        nn.ReLU(),
        nn.Conv2d(HIDDEN, HIDDEN, 3, padding=1, groups=HIDDEN),
        nn.ReLU(),
        nn.Conv2d(HIDDEN, 1, 1, bias=False),  # a bias of both would cancel in the softmax
    )
