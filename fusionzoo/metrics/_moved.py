"""Deprecated import paths of the metrics: which domain a name or module of release 0.1 lives in now.

Old paths work for one release and warn (`FutureWarning`). Delete this file with the next one.
`fusionzoo.metrics.cooperation` was a function of release 0.1 and is a domain now.
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Any

__all__ = ["DOMAINS", "MODULES", "MovedModule", "domain_of", "moved"]

MODULES = {
    "cka": "similarity.cka",
    "commonality": "cooperation.commonality",
    "contribution": "cooperation.contribution",
    "curve": "concepts.curve",
    "gates": "health.gates",
    "logistic": "concepts.logistic",
    "masks": "concepts.masks",
    "minibatch": "similarity.minibatch",
    "moments": "similarity.moments",
    "net2vec": "concepts.net2vec",
    "null": "similarity.null",
    "recipes": "concepts.recipes",
    "resample": "stats.resample",
    "rows": "similarity.samples",
    "semantic_variance": "concepts.semantic_variance",
    "sketch": "stats.sketch",
    "specificity": "concepts.specificity",
    "units": "concepts.units",
    "vectors": "concepts.vectors",
}
"""Module of `fusionzoo.metrics` then -> now."""

DOMAINS = ("stats", "segmentation", "saliency", "similarity", "concepts", "cooperation", "health")


def domain_of(name: str) -> str | None:
    """The domain that offers a name, None where none does."""
    return next((d for d in DOMAINS if name in importlib.import_module(f"fusionzoo.metrics.{d}").__all__), None)


def moved(old: str, place: str, name: str) -> Any:
    """The thing called `name` in `fusionzoo.metrics.<place>`; warns that `old` is its former path."""
    warnings.warn(f"{old} has moved: import it from fusionzoo.metrics.{place}", FutureWarning, stacklevel=3)
    return getattr(importlib.import_module(f"fusionzoo.metrics.{place}"), name)


class MovedModule(ModuleType):
    """Stands under a module's former path and hands its names on, with a warning."""

    def __init__(self, old: str) -> None:
        super().__init__(f"fusionzoo.metrics.{old}", f"Moved to fusionzoo.metrics.{MODULES[old]}.")
        self.old = old

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        place = "stats" if (self.old, name) == ("rows", "spearman") else MODULES[self.old]
        return moved(f"{self.__name__}.{name}", place, name)
