"""TokenFusion: one Mix Transformer for both modalities whose blocks exchange uninformative tokens; two predictions.

Paper: Wang et al., "Multimodal Token Fusion for Vision Transformers", CVPR 2022, arXiv 2204.08721. Origin:
github.com/yikaiw/TokenFusion (MIT file; its mix_transformer.py carries NVIDIA's non-commercial header); written here
from the equations and sizes, no code taken.

    stage: patch convolution (shared), layer norm (private); blocks; layer norm (private)
    block: mask_m = ScoreNet_m(tokens_m)_keep, one pair of score nets for all blocks of a stage
           `fusionzoo.fusion.token_exchange.TokenFusionBlock`: what attention gives is multiplied by the mask, and where
           mask_m < 0.02 replaced by the other stream's
    decoder and weighted sum of both predictions: `_ensemble`

4,048,794 parameters with MiT-B0, 26,018,426 with B2, 45,917,306 with B3 (40 classes). The auxiliary loss is the
paper's: 1e-6 times the sum of all masks, here of a batch's mean. The exchange is a hard threshold: a mask that rounding
moves across it changes the result visibly. Initialisation: Mix Transformer's, but for the score nets, whose masks move
with the input from the start (the original starts with all at 0.5). x is depth / 5 in metres, repeated to three
channels.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from fusionzoo.fusion._mit import Tokens
from fusionzoo.fusion._parts import to_map, to_tokens
from fusionzoo.fusion.token_exchange import ScoreNet, TokenFusionBlock
from fusionzoo.models.published._ensemble import STAGES, StreamEnsemble, StreamStage
from fusionzoo.models.published._mit import SIZES, mit_init_
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe
from fusionzoo.probes.tape import probe
from fusionzoo.registry import architectures

__all__ = ["ExchangeStage", "TokenFusion"]


class Masks(nn.Module):
    """The probes of one block's masks, maps (B, 1, H, W); `threshold`: tokens whose mask is lower are replaced."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        told = "probability that the token is kept; below the threshold it is replaced by the other modality's"
        self.rgb = Probe(1, role="gate", modality="rgb", meaning=told, low=0.0, high=1.0, replaced_below=threshold)
        self.x = Probe(1, role="gate", modality="x", meaning=told, low=0.0, high=1.0, replaced_below=threshold)


class ExchangeStage(nn.Module):
    """The blocks of one stage and the score nets that serve all of them.

    Args:
        channels, heads, reduction: of the attention.
        drops: probability of stochastic depth, one a block.
        threshold: tokens whose mask is lower are replaced.
    """

    def __init__(self, channels: int, heads: int, reduction: int, drops: list[float], threshold: float) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            TokenFusionBlock(channels, heads, reduction, threshold=threshold, drop=drop) for drop in drops
        )
        mit_init_(self)
        self.score_rgb = ScoreNet(channels)
        self.score_x = ScoreNet(channels)
        self.masks = nn.ModuleList(Masks(threshold) for _ in drops)

    def forward(self, rgb: Tensor, x: Tensor, size: tuple[int, int]) -> tuple[Tokens, list[Tokens]]:
        """Tokens (B, N, C) of both streams -> the same after the blocks, and each block's two masks (B, N)."""
        used: list[Tokens] = []
        for block, shown in zip(self.blocks, self.masks, strict=True):
            assert isinstance(shown, Masks)
            keep_rgb = shown.rgb(to_map(self.score_rgb(rgb)[..., :1].exp(), size))
            keep_x = shown.x(to_map(self.score_x(x)[..., :1].exp(), size))
            masks = to_tokens(keep_rgb).squeeze(2), to_tokens(keep_x).squeeze(2)
            rgb, x = block(rgb, x, size, *masks)
            used.append(masks)
        return (rgb, x), used


class TokenFusion(StreamEnsemble):
    """TokenFusion with SegFormer's head.

    Args:
        size: of the Mix Transformer; the names `tokenfusion_mit_b0` to `tokenfusion_mit_b5` fix it.
        num_classes, x_channels, preprocess: see StreamEnsemble; 40 classes in NYU Depth v2.
        embedding_dim: width of the head.
        threshold: tokens whose mask is lower are replaced by the other modality's.
        drop_path: stochastic depth of the last block.
        detach_ensemble: see StreamEnsemble.
    """

    def __init__(
        self,
        size: int,
        num_classes: int = 40,
        x_channels: int = 1,
        preprocess: Preprocess | None = None,
        embedding_dim: int = 256,
        detach_ensemble: bool = False,
        threshold: float = 0.02,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__(num_classes, x_channels, preprocess, detach_ensemble)
        self.add_mit(size, embedding_dim, drop_path, partial(ExchangeStage, threshold=threshold))

    def features_and_masks(self, rgb: Tensor, x: Tensor) -> tuple[list[tuple[Tensor, Tensor]], list[Tokens]]:
        """(see `features`; the masks (B, N) of both streams in every block, first to last)."""
        features, masks = [], []
        for i in STAGES:
            tokens, size = getattr(self, f"embed{i}")(rgb, x)
            stage: StreamStage = getattr(self, f"stage{i}")
            tokens, used = stage.fusion(*tokens, size)
            rgb, x = stage(*tokens, size)
            features.append((rgb, x))
            masks += used
        return features, masks

    def features(self, rgb: Tensor, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        return self.features_and_masks(rgb, x)[0]

    @property
    def loss_factors(self) -> dict[str, float]:
        return {"sparsity": 1.0}

    def losses(self, rgb: Tensor, x: Tensor, *, step: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
        """(logits, sparsity: 1e-6 times the sum of |mask| over both streams, all blocks and tokens, a batch's mean)."""
        with probe(self, "*.masks.*", detach=False, clone=False, trace=True) as tape:
            logits, losses = super().losses(rgb, x, step=step)
        total = torch.stack([mask.float().abs().sum() for mask in tape.values()]).sum()
        return logits, losses | {"sparsity": 1e-6 * total / logits.shape[0]}


for _size in SIZES:
    architectures.add(f"tokenfusion_mit_b{_size}", partial(TokenFusion, _size))
