"""Dissections made by hand: a stage at a time, dealt to the results of the measures."""

from __future__ import annotations

from typing import Any

from fusionzoo.dissect.effects import Effects
from fusionzoo.dissect.measures.base import Estimate, Measured, PairMatrix
from fusionzoo.dissect.measures.concepts import Concepts, StageConcepts, Variance
from fusionzoo.dissect.measures.contribution import Contribution
from fusionzoo.dissect.measures.health import ProbeHealth
from fusionzoo.dissect.measures.planted import Planted, PlantedRow
from fusionzoo.dissect.measures.scores import Drop, Segmentation
from fusionzoo.dissect.measures.similarity import (
    CKAValue,
    CKAViews,
    CommonalityShares,
    PairSimilarity,
    Similarity,
    StageSimilarity,
)
from fusionzoo.dissect.measures.specificity import Specificity, StageSpecificity
from fusionzoo.dissect.results import DataInfo, Dissection, ModelInfo, RunInfo, Stage, StagePoints

__all__ = [
    "CKAValue",
    "CKAViews",
    "CommonalityShares",
    "Contribution",
    "DataInfo",
    "Dissection",
    "Drop",
    "Effects",
    "Estimate",
    "Measured",
    "ModelInfo",
    "PairMatrix",
    "PairSimilarity",
    "Planted",
    "PlantedRow",
    "ProbeHealth",
    "RunInfo",
    "Segmentation",
    "StageSpecificity",
    "Variance",
    "dissection",
    "stage",
]


def stage(number: int, points: dict[str, str], cka: Any = None, variance: Any = None, iou: Any = None) -> Stage:
    """What was measured at one stage."""
    alike = StageSimilarity(number, cka or CKAViews())
    return Stage(number, points, alike, StageConcepts(number, dict(iou or {}), variance=dict(variance or {})), None)


def dissection(model: ModelInfo, data: DataInfo, protocol: RunInfo, stages: Any = (), **results: Any) -> Dissection:
    """Of stages by `stage`, and other results by the names of their measures; matrices by name as well."""
    matrices = results.pop("matrices", [])
    found = {name: value for name, value in results.items() if value}
    if stages:
        found["similarity"] = Similarity([s.similarity for s in stages], matrices)
        found["concepts"] = Concepts(data.class_names, [s.concepts for s in stages])
    kinds = [s.specificity for s in stages if s.specificity is not None]
    if kinds:
        found["specificity"] = Specificity(kinds)
    return Dissection(model, data, protocol, found, [StagePoints(s.stage, s.points) for s in stages])
