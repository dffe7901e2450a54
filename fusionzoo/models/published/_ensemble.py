"""What CEN, TokenFusion and GeminiFusion share around their encoders: one weight set for both streams, two predictions.

    f_m = the four stage outputs of stream m, strides 4 to 32 (the papers' stage 1 is stage 2 here, by stride)
    scores_m = decoder of f_m, the same weights for both;   result = sum_m softmax(alpha)_m scores_m

There is no fused feature: the stages name both streams. The decoder sees both streams as one batch, RGB's half first,
so that batch norm's statistics in training are those of both; the originals pass them one after the other, which is
the same in evaluation. They also stop gradients between the weighted sum and the two predictions, which have losses of
their own: `detach_ensemble`, which only the converter sets.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.fusion._mit import Tokens
from fusionzoo.fusion._parts import PairNorm, to_map, to_tokens
from fusionzoo.models.base import FusionModel
from fusionzoo.models.published._mit import HEADS, REDUCTIONS, SIZES, drop_rates, mit_init_, patch_conv
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.models.stages import Stage
from fusionzoo.preprocess import Preprocess
from fusionzoo.probes.point import Probe

__all__ = ["PairedPatchEmbed", "StreamEnsemble", "StreamStage"]

STAGES = (2, 3, 4, 5)


class PairedPatchEmbed(nn.Module):
    """One patch convolution for both streams, a layer norm for each: two maps -> two token sets, and their size."""

    def __init__(self, conv: nn.Conv2d, eps: float = 1e-6) -> None:
        super().__init__()
        self.conv = conv
        self.norm = PairNorm(conv.out_channels, eps)

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tokens, tuple[int, int]]:
        a, b = self.conv(rgb), self.conv(x)
        return self.norm(to_tokens(a), to_tokens(b)), (a.shape[2], a.shape[3])


class StreamStage(Stage):
    """The end of one stage: a norm for each stream, their probes; `fusion` holds the stage's blocks."""

    def __init__(self, channels: int, fusion: nn.Module) -> None:
        super().__init__(channels, fusion)
        self.norm = PairNorm(channels)

    def forward(self, rgb: Tensor, x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Tokens after the blocks (B, N, C) -> normalised maps (B, C, H, W)."""
        rgb, x = self.norm(rgb, x)
        return self.rgb(to_map(rgb, size)), self.x(to_map(x, size))


class StreamEnsemble(FusionModel):
    """Base: subclasses set `stage2` to `stage5` (Stage), call `add_decoder` and implement `features`.

    Args:
        num_classes, preprocess: see FusionModel; depth / 5 in metres where None.
        x_channels: 1, repeated to three inside, or 3.
        detach_ensemble: no gradient from the weighted sum to the two predictions.

    Raises:
        InputError: x_channels is neither 1 nor 3: both modalities share the first convolution.
    """

    def __init__(
        self,
        num_classes: int,
        x_channels: int,
        preprocess: Preprocess | None,
        detach_ensemble: bool,
    ) -> None:
        if x_channels not in (1, 3):
            raise InputError(f"x_channels is {x_channels}; both modalities share the first convolution: give 1 or 3")
        zero, one = (0.0,) * x_channels, (1.0,) * x_channels
        super().__init__(num_classes, x_channels, preprocess or Preprocess(x_scale=0.2, x_mean=zero, x_std=one))
        self.detach_ensemble = detach_ensemble

    def add_decoder(self, decoder: nn.Module) -> None:
        """What gives the class scores of one stream from its four maps, and the weighted sum behind it."""
        num_classes = self.num_classes
        self.decoder = decoder
        self.alpha = nn.Parameter(torch.ones(2))
        self.logits_rgb = Probe(num_classes, role="logits", modality="rgb", meaning="class scores of RGB's stream")
        self.logits_x = Probe(num_classes, role="logits", modality="x", meaning="class scores of x's stream")
        self.share = Probe(
            2, role="weight", modality="fused", low=0.0, high=1.0, sums_to_one=0, axes="2",
            meaning="weight of RGB's and of x's scores in the sum",
        )  # fmt: skip
        self.logits = Probe(num_classes, role="logits", modality="fused", meaning="weighted sum of both class scores")

    def add_mit(self, size: int, embedding_dim: int, drop_path: float, blocks: Callable[..., nn.Module]) -> None:
        """SegFormer's head of width `embedding_dim`, and the four stages of the Mix Transformer B0 to B5.

        `blocks`: (channels, heads, reduction, probability of stochastic depth of each block) -> a stage's `fusion`.
        """
        channels, depths = SIZES[size]
        self.add_decoder(SegFormerHead(channels, self.num_classes, embedding_dim, modality=""))
        for i, (width, drops) in enumerate(zip(channels, drop_rates(depths, drop_path), strict=True)):
            embed = PairedPatchEmbed(patch_conv(channels[i - 1] if i else 3, width, i + 1))
            mit_init_(embed)
            setattr(self, f"embed{STAGES[i]}", embed)
            setattr(self, f"stage{STAGES[i]}", StreamStage(width, blocks(width, HEADS[i], REDUCTIONS[i], drops)))

    def features(self, rgb: Tensor, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Images of three channels -> the four stages' maps of both streams, strides 4, 8, 16, 32, rounded up."""
        raise NotImplementedError

    def decode(self, features: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(RGB's class scores, x's, their weighted sum, each (B, K, H/4, W/4); the two weights)."""
        both = self.decoder([torch.cat(pair) for pair in features])  # (2B, K, H/4, W/4)
        first, second = both.unflatten(0, (2, -1)).unbind()  # no chunk: it would fix the batch of an exported graph
        first, second = self.logits_rgb(first), self.logits_x(second)
        share = self.share(self.alpha.softmax(0))
        a, b = (first.detach(), second.detach()) if self.detach_ensemble else (first, second)
        return first, second, self.logits(share[0] * a + share[1] * b), share

    def three_channels(self, x: Tensor) -> Tensor:
        """One channel stands for three equal ones."""
        return x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x

    def all_scores(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `decode`."""
        return self.decode(self.features(rgb, self.three_channels(x)))

    def scores(self, rgb: Tensor, x: Tensor) -> Tensor:
        return self.all_scores(rgb, x)[2]
