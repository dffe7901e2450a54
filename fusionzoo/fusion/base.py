"""The contract of a fusion strategy: two feature maps in, `Fused(rgb, x, fused)` out, probes at the seams.

To add a strategy: one file in this folder, a subclass of FusionBlock with `fuse`, registered under a name, and a line
in `fusionzoo/fusion/__init__.py`. The base class puts the standard probes round `fuse`; declare your own in `__init__`,
which names the strategy's own options and hands those of the base class on, its place in the model (`**place`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.probes.point import Probe

__all__ = ["Fused", "FusionBlock"]


class Fused(NamedTuple):
    """What a block returns, each (B, C, H, W): what the two streams carry on with, and the fused feature."""

    rgb: Tensor
    x: Tensor
    fused: Tensor


class FusionBlock(nn.Module):
    """Base class of all strategies.

    `interaction` says what the streams receive for their next stage: "none" (unchanged features), "inject" (fused goes
    into the RGB stream), "exchange" (both rectified). `family` is one of concat, attention, cross-modal, exchange,
    hybrid.

    Args:
        channels: C of both inputs and of the three outputs.
        level: which stage of the encoders, 1 (finest) .. 5, for strategies that weigh stages differently.
        depth: number of encoder stages in the model.
    """

    interaction: ClassVar[str] = "none"
    family: ClassVar[str] = "concat"
    paper: ClassVar[str] = ""
    licence: ClassVar[str] = "MIT (ours)"
    x_embed: ClassVar[Callable[[int, int, int], nn.Module] | None] = None
    """Where x has no encoder: (channels before, channels, stride) -> the module that makes x's feature of a stage."""
    rectified: ClassVar[tuple[str, ...]] = ()
    """Which of the outputs `rgb_out`, `x_out`, `fused` come out of a ReLU: never negative."""

    def __init__(self, channels: int, *, level: int = 1, depth: int = 5) -> None:
        super().__init__()
        self.channels = channels
        self.level = level
        self.depth = depth
        self.rgb_in = Probe(channels, role="input", modality="rgb", meaning="RGB feature that enters the block")
        self.x_in = Probe(channels, role="input", modality="x", meaning="x feature that enters the block")
        self.rgb_out = Probe(channels, role="output", modality="rgb", meaning="what the RGB stream carries on with")
        self.x_out = Probe(channels, role="output", modality="x", meaning="what the x stream carries on with")
        self.fused = Probe(channels, role="fused", modality="fused", meaning="what the decoder receives")
        for name in self.rectified:
            getattr(self, name).low = 0.0

    def forward(self, rgb: Tensor, x: Tensor) -> Fused:
        """rgb, x: (B, C, H, W) each -> Fused of three (B, C, H, W).

        Raises:
            InputError: maps of other channels, of two sizes, or without a batch; another result of `fuse`.
        """
        looks = not (torch.compiler.is_compiling() or torch.jit.is_tracing())  # type: ignore[attr-defined]
        name, c, size = type(self).__name__, self.channels, rgb.shape
        if looks and (rgb.dim() != 4 or size != x.shape or size[1] != c):
            raise InputError(
                f"{name} fuses two maps (B, {c}, H, W) of one size; rgb is {tuple(size)}, x {tuple(x.shape)}"
            )
        out = self.fuse(self.rgb_in(rgb), self.x_in(x))
        if looks and (not isinstance(out, tuple) or [v.shape for v in out] != [size] * 3):
            found = [tuple(v.shape) for v in out] if isinstance(out, tuple) else f"a {type(out).__name__}"
            raise InputError(f"{name}.fuse gives {found}; wanted Fused(rgb, x, fused), each {tuple(size)}")
        rgb, x, fused = out
        return Fused(self.rgb_out(rgb), self.x_out(x), self.fused(fused))

    def fuse(self, rgb: Tensor, x: Tensor) -> Fused:
        """The strategy itself. For interaction "none" return the inputs as they came beside the fused feature."""
        raise NotImplementedError

    loss_probes: tuple[str, ...] = ()
    """Names of this block's own probes whose values `losses` needs, with gradients. An option may leave some out."""
    loss_factors: Mapping[str, float] = MappingProxyType({})
    """Name of each loss -> its factor where training names no other. A loss that is not named here counts 1, and
    training cannot name another. An option that takes a loss away takes its name away (of the block alone, a plain
    dict: blocks are pickled)."""

    def losses(self, seen: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Auxiliary losses (scalars) from the values that passed `loss_probes`; none by default."""
        return {}
