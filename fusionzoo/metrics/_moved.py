"""Deprecated import paths of the metrics: which domain a name or module of release 0.1 lives in now.

Old paths work for one release and warn (`FutureWarning`). Delete this file with the next one.
One exception: `fusionzoo.metrics.cooperation` was a function and is a domain now (`cooperation.cooperation`).
"""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType
from typing import Any

__all__ = ["MODULES", "NAMES", "MovedModule", "moved"]

MODULES = {
    "cka": "similarity.cka",
    "commonality": "cooperation.commonality",
    "contribution": "cooperation.contribution",
    "cosine": "similarity.cosine",
    "curve": "concepts.curve",
    "evolution": "stats.evolution",
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

NAMES = {
    "AgreementScores": "concepts",
    "CKAScores": "similarity",
    "CentredMoments": "similarity",
    "Commonality": "cooperation",
    "ConceptDifference": "concepts",
    "ConceptFit": "concepts",
    "ConceptRoles": "concepts",
    "ConceptScores": "concepts",
    "ConceptWeights": "concepts",
    "Contribution": "cooperation",
    "Cooperation": "cooperation",
    "CosineScores": "similarity",
    "Estimate": "cooperation",
    "ExchangeScores": "health",
    "GateScores": "health",
    "HealthScores": "health",
    "Interval": "stats",
    "LogisticFit": "concepts",
    "MEASURES": "similarity",
    "MinibatchScores": "similarity",
    "MissingScores": "cooperation",
    "MixtureScores": "health",
    "NullTest": "similarity",
    "RECIPES": "concepts",
    "REDUCERS": "concepts",
    "Retention": "stats",
    "SegmentationScores": "segmentation",
    "Trend": "stats",
    "UnitScores": "concepts",
    "VarianceScore": "concepts",
    "VarianceShares": "cooperation",
    "area_masks": "concepts",
    "cca_matrices": "similarity",
    "cka_matrices": "similarity",
    "coarse_labels": "concepts",
    "compare_curves": "concepts",
    "concept_cosine": "concepts",
    "concept_geometry": "concepts",
    "fit_logistic": "concepts",
    "fused_roles": "concepts",
    "geometry_similarity": "concepts",
    "grid_masks": "concepts",
    "group_of": "stats",
    "knn_matrix": "similarity",
    "merge_masks": "concepts",
    "minimum_channels": "concepts",
    "missing_scores": "cooperation",
    "moments_of": "similarity",
    "perceptual_score": "cooperation",
    "permutation_null": "similarity",
    "procrustes_matrices": "similarity",
    "r2_matrix": "similarity",
    "rbf_cka_matrix": "similarity",
    "replaced": "health",
    "retention": "stats",
    "row_similarity": "similarity",
    "rsa_matrix": "similarity",
    "semantic_variance_matrix": "concepts",
    "stack_weights": "concepts",
    "trend": "stats",
    "variance_shares": "cooperation",
}
"""Name on the face of `fusionzoo.metrics` then -> its domain now."""


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
