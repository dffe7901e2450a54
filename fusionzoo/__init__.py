"""fusionzoo: RGB-X fusion models in plain PyTorch, every fusion block open to probes, and an engine that dissects them.

Importing this package does no work and loads no torch: public names are looked up on first use. A function whose
module would have the same name lives in `_name.py`; the packages `fusionzoo.dissect`, `fusionzoo.bench` and
`fusionzoo.export` are themselves callable.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "list_models": "fusionzoo.models",
    "list_fusions": "fusionzoo.models",
    "create_model": "fusionzoo.models",
    "from_pretrained": "fusionzoo.hub",
    "probe": "fusionzoo.probes",
    "intervene": "fusionzoo.probes",
    "listen": "fusionzoo.probes",
    "trace": "fusionzoo.dissect.trace",
    "robustness": "fusionzoo.dissect.robustness",
    "receptive_field": "fusionzoo.dissect.attribution",
    "check": "fusionzoo._check",
    "predict": "fusionzoo._predict",
    "explain": "fusionzoo._explain",
}

_PACKAGES = ("dissect", "bench", "export")

__all__ = ["__version__", *_HOMES, *_PACKAGES]

if TYPE_CHECKING:
    from fusionzoo._check import check as check
    from fusionzoo._explain import explain as explain
    from fusionzoo._predict import predict as predict
    from fusionzoo.bench import bench as bench
    from fusionzoo.dissect import dissect as dissect
    from fusionzoo.dissect.attribution import receptive_field as receptive_field
    from fusionzoo.dissect.robustness import robustness as robustness
    from fusionzoo.dissect.trace import trace as trace
    from fusionzoo.export import export as export
    from fusionzoo.hub import from_pretrained as from_pretrained
    from fusionzoo.models import create_model as create_model
    from fusionzoo.models import list_fusions as list_fusions
    from fusionzoo.models import list_models as list_models
    from fusionzoo.probes import intervene as intervene
    from fusionzoo.probes import listen as listen
    from fusionzoo.probes import probe as probe


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"fusionzoo.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fusionzoo' has no attribute {name!r}; public names: {', '.join(__all__[1:])}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
