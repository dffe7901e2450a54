"""How modalities cooperate: contribution (Shapley), interaction, maps per pixel, commonality of variance, failures."""

from __future__ import annotations

from fusionzoo.metrics.cooperation.commonality import Commonality, commonality
from fusionzoo.metrics.cooperation.contribution import (
    Contribution,
    Estimate,
    contribution,
    contribution_of,
    perceptual_scores,
)
from fusionzoo.metrics.cooperation.failures import expected_score, retention
from fusionzoo.metrics.cooperation.modality_map import ModalityMap, class_probability, modality_map
from fusionzoo.metrics.cooperation.shapley import interactions, perceptual_score, shapley

__all__ = [
    "Commonality",
    "Contribution",
    "Estimate",
    "ModalityMap",
    "class_probability",
    "commonality",
    "contribution",
    "contribution_of",
    "expected_score",
    "interactions",
    "modality_map",
    "perceptual_score",
    "perceptual_scores",
    "retention",
    "shapley",
]
