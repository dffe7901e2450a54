"""ShapeConv's layer (github.com/hanchaoleng/ShapeConv, Apache-2.0): official keys to ours, as trained (not folded)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.fusion.shapeconv import ShapeConv2d
from fusionzoo.hub.originals.keys import take
from fusionzoo.hub.originals.port import Port, direct, port

LAYER = {"weight": "weight", "bias": "bias", "Shape": "shape", "Base": "base", "D_diag": "identity"}


def shapeconv(state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """x -> out."""
    if take(ctor, "groups", default=1) != 1:
        raise InputError(f"shapeconv: groups is {ctor['groups']}; only 1 is supported")
    block = ShapeConv2d(
        take(ctor, "in_channels"),
        take(ctor, "out_channels"),
        take(ctor, "kernel_size"),
        stride=take(ctor, "stride", default=1),
        padding=take(ctor, "padding", default=0),
        dilation=take(ctor, "dilation", default=1),
        bias=take(ctor, "bias", default=True),
        stored_identity=True,
    )
    return port(block, state, LAYER, direct, what="shapeconv")


BLOCKS = {"shapeconv": shapeconv}
