"""Saliency scores: S-measure, E-measure, F-measure and mean absolute error, of one image and of a data set."""

from __future__ import annotations

from fusionzoo.metrics.saliency.measures import THRESHOLDS, e_measure, f_measure, mae, s_measure, stretched
from fusionzoo.metrics.saliency.scores import SaliencyMeasures, SaliencyScores

__all__ = [
    "THRESHOLDS",
    "SaliencyMeasures",
    "SaliencyScores",
    "e_measure",
    "f_measure",
    "mae",
    "s_measure",
    "stretched",
]
