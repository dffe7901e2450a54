"""Prompt: what x has to say is added to the features of an RGB encoder that need not learn anything new (DPLNet).

Paper: Dong et al., "Efficient Multimodal Semantic Segmentation via Dual-Prompt Learning", IROS 2024, arXiv 2312.00360.
Origin: github.com/ShaohuaDong2021/DPLNet (no licence, NVIDIA's header in parts); written here from the equations.

    d = LN conv(what x carries on with)      3x3 of stride 2, or 7x7 of stride 4;  at first the image of x   (`Embed`)
    p = E (D_x d + D_rgb rgb)                D: C -> C/4, E: C/4 -> C, linear with bias; no activation, no norm
    rgb' = fused = rgb + p,  x' = p          x carries on with the prompt alone        3 C^2 / 4 + 3 C / 2 without conv

As a strategy, `prompt_ENCODER_DECODER`, x has no encoder of its own: a convolution a stage. Trained with `fusionzoo
finetune --init imagenet --freeze encoder`, RGB's encoder stays what it was. E starts at zero, so that the model starts
as RGB's own; the original starts with p about half as long as rgb (`original_init`).

Token attention (`TokenPrompt`), the other half of DPLNet: P (30, 32) one set of tokens for a whole network, in a block
of a Mix Transformer with query q (before its scaling) and h heads,
    [k, v] = KV LN P,  q' = Q q,  k' = K k,  v' = V v         KV: 32 -> 2C;  Q, K, V: C -> C/32
    y = O softmax(q' k'^T sqrt(h / C)) v'                     the scale of the whole head;  O: C/32 -> C
y is added to the block's attention.                                                    C^2 / 8 + 3 C / 32 + 67 C + 64
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor, nn

from fusionzoo.fusion._mit import mit_init_
from fusionzoo.fusion._parts import require_divisible
from fusionzoo.fusion.base import Fused, FusionBlock
from fusionzoo.probes.point import Probe
from fusionzoo.registry import fusions

__all__ = ["Embed", "Prompt", "TokenPrompt", "length_ratio", "start_at_zero_"]


class Embed(nn.Module):
    """x's feature of a stage: (B, inp, H, W) -> (B, out, ceil(H / stride), ceil(W / stride)), normalised over channels.

    >>> import torch
    >>> Embed(1, 8, 4)(torch.zeros(1, 1, 32, 35)).shape
    torch.Size([1, 8, 8, 9])
    """

    def __init__(self, inp: int, out: int, stride: int = 2) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inp, out, 2 * stride - 1, stride=stride, padding=stride - 1)
        self.norm = nn.LayerNorm(out)
        mit_init_(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).movedim(1, 3)).movedim(3, 1)


@fusions.register("prompt")
class Prompt(FusionBlock):
    """Prompts of x on an encoder of RGB.

    Args:
        channels: C.
        reduction: C over the hidden width.
        original_init: E starts as PyTorch starts a layer, not at zero.

    >>> sum(p.numel() for p in Prompt(64).parameters())
    3168
    """

    interaction = "exchange"
    family = "cross-modal"
    paper = "Dong et al., DPLNet (IROS 2024), arXiv 2312.00360"
    licence = "MIT (ours, from the equations); original: no licence stated, NVIDIA header in parts"
    x_embed = Embed

    def __init__(self, channels: int, *, reduction: int = 4, original_init: bool = False, **place: int) -> None:
        super().__init__(channels, **place)
        hidden = max(1, channels // reduction)
        self.reduce_x = nn.Conv2d(channels, hidden, 1)
        self.reduce_rgb = nn.Conv2d(channels, hidden, 1)
        self.expand = nn.Conv2d(hidden, channels, 1)
        if not original_init:
            start_at_zero_(self.expand)
        self.prompt = Probe(channels, role="added", modality="fused", meaning="p: what is added to RGB's feature")
        self.ratio = Probe(
            1, role="scale", modality="fused", low=0.0, meaning="|p| / |rgb| at each pixel: how much is added"
        )

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        prompt = self.prompt(self.expand(self.reduce_x(x) + self.reduce_rgb(rgb)))
        if self.ratio.tap is not None:  # made for who looks only
            self.ratio(length_ratio(prompt, rgb, 1))
        told = rgb + prompt
        return Fused(told, prompt, told)


class TokenPrompt(nn.Module):
    """Attention from queries (B, N, C) to learned tokens (1, T, W) -> what is added to the block's own (B, N, C).

    Args:
        channels: C, a multiple of 32 times the heads.
        heads: of the block.
        tokens, width: T and W.
        original_init: the last layer starts as the others, not at zero.

    >>> sum(p.numel() for p in TokenPrompt(64, 1).parameters())
    4870
    """

    def __init__(
        self, channels: int, heads: int, tokens: int = 30, width: int = 32, original_init: bool = False
    ) -> None:
        super().__init__()
        require_divisible(channels, 32 * heads, "32 parts for each head")
        self.heads, self.scale = heads, (channels // heads) ** -0.5
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.key_value = nn.Linear(width, 2 * channels)
        self.query = nn.Linear(channels, channels // 32)
        self.key = nn.Linear(channels, channels // 32)
        self.value = nn.Linear(channels, channels // 32)
        self.project = nn.Linear(channels // 32, channels)
        mit_init_(self)
        if not original_init:
            start_at_zero_(self.project)
        self.attention = Probe(
            None, role="attention", modality="rgb", low=0.0, high=1.0, sums_to_one=3, axes=f"B heads HW {tokens}",
            meaning="share of each token at each pixel",
        )  # fmt: skip
        self.added = Probe(
            channels, role="added", modality="rgb", axes="B HW C", meaning="what the tokens add to the attention"
        )

    def forward(self, query: Tensor, tokens: Tensor) -> Tensor:
        key, value = self.key_value(self.norm(tokens)).chunk(2, dim=-1)
        wide = [self.query(query), self.key(key), self.value(value)]
        q, k, v = (rearrange(t, "b n (heads d) -> b heads n d", heads=self.heads) for t in wide)
        share = self.attention((self.scale * q @ k.transpose(2, 3)).softmax(dim=3))  # (B, heads, N, T)
        return self.added(self.project(rearrange(share @ v, "b heads n d -> b n (heads d)")))


def start_at_zero_(layer: nn.Linear | nn.Conv2d) -> None:
    """Zero weights and bias: what the layer adds is nothing until it has learned something."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def length_ratio(added: Tensor, to: Tensor, dim: int) -> Tensor:
    """|added| / |to| of the vectors along `dim`, which stays with size 1."""
    return added.norm(dim=dim, keepdim=True) / to.norm(dim=dim, keepdim=True).clamp(min=1e-6)
