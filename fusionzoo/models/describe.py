"""Facts about all strategies and architecture parts as plain values, from the registries."""

from __future__ import annotations

from typing import Any

import fusionzoo.fusion  # noqa: F401  registers the strategies
from fusionzoo.models import presets
from fusionzoo.models.baselines import BASELINES
from fusionzoo.registry import architectures, fusions

__all__ = ["describe"]


def describe() -> dict[str, Any]:
    """`FUSIONS` (name -> facts), `BASELINES`, `PUBLISHED`, `ENCODERS`, `DECODERS`.

    The facts: family, interaction, paper, licence, and `params` at C=64, which is None for a strategy that cannot be
    built from a number of channels alone.

    >>> describe()["FUSIONS"]["concat"]["family"]
    'concat'
    """
    return {
        "FUSIONS": {name: _facts(fusions.get(name)) for name in fusions},
        "BASELINES": list(BASELINES),
        "PUBLISHED": list(architectures),
        "ENCODERS": list(presets.NAMED_ENCODERS),
        "DECODERS": list(presets.NAMED_DECODERS),
    }


def _facts(cls: Any) -> dict[str, Any]:
    try:
        params: int | None = sum(p.numel() for p in cls(64).parameters())
    except TypeError:  # it needs more than the number of channels
        params = None
    told = {"family": cls.family, "interaction": cls.interaction, "params": params}
    return told | {"paper": cls.paper, "licence": cls.licence}
