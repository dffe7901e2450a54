"""What each modality gives to the score: Shapley values, interaction, perceptual scores; the same of concepts.

Contribution to a concept: set IoU at the fused representation with modalities absent, the detector and its threshold
staying those of the model with both; then as for the class IoU.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fusionzoo.dissect.conditions import MOST, Condition, subsets
from fusionzoo.dissect.measures.base import Done, Estimate, Measure, Metric, Setup, number, numbers
from fusionzoo.dissect.measures.concepts import FULL, Curve
from fusionzoo.dissect.measures.scores import matrices, per_class
from fusionzoo.metrics import ConceptCurve, contribution, perceptual_scores
from fusionzoo.metrics.cooperation import Contribution as Contributed
from fusionzoo.metrics.cooperation import Estimate as Scored
from fusionzoo.metrics.cooperation import contribution_of
from fusionzoo.schema import optional

__all__ = ["METRIC"]


def present(names: Sequence[str]) -> dict[tuple[str, ...], Condition]:
    """Modalities that are there -> condition, all of them first.

    >>> list(present(("rgb", "x")).values())
    ['both', 'without_x', 'without_rgb', 'neither']
    """
    there = (kept for size in range(len(names), -1, -1) for kept in itertools.combinations(names, size))
    return {
        kept: Condition.without(*(n for n in names if n not in kept)) if kept else Condition.NEITHER for kept in there
    }


PRESENT = present(("rgb", "x"))


@dataclass
class Contribution:
    """What each modality gives to the score. V(S): the score with the modalities S present, the others absent.

    Attributes:
        values: condition ("both", "without_x", "without_rgb", "neither") -> V; of several modalities every subset.
        shapley: "rgb", "x": (V(own) - V(neither) + V(both) - V(other)) / 2; the two add up to
            V(both) - V(neither). Of several modalities each by its name, the mean over all orders in which they can
            come; they add up to V(both) - V(neither), "both" being all of them.
        interaction: V(both) - V(rgb) - V(x) + V(neither): above 0 they help each other, below 0 give the same. None
            where there are more modalities.
        interactions: "rgb+depth", ...: of each pair of more than two modalities, averaged over the subsets of the
            others (the Shapley interaction index).
        perceptual: "rgb", "x": share of V(both) that is lost when that modality comes from another image; per class
            likewise. Empty with fewer than two images.
        concepts: stage -> "rgb", "x", "interaction" (of several their names and pairs): the same of the concepts' set
            IoU at the fused representation (`miou` is then the mean over concepts). Empty unless asked for.
    """

    absence: str
    values: dict[str, Estimate]
    shapley: dict[str, Estimate]
    interaction: Estimate | None
    perceptual: dict[str, Estimate] = field(default_factory=dict)
    concepts: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    interactions: dict[str, Estimate] = optional()


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if "concept_contribution" not in wanted:
        return []
    fused = [at["fused"] for at in setup.stages.values() if "fused" in at]
    every = subsets(setup.inputs)[1:] if len(setup.inputs) <= MOST else ()
    return [Curve((p,), c, FULL, setup.tau is not None) for p in fused for c in every]


def compute(done: Done, results: Mapping[str, Any]) -> Contribution | None:
    """V(S), Shapley values, interaction and perceptual scores; None unless all subsets were scored."""
    scored, absence, names = matrices(done), done.setup.absence, done.setup.inputs
    conditions = present(names)
    if not all(condition in scored for condition in conditions.values()):
        return None
    read = per_class(done.setup.task)
    found = contribution({subset: scored[condition] for subset, condition in conditions.items()}, read)
    lent = {s: Condition.without(s) if absence == "permute" else Condition.other(s) for s in names}
    concepts = {}
    for stage, at in sorted(done.setup.stages.items()):
        curves = {kept: done.get(Curve((at.get("fused", ""),), c, FULL)) for kept, c in conditions.items()}
        if all(sums is not None for sums in curves.values()):
            concepts[str(stage)] = _of_concepts(curves, names)
    return Contribution(
        absence,
        {str(condition): _estimate(found.score[frozenset(subset)]) for subset, condition in conditions.items()},
        {name: _estimate(found.shapley[name]) for name in names},
        _estimate(next(iter(found.interaction.values()))) if len(names) == 2 else None,
        {
            s: _estimate(perceptual_scores(scored[Condition.BOTH], scored[c], read))
            for s, c in lent.items()
            if c in scored
        },
        concepts,
        {name: _estimate(part) for name, part in _pairs(found, names).items()} if len(names) > 2 else {},
    )


def _pairs(found: Contributed, names: Sequence[str]) -> dict[str, Scored]:
    """ "rgb+depth", ... -> interaction, in the order of the modalities."""
    return {
        f"{a}+{b}": found.interaction.get((a, b)) or found.interaction[b, a]
        for a, b in itertools.combinations(names, 2)
    }


def _estimate(found: Scored) -> Estimate:
    return Estimate(number(found.mean), number(found.mean_se), numbers(found.classes), numbers(found.classes_se))


def _of_concepts(curves: Mapping[tuple[str, ...], ConceptCurve], names: tuple[str, ...]) -> dict[str, Estimate]:
    """Modalities that are there -> curve, at the thresholds of the model with all."""
    read, _, absent = curves[names].at_thresholds()
    counts = {kept: curve.state_dict()["counts"][1:] for kept, curve in curves.items()}
    found = contribution_of(counts, lambda sums: torch.where(absent, torch.nan, read(sums)))
    joint = _pairs(found, names) if len(names) > 2 else {"interaction": next(iter(found.interaction.values()))}
    parts = {**found.shapley, **joint}
    return {name: _estimate(part) for name, part in parts.items()}


METRIC = Metric("contribution", ("contribution", "concept_contribution?"), Contribution, plan, compute)
