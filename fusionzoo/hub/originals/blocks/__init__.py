"""The authors' blocks and models run for parity: ours behind the original's call, with its inner values as views.

One file a family. `BLOCKS` maps kinds of blocks to their builders; `whole(model, keys)` puts the original's call round
a model that `checkpoints` has loaded. Tests and parity checks need this folder, conversion does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from torch import Tensor

from fusionzoo.hub.originals import checkpoints
from fusionzoo.hub.originals.port import Port

__all__ = ["FAMILIES", "build", "kinds", "whole"]

FAMILIES = (
    "acnet", "asymformer", "cen", "cmnext", "cmx", "dformer", "dformerv2", "eaef", "emsaformer", "esanet", "gemini",
    "sagate", "shapeconv", "sigma", "spnet", "tokenfusion", "torchmultimodal",
)  # fmt: skip
"""Files of this folder that hold blocks."""


def _module(family: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{family}")


@cache
def kinds() -> dict[str, str]:
    """Kind of block -> its family."""
    return {kind: family for family in FAMILIES for kind in _module(family).BLOCKS}


def build(kind: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """Our block behind the original's call; arguments and errors as `fusionzoo.hub.originals.block`."""
    port: Port = _module(kinds()[kind]).BLOCKS[kind](state, ctor)
    return port.eval()


def whole(kind: str, state: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> Port:
    """Our whole model behind the original's call; arguments and errors as `fusionzoo.hub.originals.model`."""
    loaded = checkpoints.build(kind, state, ctor)
    port: Port = _module(checkpoints.kinds()[kind]).whole(loaded.model, loaded.keys)
    return port.eval()
