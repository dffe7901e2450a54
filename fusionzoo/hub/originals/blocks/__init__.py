"""The authors' blocks and models run for parity: ours behind the original's call, with its inner values as views.

One file a family, `alone` for those without a whole model. `BLOCKS` maps kinds of blocks to what makes them of the
original's arguments; `calls` says how whole models are called. Parity needs this folder, conversion does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import Tensor

from fusionzoo.hub.originals import checkpoints
from fusionzoo.hub.originals.keys import Arguments, load_mapped, without_constants
from fusionzoo.hub.originals.port import Block, Port

__all__ = ["FAMILIES", "build", "kinds", "whole"]

FAMILIES = (
    "acnet", "alone", "asymformer", "cen", "cmnext", "cmx", "dformer", "dformerv2", "dplnet", "emsaformer", "esanet",
    "gemini", "hdbformer", "sagate", "sigma", "stitchfusion", "tokenfusion", "tuni",
)  # fmt: skip
"""Files of this folder that hold blocks."""


def _file(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")


@cache
def kinds() -> dict[str, str]:
    """Kind of block -> its family."""
    return {kind: family for family in FAMILIES for kind in _file(family).BLOCKS}


def build(kind: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """Our block behind the original's call; arguments and errors as `fusionzoo.hub.originals.block`."""
    block: Block = _file(kinds()[kind]).BLOCKS[kind](Arguments(ctor, kind))
    own = without_constants(state, block.constants, kind)
    keys = load_mapped(block.module, own, block.table, what=kind, reshape=block.reshape)
    return Port(block.module, block.call, block.views, keys).eval()


def whole(kind: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """Our whole model behind the original's call; arguments and errors as `fusionzoo.hub.originals.model`."""
    model, keys = checkpoints.build(kind, state, ctor)
    call, views = _file("calls").CALLS[checkpoints.kinds()[kind]]
    return Port(model, call, views(model) if callable(views) else views, keys).eval()
