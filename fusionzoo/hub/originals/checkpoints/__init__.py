"""Official checkpoints of published models -> ours: one file a family, with its key tables and what is known of it.

`MODELS` of a family maps the kinds of its whole models to their builders, `SOURCES` says how its checkpoints are read.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from fusionzoo.hub.originals.keys import Arguments, Loaded, State

if TYPE_CHECKING:
    from fusionzoo.hub.originals.checkpoints.source import Source

__all__ = ["FAMILIES", "build", "kinds", "sources"]

FAMILIES = (
    "acnet", "asymformer", "cen", "cmnext", "cmx", "dformer", "dformerv2", "dplnet", "dveformer", "emsaformer",
    "esanet", "gemini", "hdbformer", "mfnet", "multimae", "rednet", "rtfnet", "sagate", "sigma", "stitchfusion",
    "tokenfusion", "tuni",
)  # fmt: skip
"""Files of this folder that hold whole models."""


def _file(family: str) -> Any:
    return importlib.import_module(f"{__name__}.{family}")


@cache
def kinds() -> dict[str, str]:
    """Kind of whole model -> its family."""
    return {kind: family for family in FAMILIES for kind in _file(family).MODELS}


def build(kind: str, state: State, ctor: Mapping[str, Any]) -> Loaded:
    """Our whole model with the original's weights, and its keys; errors as `fusionzoo.hub.originals.model`."""
    loaded: Loaded = _file(kinds()[kind]).MODELS[kind](state, Arguments(ctor, kind))
    loaded.model.eval()
    return loaded


def sources() -> dict[str, Source]:
    """Name of an architecture -> how its official checkpoint is read, for every family."""
    return {name: source for family in FAMILIES for name, source in _file(family).SOURCES.items()}
