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

_KEPT = {
    "concepts": "curve logistic masks net2vec recipes semantic_variance specificity units vectors",
    "cooperation": "commonality contribution",
    "health": "gates",
    "similarity": "cka minibatch moments null",
    "stats": "resample sketch",
}
"""Domain -> the modules that keep their names in it."""
MODULES = {name: f"{domain}.{name}" for domain, names in _KEPT.items() for name in names.split()}
MODULES["rows"] = "similarity.samples"
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
