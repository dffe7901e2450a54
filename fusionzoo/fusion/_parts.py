"""Small pieces that several blocks share: layouts, squeeze-excitation, drop path, two-stream layer norms, probes."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torchvision.ops import StochasticDepth

from fusionzoo.errors import InputError
from fusionzoo.probes.point import Probe
from fusionzoo.probes.tape import exporting

__all__ = [
    "PairNorm",
    "Squeeze",
    "attention",
    "correlation",
    "drop_path",
    "gate_init_",
    "gate_probe",
    "gate_probes",
    "gated_sum",
    "probe_pair",
    "reduced",
    "require_divisible",
    "share_probe",
    "to_map",
    "to_tokens",
]


def gated_sum(rgb: Tensor, gate_rgb: Tensor, x: Tensor, gate_x: Tensor) -> Tensor:
    """rgb * gate_rgb + x * gate_x, the second product and the sum in one pass over memory. Gates broadcast.

    >>> import torch
    >>> gated_sum(torch.ones(2), torch.tensor([0.5]), torch.full((2,), 3.0), torch.tensor([2.0]))
    tensor([6.5000, 6.5000])
    """
    return (rgb * gate_rgb).addcmul_(x, gate_x)


def to_tokens(feature: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, HW, C), a view wherever the strides allow it.

    >>> import torch
    >>> to_tokens(torch.zeros(2, 3, 4, 5)).shape
    torch.Size([2, 20, 3])
    """
    return rearrange(feature, "b c h w -> b (h w) c")


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, HW, C) -> (B, C, H, W), a view: the inverse of `to_tokens`."""
    return rearrange(tokens, "b (h w) c -> b c h w", h=size[0], w=size[1])


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
    """Softmax attention: q (B, heads, N, d), k and v (B, heads, M, d), added mask (B, heads, N, M) -> (B, heads, N, d).

    The fused kernels lay their result out as (B, N, heads, d), what stands for them in an exported graph does not; so
    there it gets memory of its own, and joining the heads is no view that the other layout refuses.
    """
    out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    return out.clone(memory_format=torch.contiguous_format) if exporting() else out


def reduced(channels: int, reduction: int, floor: int) -> int:
    """channels // reduction, not below `floor`: with one or two hidden units a ReLU bottleneck can die at the start."""
    return max(floor, channels // reduction)


def correlation(u: Tensor, v: Tensor) -> Tensor:
    """Mean over channel pairs of the squared Pearson correlation over all positions of the batch; scalar in [0, 1].

    Args:
        u, v: (B, Cu, H, W) and (B, Cv, H, W).
    """
    u, v = (rearrange(t, "b c h w -> c (b h w)") for t in (u, v))
    u = u - u.mean(dim=1, keepdim=True)
    v = v - v.mean(dim=1, keepdim=True)
    scale = u.norm(dim=1).clamp(min=1e-6)[:, None] * v.norm(dim=1).clamp(min=1e-6)  # (Cu, Cv)
    return (u @ v.t() / scale).square().mean()


def require_divisible(channels: int, by: int, what: str) -> None:
    """InputError unless `channels` is a positive multiple of `by`."""
    if channels < 1 or by < 1 or channels % by:
        raise InputError(f"{channels} channels cannot be split into {by} {what}; choose a divisor of {channels}")


def drop_path(probability: float) -> nn.Module:
    """Stochastic depth per sample; the identity at probability 0."""
    return StochasticDepth(probability, "row") if probability > 0 else nn.Identity()


def gate_init_(*layers: nn.Module, gain: float = 1.0) -> None:
    """Weights N(0, gain^2 / fan_in) and zero bias: unit variance in, a pre-activation of about `gain` out.

    What feeds a sigmoid or a softmax is initialised so; PyTorch's own default leaves such gates almost constant.
    """
    for layer in layers:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        nn.init.normal_(weight, std=gain * weight[0].numel() ** -0.5)
        if isinstance(layer.bias, Tensor):
            nn.init.zeros_(layer.bias)


def probe_pair(channels: int | None, role: str, rgb: str, x: str | None = None, **facts: Any) -> tuple[Probe, Probe]:
    """The probes of one role on RGB's and on x's side, with the meanings `rgb` and `x` (None: the same of both).

    Args:
        facts: `low`, `high`, `axes`, ... of both, as of `Probe`.
    """
    return (
        Probe(channels, role=role, modality="rgb", meaning=rgb, **facts),
        Probe(channels, role=role, modality="x", meaning=rgb if x is None else x, **facts),
    )


def gate_probes(channels: int, rgb: str, x: str | None = None, axes: str = "B C H W") -> tuple[Probe, Probe]:
    """`probe_pair` of gates, whose values lie in [0, 1]."""
    return probe_pair(channels, "gate", rgb, x, low=0.0, high=1.0, axes=axes)


def gate_probe(channels: int, modality: str, meaning: str, axes: str = "B C H W") -> Probe:
    """The probe of one gate, whose values lie in [0, 1]."""
    return Probe(channels, role="gate", modality=modality, meaning=meaning, low=0.0, high=1.0, axes=axes)


def share_probe(count: int, meaning: str, axes: str = "B C H W") -> Probe:
    """The probe of a softmax over `count` modalities (dim 1), in the order of the model."""
    return Probe(
        count, role="attention", modality="fused", meaning=meaning, low=0.0, high=1.0, sums_to_one=1, axes=axes
    )


class Squeeze(nn.Module):
    """W2 act(W1 v + b1) + b2 on pooled vectors (B, C_in, 1, 1) -> (B, C_out, 1, 1): the bottleneck of channel gates.

    Args:
        in_channels, hidden, out_channels: widths.
        act: activation between the two 1x1 convolutions.
        bias: whether both layers have one.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, act: nn.Module | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, hidden, 1, bias=bias)
        self.act = act if act is not None else nn.ReLU()
        self.expand = nn.Conv2d(hidden, out_channels, 1, bias=bias)
        gate_init_(self.reduce, self.expand)

    def forward(self, pooled: Tensor) -> Tensor:
        return self.expand(self.act(self.reduce(pooled)))


class PairNorm(nn.Module):
    """One LayerNorm over the last axis for each of two streams whose other weights are shared.

    >>> import torch
    >>> a, b = PairNorm(4)(torch.randn(2, 3, 4), torch.randn(2, 3, 4))
    >>> a.shape, b.shape
    (torch.Size([2, 3, 4]), torch.Size([2, 3, 4]))
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.rgb = nn.LayerNorm(channels, eps=eps)
        self.x = nn.LayerNorm(channels, eps=eps)

    def forward(self, rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.rgb(rgb), self.x(x)
