"""Metrics: pure functions and mergeable fixed-size accumulators over tensors; no model, no data, no file."""

from __future__ import annotations

from fusionzoo.metrics.base import Accumulator, MetricInfo
from fusionzoo.metrics.cka import CKAScores, LinearCKA
from fusionzoo.metrics.concepts import (
    ConceptCurve,
    ConceptScores,
    ConceptStatistics,
    ConceptWeights,
    Quantiles,
    concept_masks,
    net2vec_2018,
)
from fusionzoo.metrics.health import ChannelHealth, HealthScores
from fusionzoo.metrics.resample import group_of, jackknife
from fusionzoo.metrics.segmentation import ConfusionMatrix, SegmentationScores
from fusionzoo.metrics.semantic_variance import semantic_variance

__all__ = [
    "Accumulator",
    "CKAScores",
    "ChannelHealth",
    "ConceptCurve",
    "ConceptScores",
    "ConceptStatistics",
    "ConceptWeights",
    "ConfusionMatrix",
    "HealthScores",
    "LinearCKA",
    "MetricInfo",
    "Quantiles",
    "SegmentationScores",
    "concept_masks",
    "group_of",
    "jackknife",
    "net2vec_2018",
    "semantic_variance",
]
