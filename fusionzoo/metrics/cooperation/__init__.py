"""How modalities cooperate: contribution (Shapley), interaction, commonality of explained variance."""

from __future__ import annotations

from fusionzoo.metrics.cooperation.commonality import Commonality, VarianceShares, commonality, variance_shares
from fusionzoo.metrics.cooperation.contribution import Contribution, Estimate, contribution, perceptual_scores
from fusionzoo.metrics.cooperation.shapley import (
    Cooperation,
    MissingScores,
    cooperation,
    interactions,
    missing_scores,
    perceptual_score,
    shapley,
)

__all__ = [
    "Commonality",
    "Contribution",
    "Cooperation",
    "Estimate",
    "MissingScores",
    "VarianceShares",
    "commonality",
    "contribution",
    "cooperation",
    "interactions",
    "missing_scores",
    "perceptual_score",
    "perceptual_scores",
    "shapley",
    "variance_shares",
]
