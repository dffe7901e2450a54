"""CEN's exchange and bottleneck, called as the original is (github.com/yikaiw/CEN)."""

from __future__ import annotations

from fusionzoo.fusion.channel_exchange import CENBottleneck, ExchangeNorm
from fusionzoo.hub.originals.checkpoints.cen import BOTTLENECK, EXCHANGE
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make


def _bottleneck(c: Arguments) -> Block:
    c.only(num_parallel=2)
    threshold = c("bn_threshold", 0.02)
    return Block(CENBottleneck(c("inplanes"), c("planes"), c("stride", 1), threshold), BOTTLENECK)


BLOCKS: dict[str, Make] = {
    "cen_bn_exchange": lambda c: Block(ExchangeNorm(c("C"), c("bn_threshold", 0.02)), EXCHANGE),
    "cen_bottleneck": _bottleneck,
}
