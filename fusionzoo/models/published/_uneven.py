"""A level of two streams that differ in width."""

from __future__ import annotations

from torch import nn

from fusionzoo.probes.point import Probe

__all__ = ["UnevenLevel"]


class UnevenLevel(nn.Module):
    """The probes of one encoder level, and what fuses or runs both streams there, if anything does.

    Args:
        rgb_channels, x_channels: of the two streams' features.
        fusion: any module; the architecture knows how to call it.
    """

    def __init__(self, rgb_channels: int, x_channels: int, fusion: nn.Module | None) -> None:
        super().__init__()
        self.rgb = Probe(rgb_channels, role="feature", modality="rgb", meaning="RGB encoder's feature at this level")
        self.x = Probe(x_channels, role="feature", modality="x", meaning="x encoder's feature at this level")
        if fusion is not None:
            self.fusion = fusion
