"""ShapeConv's layer (github.com/hanchaoleng/ShapeConv, Apache-2.0): official keys to ours, as trained (not folded)."""

from __future__ import annotations

from fusionzoo.fusion.shapeconv import ShapeConv2d
from fusionzoo.hub.originals.keys import Arguments
from fusionzoo.hub.originals.port import Block, Make

TABLE = {"weight": "weight", "bias": "bias", "Shape": "shape", "Base": "base", "D_diag": "identity"}


def _shapeconv(c: Arguments) -> Block:
    """x -> out."""
    c.only(groups=1)
    block = ShapeConv2d(
        c("in_channels"),
        c("out_channels"),
        c("kernel_size"),
        stride=c("stride", default=1),
        padding=c("padding", default=0),
        dilation=c("dilation", default=1),
        bias=c("bias", default=True),
        stored_identity=True,
    )
    return Block(block, TABLE)


BLOCKS: dict[str, Make] = {
    "shapeconv": _shapeconv,
}
