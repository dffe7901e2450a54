"""HDBFormer's MIIM and depth encoder, called as the originals are (github.com/Weishuobin/HDBFormer)."""

from __future__ import annotations

from torch import Tensor, nn

from fusionzoo.fusion.hdbformer import MIIM
from fusionzoo.hub.originals.checkpoints.hdbformer import MIIM as KEYS
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make, View, channels_last
from fusionzoo.models.published.hdbformer import pyramid

VIEWS = {
    "GFA": View("passes.0.aware", channels_last),
    "LFA.0": View("passes.0.rgb_local", channels_last),
    "LFA.1": View("passes.0.x_local", channels_last),
}


def _strides(parts: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Maps of strides 4, 8, 16, 32."""
    out = []
    for part in parts.children():
        x = part(x)
        out.append(x)
    return tuple(out[1:])


def depth_encoder(c: Arguments) -> Block:
    """x -> maps of strides 4, 8, 16, 32."""
    parts = pyramid(tuple(c("channels")), light=True)
    return Block(parts, {f"stages.{i}": str(i) for i in range(len(parts))}, _strides)


BLOCKS: dict[str, Make] = {
    # (x, x_e) -> (x, x_e)
    "hdbformer_miim": lambda c: Block(MIIM(c("dim"), c("num_head", 8)), KEYS, views=VIEWS),
    "hdbformer_depth": depth_encoder,
}
