"""Channel exchange (CEN): a channel whose batch-norm scale is near zero is replaced by the other modality's.

Paper: Wang et al., "Deep Multimodal Fusion by Channel Exchanging", NeurIPS 2020, arXiv 2011.05005. Origin:
github.com/yikaiw/CEN (MIT; its model.py carries a 2-clause BSD text titled "for non-commercial purposes"); written here
from the equations.

    n_m = BN_m(m), private scales gamma_m;   m'_c = n_{other, c} where |gamma_{m, c}| < 0.02, else n_{m, c}
    auxiliary loss: 2e-4 * (sum |gamma_rgb| over the first half of the channels + sum |gamma_x| over the second half)

No learnable parameters beyond both batch norms (4 C). The penalty is restricted to disjoint halves, the exchange is
not. In the original the exchange follows bn2 of every ResNet bottleneck, whose convolutions both modalities share
(`CENBottleneck`). As a strategy it works on the stage outputs; `fused`, the mean of both, is ours: the original decodes
both and adds the predictions with learned weights.

Differs: initialisation. With all scales at 1, the original's start, nothing is exchanged before long training; here a
share of the penalised channels starts below the threshold (`start_exchanged`, 0 for the original's start). A replaced
channel's scale gets no gradient but that of the penalty: the published rule, kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._parts import probe_pair
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["CENBottleneck", "ChannelExchange", "ExchangeNorm", "PairBatchNorm"]


class PairBatchNorm(nn.Module):
    """One BatchNorm2d for each of two streams: (B, C, H, W) twice -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.rgb = nn.BatchNorm2d(channels)
        self.x = nn.BatchNorm2d(channels)

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.rgb(rgb), self.x(x)


class ExchangeNorm(PairBatchNorm):
    """Private batch norms, then the exchange of channels with a small scale.

    Args:
        channels: C.
        threshold: on |gamma|.
        start_exchanged: share of all channels, at most one half, that starts below the threshold in each modality.
    """

    def __init__(self, channels: int, threshold: float = 0.02, start_exchanged: float = 0.0) -> None:
        super().__init__(channels)
        self.threshold = threshold
        if not 0 <= start_exchanged <= 0.5:
            raise InputError(f"start_exchanged is {start_exchanged}, wanted 0 to 0.5")
        count = int(channels * start_exchanged)
        with torch.no_grad():
            if count:
                spread = torch.linspace(0, channels // 2 - 1, count).long()
                self.rgb.weight[spread] = threshold / 2
                self.x.weight[channels // 2 + spread] = threshold / 2
        told = "1 where the channel is replaced by the other modality's, else 0; by weights alone"
        self.mask_rgb, self.mask_x = probe_pair(channels, "exchange", told, low=0.0, high=1.0, axes="B C 1 1")

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        rgb, x = super().forward(rgb, x)
        swap_rgb = self.mask_rgb(self._small(self.rgb, rgb))
        swap_x = self.mask_x(self._small(self.x, x))
        return torch.where(swap_rgb > 0.5, x, rgb), torch.where(swap_x > 0.5, rgb, x)

    def _small(self, norm: nn.BatchNorm2d, like: Tensor) -> Tensor:
        mask = (norm.weight.abs() < self.threshold).to(like.dtype)
        return mask.view(1, -1, 1, 1).expand(like.shape[0], -1, -1, -1)

    def penalty(self) -> Tensor:
        """Sum of |gamma| over the first half of RGB's and the second half of x's channels."""
        half = self.rgb.weight.numel() // 2
        return self.rgb.weight[:half].abs().sum() + self.x.weight[half:].abs().sum()


class CENBottleneck(nn.Module):
    """ResNet bottleneck of both streams: shared convolutions, private norms, exchange after the second.

    (B, in_channels, H, W) twice -> (B, 4 * planes, H / stride, W / stride) twice.

    Args:
        in_channels, planes, stride: as in a ResNet; the 1x1 shortcut appears where the shape changes.
        threshold: of the exchange.

    >>> sum(p.numel() for p in CENBottleneck(256, 64).parameters())
    71168
    """

    def __init__(self, in_channels: int, planes: int, stride: int = 1, threshold: float = 0.02) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.norm1 = PairBatchNorm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.norm2 = ExchangeNorm(planes, threshold)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.norm3 = PairBatchNorm(4 * planes)
        self.has_shortcut = stride != 1 or in_channels != 4 * planes
        if self.has_shortcut:
            self.shortcut = nn.Conv2d(in_channels, 4 * planes, 1, stride=stride, bias=False)
            self.shortcut_norm = PairBatchNorm(4 * planes)

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.norm1(self.conv1(rgb), self.conv1(x))
        a, b = self.norm2(self.conv2(a.relu()), self.conv2(b.relu()))
        a, b = self.norm3(self.conv3(a.relu()), self.conv3(b.relu()))
        if self.has_shortcut:
            rgb, x = self.shortcut_norm(self.shortcut(rgb), self.shortcut(x))
        return (a + rgb).relu(), (b + x).relu()


@fusions.register("channel_exchange")
class ChannelExchange(FusionBlock):
    """Normalise both streams and exchange the channels with a small scale.

    >>> sum(p.numel() for p in ChannelExchange(64).parameters())
    256
    """

    interaction = "exchange"
    family = "exchange"
    paper = "Wang et al., CEN (NeurIPS 2020), arXiv 2011.05005"
    licence = "MIT (ours, from the equations); original: MIT, model.py with a 'non-commercial' BSD title"
    loss_factors = MappingProxyType({"sparsity": 1.0})

    def __init__(self, channels: int, *, threshold: float = 0.02, start_exchanged: float = 0.125, **place: int) -> None:
        super().__init__(channels, **place)
        self.exchange = ExchangeNorm(channels, threshold, start_exchanged)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        rgb, x = self.exchange(rgb, x)
        return Fused(rgb, x, (rgb + x) / 2)

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """sparsity: the penalty on the scales, already weighed by the paper's 2e-4."""
        return {"sparsity": 2e-4 * self.exchange.penalty()}
