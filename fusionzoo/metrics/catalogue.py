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
        Keys are "module.name" of functions, "module" where it has one metric, and class names of accumulators.

    >>> table = catalogue()
    >>> table["similarity.procrustes"].high, table["ConfusionMatrix"].larger_is, table["semantic_variance"].low
    (2.0, 'better', 0.0)
    """
    found: dict[str, MetricInfo] = {}
    for module_info in pkgutil.iter_modules(metrics.__path__):
        module = importlib.import_module(f"fusionzoo.metrics.{module_info.name}")
        given = getattr(module, "INFO", {})
        named = given if isinstance(given, dict) else {"": given}
        found |= {f"{module_info.name}.{key}".rstrip("."): info for key, info in named.items()}
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, Accumulator) and value.__module__ == module.__name__:
                if value is not Accumulator:
                    found[name] = value.info
    return found
