"""Metrics: pure functions and mergeable fixed-size accumulators over tensors; no model, no data, no file."""

from __future__ import annotations

from fusionzoo.metrics.base import Accumulator, MetricInfo
from fusionzoo.metrics.cka import CKAScores, LinearCKA
from fusionzoo.metrics.commonality import Commonality, commonality
from fusionzoo.metrics.concepts import (
    ConceptCurve,
    ConceptScores,
    ConceptStatistics,
    ConceptWeights,
    Quantiles,
    area_masks,
    concept_masks,
    net2vec_2018,
)
from fusionzoo.metrics.cooperation import Cooperation, cooperation, perceptual_score, shapley
from fusionzoo.metrics.health import ChannelHealth, HealthScores
from fusionzoo.metrics.minibatch import MinibatchCKA, MinibatchScores
from fusionzoo.metrics.moments import CentredMoments, Moments
from fusionzoo.metrics.resample import Grouped, Interval, group_of, jackknife
from fusionzoo.metrics.rows import RowSample, mutual_knn, permutation_null, rsa
from fusionzoo.metrics.segmentation import ConfusionMatrix, SegmentationScores
from fusionzoo.metrics.semantic_variance import semantic_variance
from fusionzoo.metrics.similarity import (
    cca,
    cca_matrices,
    cka_matrices,
    linear_predictivity,
    procrustes_matrices,
    r2_matrix,
)

__all__ = [
    "Accumulator",
    "CKAScores",
    "CentredMoments",
    "ChannelHealth",
    "Commonality",
    "ConceptCurve",
    "ConceptScores",
    "ConceptStatistics",
    "ConceptWeights",
    "ConfusionMatrix",
    "Cooperation",
    "Grouped",
    "HealthScores",
    "Interval",
    "LinearCKA",
    "MetricInfo",
    "MinibatchCKA",
    "MinibatchScores",
    "Moments",
    "Quantiles",
    "RowSample",
    "SegmentationScores",
    "area_masks",
    "cca",
    "cca_matrices",
    "cka_matrices",
    "commonality",
    "concept_masks",
    "cooperation",
    "group_of",
    "jackknife",
    "linear_predictivity",
    "mutual_knn",
    "net2vec_2018",
    "perceptual_score",
    "permutation_null",
    "procrustes_matrices",
    "r2_matrix",
    "rsa",
    "semantic_variance",
    "shapley",
]
