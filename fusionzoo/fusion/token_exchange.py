"""TokenFusion: score every token; replace the uninformative ones by the other modality's token at that place.

Paper: Wang et al., "Multimodal Token Fusion for Vision Transformers", CVPR 2022, arXiv 2204.08721. Origin:
github.com/yikaiw/TokenFusion (MIT file; its mix_transformer.py carries NVIDIA's non-commercial header); written here
from the equations, no code taken.

    s_m    = LogSoftmax(Lin(C/4 -> 2) GELU Lin(C/2 -> C/4) GELU Lin(C -> C/2) GELU Lin(C -> C) LN(m))
    mask_m = exp(s_m)_0,   m <- m * mask_m
    where mask_m < 0.02: m <- the other modality's token, already multiplied by its own mask
    auxiliary loss: 1e-6 * sum |mask|

Score nets are private per modality: 3.25 C^2 + 8.5 C + 4 for both. In the original one pair serves all blocks of a
stage and the exchange follows the attention's projection (`TokenFusionBlock`: shared weights, private layer norms). As
a strategy it works on the stage outputs; `fused`, the mean of both streams, is ours: the original decodes both.

The exchange is a hard threshold: it passes no gradient to the decision, and a change of 1e-6 can flip a token. Written
as `torch.where`, so it traces and exports. Initialisation differs: the original starts with every mask at exactly 0.5;
here the score nets start with masks that move with the input, some of them below the threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fusionzoo.fusion._mit import PairedAttention, PairedBlock, Tokens
from fusionzoo.fusion._parts import gate_init_, probe_pair, to_map, to_tokens
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.registry import fusions

__all__ = ["ScoreNet", "TokenExchange", "TokenFusionAttention", "TokenFusionBlock", "exchange_tokens"]


def exchange_tokens(rgb: Tensor, x: Tensor, mask_rgb: Tensor, mask_x: Tensor, threshold: float = 0.02) -> Tokens:
    """Takes the other stream's token wherever the own mask is below `threshold`.

    Args:
        rgb, x: tokens (B, N, C).
        mask_rgb, mask_x: (B, N), in [0, 1].
        threshold: tokens whose mask is lower are replaced.

    >>> ones, twos = torch.ones(1, 2, 1), 2 * torch.ones(1, 2, 1)
    >>> mask = torch.tensor([[0.0, 1.0]])
    >>> [t.flatten().tolist() for t in exchange_tokens(ones, twos, mask, torch.ones(1, 2))]
    [[2.0, 1.0], [2.0, 2.0]]
    """
    replace_rgb, replace_x = (mask_rgb < threshold).unsqueeze(-1), (mask_x < threshold).unsqueeze(-1)
    return torch.where(replace_rgb, x, rgb), torch.where(replace_x, rgb, x)


class ScoreNet(nn.Module):
    """Log-probabilities (keep, replace) of each token: (B, N, C) -> (B, N, 2).

    Args:
        channels: C, divisible by 4.
        spread: standard deviation, at the start, of the two logits for unit-variance input, roughly.
    """

    def __init__(self, channels: int, spread: float = 3.0) -> None:
        super().__init__()
        half, quarter = max(1, channels // 2), max(1, channels // 4)
        self.net = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, channels),
            nn.GELU(),
            nn.Linear(channels, half),
            nn.GELU(),
            nn.Linear(half, quarter),
            nn.GELU(),
            nn.Linear(quarter, 2),
        )
        for index in (1, 3, 5):
            gate_init_(self.net[index], gain=2**0.5)
        gate_init_(self.net[7], gain=spread)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.net(tokens).log_softmax(dim=-1)


class TokenFusionAttention(PairedAttention):
    """Mix-Transformer attention of both streams, then mask and exchange of the projected tokens."""

    def __init__(
        self, channels: int, heads: int, sr_ratio: int = 1, qkv_bias: bool = True, threshold: float = 0.02
    ) -> None:
        super().__init__(channels, heads, sr_ratio, qkv_bias)
        self.threshold = threshold

    def forward(
        self,
        rgb: Tensor,
        x: Tensor,
        size: tuple[int, int],
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
    ) -> Tokens:
        rgb, x = super().forward(rgb, x, size)
        if mask_rgb is None or mask_x is None:
            return rgb, x
        rgb, x = rgb * mask_rgb.unsqueeze(2), x * mask_x.unsqueeze(2)
        return exchange_tokens(rgb, x, mask_rgb, mask_x, self.threshold)


class TokenFusionBlock(PairedBlock):
    """The whole Mix-Transformer block: (rgb, x, size, mask_rgb, mask_x), tokens (B, N, C) -> both.

    >>> sum(p.numel() for p in TokenFusionBlock(64, 1, sr_ratio=8).parameters())
    315264
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        sr_ratio: int = 1,
        qkv_bias: bool = True,
        mlp_ratio: float = 4.0,
        threshold: float = 0.02,
        drop: float = 0.0,
    ) -> None:
        super().__init__(
            TokenFusionAttention(channels, heads, sr_ratio, qkv_bias, threshold), channels, mlp_ratio, drop
        )


@fusions.register("token_exchange")
class TokenExchange(FusionBlock):
    """Mask both streams by their scores and exchange what is below the threshold.

    >>> sum(p.numel() for p in TokenExchange(64).parameters())
    13860
    """

    interaction = "exchange"
    family = "exchange"
    paper = "Wang et al., TokenFusion (CVPR 2022), arXiv 2204.08721"
    licence = "MIT (ours, from the equations); original: MIT file, NVIDIA non-commercial header on mix_transformer.py"
    loss_probes = ("mask_rgb", "mask_x")
    loss_factors = MappingProxyType({"sparsity": 1.0})

    def __init__(self, channels: int, *, threshold: float = 0.02, **place: int) -> None:
        super().__init__(channels, **place)
        self.threshold = threshold
        self.score_rgb = ScoreNet(channels)
        self.score_x = ScoreNet(channels)
        told = "probability that the token is kept; below the threshold it is replaced by the other modality's"
        self.mask_rgb, self.mask_x = probe_pair(1, "gate", told, low=0.0, high=1.0, replaced_below=threshold)

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        size = (rgb.shape[2], rgb.shape[3])
        first, second = to_tokens(rgb), to_tokens(x)
        keep_rgb = self.mask_rgb(to_map(self.score_rgb(first)[..., :1].exp(), size))  # (B, 1, H, W)
        keep_x = self.mask_x(to_map(self.score_x(second)[..., :1].exp(), size))
        rgb, x = rgb * keep_rgb, x * keep_x
        out_rgb, out_x = torch.where(keep_rgb < self.threshold, x, rgb), torch.where(keep_x < self.threshold, rgb, x)
        return Fused(out_rgb, out_x, (out_rgb + out_x) / 2)

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """sparsity: sum of |mask| over both modalities and all tokens, a batch's mean; the paper weighs it by 1e-6."""
        total = seen["mask_rgb"].float().abs().sum() + seen["mask_x"].float().abs().sum()
        return {"sparsity": 1e-6 * total / seen["mask_rgb"].shape[0]}
