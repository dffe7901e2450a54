"""Concepts in features: set IoU of concept masks, semantic variance, Net2Vec, single units, directions, specificity."""

from __future__ import annotations

from fusionzoo.metrics.concepts.curve import ConceptCurve, ConceptScores, iou_curve
from fusionzoo.metrics.concepts.logistic import LogisticFit, LogisticStep, fit_logistic
from fusionzoo.metrics.concepts.masks import area_masks, concept_masks, contains, grid_masks
from fusionzoo.metrics.concepts.net2vec import Net2VecResult, net2vec_2018, upsample_matrix
from fusionzoo.metrics.concepts.recipes import RECIPES, ConceptFit, fit_concepts
from fusionzoo.metrics.concepts.semantic_variance import REDUCERS, VarianceScore, compare_curves, semantic_variance
from fusionzoo.metrics.concepts.specificity import FUSED_ROLES, ROLES, ConceptRoles, concept_roles, fused_roles
from fusionzoo.metrics.concepts.statistics import ConceptStatistics, ConceptWeights, minimum_channels, stack_weights
from fusionzoo.metrics.concepts.units import UnitDissection, UnitScores
from fusionzoo.metrics.concepts.vectors import AgreementScores, ConceptAgreement

__all__ = [
    "AgreementScores",
    "ConceptAgreement",
    "ConceptCurve",
    "ConceptFit",
    "ConceptRoles",
    "ConceptScores",
    "ConceptStatistics",
    "ConceptWeights",
    "FUSED_ROLES",
    "LogisticFit",
    "LogisticStep",
    "Net2VecResult",
    "RECIPES",
    "REDUCERS",
    "ROLES",
    "UnitDissection",
    "UnitScores",
    "VarianceScore",
    "area_masks",
    "compare_curves",
    "concept_masks",
    "concept_roles",
    "contains",
    "fit_concepts",
    "fit_logistic",
    "fused_roles",
    "grid_masks",
    "iou_curve",
    "minimum_channels",
    "net2vec_2018",
    "semantic_variance",
    "stack_weights",
    "upsample_matrix",
]
