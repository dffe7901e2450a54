"""Metrics: pure functions and mergeable fixed-size accumulators over tensors; no model, no data, no file."""

from __future__ import annotations

from fusionzoo.metrics.base import Accumulator, MetricInfo
from fusionzoo.metrics.catalogue import catalogue
from fusionzoo.metrics.cka import CKAScores, LinearCKA
from fusionzoo.metrics.commonality import Commonality, VarianceShares, commonality, variance_shares
from fusionzoo.metrics.concepts import (
    ConceptCurve,
    ConceptScores,
    ConceptStatistics,
    ConceptWeights,
    Quantiles,
    area_masks,
    concept_masks,
    minimum_channels,
    net2vec_2018,
    stack_weights,
)
from fusionzoo.metrics.contribution import Contribution, Estimate, contribution, perceptual_scores
from fusionzoo.metrics.cooperation import (
    Cooperation,
    MissingScores,
    cooperation,
    interactions,
    missing_scores,
    perceptual_score,
    shapley,
)
from fusionzoo.metrics.cosine import CosineScores, PositionCosine
from fusionzoo.metrics.evolution import Retention, Trend, retention, trend
from fusionzoo.metrics.gates import (
    ExchangeRatio,
    ExchangeScores,
    GateScores,
    GateStatistics,
    MixtureScores,
    MixtureStatistics,
    replaced,
)
from fusionzoo.metrics.health import ChannelHealth, HealthScores, effective_rank, participation_ratio
from fusionzoo.metrics.logistic import LogisticFit, LogisticStep, fit_logistic
from fusionzoo.metrics.masks import coarse_labels, grid_masks, merge_masks
from fusionzoo.metrics.minibatch import MinibatchCKA, MinibatchScores
from fusionzoo.metrics.moments import CentredMoments, Moments
from fusionzoo.metrics.null import MEASURES, NullTest, moments_of, null_test, row_similarity
from fusionzoo.metrics.recipes import RECIPES, ConceptFit, fit_concepts
from fusionzoo.metrics.resample import Grouped, Interval, bootstrap, group_of, jackknife
from fusionzoo.metrics.rows import (
    RowSample,
    knn_matrix,
    mutual_knn,
    permutation_null,
    rbf_cka,
    rbf_cka_matrix,
    rsa,
    rsa_matrix,
    spearman,
)
from fusionzoo.metrics.segmentation import ConfusionMatrix, SegmentationScores
from fusionzoo.metrics.semantic_variance import (
    REDUCERS,
    ConceptDifference,
    VarianceScore,
    compare_curves,
    semantic_variance,
    semantic_variance_matrix,
)
from fusionzoo.metrics.similarity import (
    cca,
    cca_matrices,
    cka_matrices,
    linear_predictivity,
    procrustes_matrices,
    r2_matrix,
    similarity_matrices,
)
from fusionzoo.metrics.specificity import ConceptRoles, concept_roles, fused_roles
from fusionzoo.metrics.units import UnitDissection, UnitScores
from fusionzoo.metrics.vectors import (
    AgreementScores,
    ConceptAgreement,
    concept_cosine,
    concept_geometry,
    geometry_similarity,
)

__all__ = [
    "Accumulator",
    "AgreementScores",
    "CKAScores",
    "CentredMoments",
    "ChannelHealth",
    "Commonality",
    "ConceptAgreement",
    "ConceptCurve",
    "ConceptDifference",
    "ConceptFit",
    "ConceptRoles",
    "ConceptScores",
    "ConceptStatistics",
    "ConceptWeights",
    "ConfusionMatrix",
    "Contribution",
    "Cooperation",
    "CosineScores",
    "Estimate",
    "ExchangeRatio",
    "ExchangeScores",
    "GateScores",
    "GateStatistics",
    "Grouped",
    "HealthScores",
    "Interval",
    "LinearCKA",
    "LogisticFit",
    "LogisticStep",
    "MEASURES",
    "MetricInfo",
    "MinibatchCKA",
    "MinibatchScores",
    "MissingScores",
    "MixtureScores",
    "MixtureStatistics",
    "Moments",
    "NullTest",
    "PositionCosine",
    "Quantiles",
    "RECIPES",
    "REDUCERS",
    "Retention",
    "RowSample",
    "SegmentationScores",
    "Trend",
    "UnitDissection",
    "UnitScores",
    "VarianceScore",
    "VarianceShares",
    "area_masks",
    "bootstrap",
    "catalogue",
    "cca",
    "cca_matrices",
    "cka_matrices",
    "coarse_labels",
    "commonality",
    "compare_curves",
    "concept_cosine",
    "concept_geometry",
    "concept_masks",
    "concept_roles",
    "contribution",
    "cooperation",
    "effective_rank",
    "fit_concepts",
    "fit_logistic",
    "fused_roles",
    "geometry_similarity",
    "grid_masks",
    "group_of",
    "interactions",
    "jackknife",
    "knn_matrix",
    "linear_predictivity",
    "merge_masks",
    "minimum_channels",
    "missing_scores",
    "moments_of",
    "mutual_knn",
    "net2vec_2018",
    "null_test",
    "participation_ratio",
    "perceptual_score",
    "perceptual_scores",
    "permutation_null",
    "procrustes_matrices",
    "r2_matrix",
    "rbf_cka",
    "rbf_cka_matrix",
    "replaced",
    "retention",
    "row_similarity",
    "rsa",
    "rsa_matrix",
    "semantic_variance",
    "semantic_variance_matrix",
    "shapley",
    "similarity_matrices",
    "spearman",
    "stack_weights",
    "trend",
    "variance_shares",
]
