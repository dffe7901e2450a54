"""CDDFuse's rule: a low-frequency base that both modalities should share, and detail that they should not.

Paper: Zhao et al., "CDDFuse: Correlation-Driven Dual-Branch Feature Decomposition for Multi-Modality Image Fusion",
CVPR 2023, arXiv 2211.14461. The decomposition loss and the rule "add bases, add details" are the paper's; the BLOCK IS
OURS: the original's branches are a transformer and an invertible network on images, here they are what the names say.

    low_m    = mean over a k x k neighbourhood of m (padding not counted),   k = 7
    base_m   = A low_m,   detail_m = D (m - low_m)              A, D: 1x1 convolutions, shared by both modalities
    fused    = ReLU(BN(W [base_rgb + base_x; detail_rgb + detail_x]))
    loss     = CC(detail_rgb, detail_x)^2 / (1.01 + CC(base_rgb, base_x)),   CC the mean over channels of Pearson's r
               beside the loss of a task it counts 0.1 by default (ours, as the losses of `hybrid`)

Parameters 4 C^2 + 2 C.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import probe_pair
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["CDDFuse", "correlation"]


def correlation(u: Tensor, v: Tensor) -> Tensor:
    """Pearson's r over the pixels of each channel and image, averaged: (B, C, H, W) twice -> scalar in [-1, 1].

    A channel without any variance counts as 0.

    >>> u = torch.arange(4.0).view(1, 1, 2, 2)
    >>> round(float(correlation(u, 3 - 2 * u)), 4)
    -1.0
    """
    u, v = (t.flatten(2).float() for t in (u, v))
    u, v = (t - t.mean(2, keepdim=True) for t in (u, v))
    return F.cosine_similarity(u, v, dim=2).mean()


@fusions.register("cddfuse")
class CDDFuse(FusionBlock):
    """Base and detail split, added across modalities.

    Args:
        channels: C.
        window: k, odd.

    >>> sum(p.numel() for p in CDDFuse(8).parameters()) == 4 * 8**2 + 2 * 8
    True
    """

    family = "hybrid"
    paper = "loss and rule: Zhao et al., CDDFuse (CVPR 2023), arXiv 2211.14461; block ours"
    licence = "MIT (ours)"
    rectified = ("fused",)
    loss_probes = ("base_rgb", "base_x", "detail_rgb", "detail_x")
    loss_factors = MappingProxyType({"decomposition": 0.1})

    def __init__(self, channels: int, *, window: int = 7, **place: int) -> None:
        super().__init__(channels, **place)
        if window < 1 or window % 2 == 0:
            raise InputError(f"window is {window}, wanted an odd number of pixels")
        self.window = window
        self.to_base = nn.Conv2d(channels, channels, 1, bias=False)
        self.to_detail = nn.Conv2d(channels, channels, 1, bias=False)
        self.join = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        low, high = "low-frequency part, meant to be shared", "high-frequency part, meant to be the modality's own"
        self.base_rgb, self.base_x = probe_pair(channels, "consistent", low)
        self.detail_rgb, self.detail_x = probe_pair(channels, "specific", high)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        low_rgb, low_x = self._low(rgb), self._low(x)
        base = self.base_rgb(self.to_base(low_rgb)) + self.base_x(self.to_base(low_x))
        detail = self.detail_rgb(self.to_detail(rgb - low_rgb)) + self.detail_x(self.to_detail(x - low_x))
        return Fused(rgb, x, self.norm(self.join(torch.cat([base, detail], dim=1))).relu())

    def _low(self, feature: Tensor) -> Tensor:
        return F.avg_pool2d(feature, self.window, 1, self.window // 2, count_include_pad=False)

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """decomposition: details should not correlate, bases should; in [0, 100]."""
        apart = correlation(seen["detail_rgb"], seen["detail_x"]).square()
        return {"decomposition": apart / (1.01 + correlation(seen["base_rgb"], seen["base_x"]))}
