"""What each modality gives to the score: Shapley values, interaction, perceptual scores; the same of concepts.

Contribution to a concept: set IoU at the fused representation with modalities absent, the detector and its threshold
staying those of the model with both; then as for the class IoU.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fusionzoo.dissect.conditions import SUBSETS, Condition
from fusionzoo.dissect.measures.base import Done, Estimate, Measure, Metric, Setup, number, numbers
from fusionzoo.dissect.measures.concepts import FULL, Curve
from fusionzoo.dissect.measures.scores import matrices
from fusionzoo.metrics import ConceptCurve, contribution, perceptual_scores
from fusionzoo.metrics.cooperation import Estimate as Scored
from fusionzoo.metrics.cooperation import contribution_of

__all__ = ["METRIC"]

PRESENT = {
    ("rgb", "x"): Condition.BOTH,
    ("rgb",): Condition.WITHOUT_X,
    ("x",): Condition.WITHOUT_RGB,
    (): Condition.NEITHER,
}
"""Modalities that are there -> condition."""


@dataclass
class Contribution:
    """What each modality gives to the score. V(S): the score with the modalities S present, the others absent.

    Attributes:
        values: condition ("both", "without_x", "without_rgb", "neither") -> V.
        shapley: "rgb", "x": (V(own) - V(neither) + V(both) - V(other)) / 2; the two add up to
            V(both) - V(neither).
        interaction: V(both) - V(rgb) - V(x) + V(neither): above 0 they help each other, below 0 give the same.
        perceptual: "rgb", "x": share of V(both) that is lost when that modality comes from another image; per class
            likewise. Empty with fewer than two images.
        concepts: stage -> "rgb", "x", "interaction": the same of the concepts' set IoU at the fused representation
            (`miou` is then the mean over concepts). Empty unless asked for.
    """

    absence: str
    values: dict[str, Estimate]
    shapley: dict[str, Estimate]
    interaction: Estimate
    perceptual: dict[str, Estimate] = field(default_factory=dict)
    concepts: dict[str, dict[str, Estimate]] = field(default_factory=dict)


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if "concept_contribution" not in wanted:
        return []
    fused = [at["fused"] for at in setup.stages.values() if "fused" in at]
    return [Curve((p,), c, FULL, setup.tau is not None) for p in fused for c in SUBSETS[1:]]


def compute(done: Done, results: Mapping[str, Any]) -> Contribution | None:
    """V(S), Shapley values, interaction and perceptual scores; None unless all four subsets were scored."""
    scored, absence = matrices(done), done.setup.absence
    if not all(condition in scored for condition in SUBSETS):
        return None
    found = contribution({subset: scored[condition] for subset, condition in PRESENT.items()})
    lent = {s: Condition.without(s) if absence == "permute" else Condition.other(s) for s in ("rgb", "x")}
    concepts = {}
    for stage, at in sorted(done.setup.stages.items()):
        curves = {present: done.get(Curve((at.get("fused", ""),), c, FULL)) for present, c in PRESENT.items()}
        if all(sums is not None for sums in curves.values()):
            concepts[str(stage)] = _of_concepts(curves)
    return Contribution(
        absence,
        {str(condition): _estimate(found.score[frozenset(subset)]) for subset, condition in PRESENT.items()},
        {name: _estimate(found.shapley[name]) for name in ("rgb", "x")},
        _estimate(next(iter(found.interaction.values()))),
        {s: _estimate(perceptual_scores(scored[Condition.BOTH], scored[c])) for s, c in lent.items() if c in scored},
        concepts,
    )


def _estimate(found: Scored) -> Estimate:
    return Estimate(number(found.mean), number(found.mean_se), numbers(found.classes), numbers(found.classes_se))


def _of_concepts(curves: Mapping[tuple[str, ...], ConceptCurve]) -> dict[str, Estimate]:
    """Modalities that are there -> curve, at the thresholds of the model with both."""
    read, _, absent = curves["rgb", "x"].at_thresholds()
    counts = {present: curve.state_dict()["counts"][1:] for present, curve in curves.items()}
    found = contribution_of(counts, lambda sums: torch.where(absent, torch.nan, read(sums)))
    parts = {**found.shapley, "interaction": next(iter(found.interaction.values()))}
    return {name: _estimate(part) for name, part in parts.items()}


METRIC = Metric("contribution", ("contribution", "concept_contribution?"), Contribution, plan, compute)
