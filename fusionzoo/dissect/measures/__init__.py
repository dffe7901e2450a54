"""The measures of a dissection, one file each: what is summed up, and the result that it becomes. See `base`."""

from __future__ import annotations

from fusionzoo.dissect.measures import (
    concepts,
    contribution,
    dictionary,
    exchange,
    health,
    images,
    information,
    planted,
    saliency,
    scores,
    similarity,
    specificity,
)
from fusionzoo.dissect.measures.base import Metric

__all__ = ["METRICS"]

METRICS: list[Metric] = [
    scores.METRIC,
    saliency.METRIC,
    contribution.METRIC,
    images.METRIC,
    similarity.METRIC,
    concepts.METRIC,
    specificity.METRIC,
    information.METRIC,
    dictionary.METRIC,
    health.METRIC,
    exchange.METRIC,
    planted.METRIC,
]
"""All that can be measured, in the order of the result; a new measure is a line here."""
