"""Saliency scores under each condition, of data whose task that is: S-, E-, F-measure, mean absolute error."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from fusionzoo.dissect.conditions import subsets
from fusionzoo.dissect.measures.base import Batch, Done, Measure, Metric, Setup, number
from fusionzoo.metrics.saliency import SaliencyMeasures
from fusionzoo.models.labels import class_probability

__all__ = ["METRIC", "Maps", "Saliency"]


@dataclass(frozen=True)
class Maps(Measure):
    """The measures of the probability of class 1, the salient object."""

    kind: ClassVar[str] = "saliency"

    def make(self, done: Done) -> SaliencyMeasures:
        return SaliencyMeasures()

    def predicted(self, sums: SaliencyMeasures, batch: Batch, labels: Tensor, truth: Tensor) -> None:
        assert batch.logits is not None  # only conditions that leave a modality
        sums.update(class_probability(batch.logits, truth.shape[-2:], 1), truth)


@dataclass
class Saliency:
    """Scores of one `Condition`, as of `fusionzoo.metrics.saliency.SaliencyScores`: means over images, each map brought
    to 0..1 first."""

    s_measure: float | None
    e_adaptive: float | None
    e_mean: float | None
    e_max: float | None
    f_adaptive: float | None
    f_mean: float | None
    f_max: float | None
    mae: float | None


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if setup.task != "saliency" or not {"segmentation", "contribution", "concept_contribution"} & set(wanted):
        return []
    return [Maps(condition=c) for c in subsets(setup.inputs)[: 1 + len(setup.inputs)]]


def compute(done: Done, results: Mapping[str, Any]) -> dict[str, Saliency] | None:
    """Scores with all modalities, and without each."""
    found = {c: done.get(Maps(condition=c)) for c in subsets(done.setup.inputs)}
    scores = {str(c): sums.compute().numbers() for c, sums in found.items() if sums is not None}
    return {c: Saliency(**{name: number(v) for name, v in values.items()}) for c, values in scores.items()} or None


METRIC = Metric("saliency", (), dict[str, Saliency], plan, compute)
