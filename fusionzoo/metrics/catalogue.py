"""The description of every metric of this room, in one table."""

from __future__ import annotations

import importlib
import pkgutil

from fusionzoo import metrics
from fusionzoo.metrics.base import Accumulator, MetricInfo

__all__ = ["catalogue"]


def catalogue() -> dict[str, MetricInfo]:
    """Where a metric is defined -> its range, invariances, cost and source.

    Returns:
        Keys are "domain.name" of functions and class names of accumulators.

    >>> table = catalogue()
    >>> table["similarity.procrustes"].high, table["ConfusionMatrix"].larger_is, table["concepts.semantic_variance"].low
    (2.0, 'better', 0.0)
    """
    found: dict[str, MetricInfo] = {}
    for place in pkgutil.walk_packages(metrics.__path__, "fusionzoo.metrics."):
        module = importlib.import_module(place.name)
        domain, _, own = place.name.removeprefix("fusionzoo.metrics.").partition(".")
        given = getattr(module, "INFO", {})
        named = given if isinstance(given, dict) else {own: given}
        found |= {f"{domain}.{key}": info for key, info in named.items()}
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, Accumulator) and value.__module__ == module.__name__:
                if value is not Accumulator:
                    found[name] = value.info
    return found
