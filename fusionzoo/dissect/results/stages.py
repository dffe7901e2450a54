"""The results of the measures by name, and what they say of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fusionzoo.dissect.measures.base import Measured, PairMatrix
from fusionzoo.dissect.measures.concepts import Concepts, StageConcepts
from fusionzoo.dissect.measures.contribution import Contribution
from fusionzoo.dissect.measures.health import ProbeHealth
from fusionzoo.dissect.measures.images import Chosen
from fusionzoo.dissect.measures.planted import Planted
from fusionzoo.dissect.measures.scores import Segmentation
from fusionzoo.dissect.measures.similarity import Similarity, StageSimilarity
from fusionzoo.dissect.measures.specificity import Specificity, StageSpecificity

__all__ = ["Measures", "Stage", "StagePoints", "curves"]


@dataclass
class StagePoints:
    """The probe points of a stage: "rgb", "x", "fused", as far as the model has them."""

    stage: int
    points: dict[str, str]


@dataclass
class Stage:
    """All that was measured at one stage; None, or no entry, for what was not."""

    stage: int
    points: dict[str, str]
    similarity: StageSimilarity
    concepts: StageConcepts
    specificity: StageSpecificity | None

    @property
    def mean_iou(self) -> float | None:
        """Mean concept IoU of the fused features, else of the better stream; None where none was measured."""
        known = {s: [v for v in iou if v is not None] for s, iou in self.concepts.iou.items()}
        means = {s: sum(there) / len(there) for s, there in known.items() if there}
        return means.get("fused", max(means.values(), default=None))

    def numbers(self) -> dict[str, Measured]:
        """The numbers that are followed over stages and over training, as far as they were measured.

        "cka gap", "cka pix", "angular pix" of rgb and x; "unique_rgb", "unique_x", "redundant" of the fused variance
        (positions as samples); "semantic variance" and its "floor"; how many concepts are "consistent",
        "rgb-specific", "x-specific".
        """
        found: dict[str, Measured] = {}
        for view, pair in self.similarity.pairs.get("rgb_x", {}).items():
            found[f"cka {view}"] = pair.cka
            if view == "pix":
                found["angular pix"] = pair.angular
        if "pix" in self.similarity.commonality:
            shares = self.similarity.commonality["pix"]
            found |= {n: getattr(shares, n) for n in ("unique_rgb", "unique_x", "redundant")}
        if "rgb_x" in self.concepts.variance:
            variance = self.concepts.variance["rgb_x"]
            found |= {"semantic variance": Measured(variance.value, variance.error), "floor": Measured(variance.floor)}
        if self.specificity is not None:
            lists = {"consistent": self.specificity.consistent, "rgb-specific": self.specificity.rgb}
            lists["x-specific"] = self.specificity.x
            found |= {name: Measured(float(len(names))) for name, names in lists.items()}
        return found


class Measures:
    """Results of the measures by name (`fusionzoo.dissect.measures.METRICS`), and by attribute for those of our own."""

    results: dict[str, Any]

    @property
    def segmentation(self) -> dict[str, Segmentation]:
        """Condition -> scores."""
        return self.results.get("segmentation") or {}

    @property
    def contribution(self) -> Contribution | None:
        return self.results.get("contribution")

    @property
    def images(self) -> list[Chosen]:
        """The images to look at, in the order of the gallery."""
        return self.results.get("images") or []

    @property
    def similarity(self) -> Similarity | None:
        return self.results.get("similarity")

    @property
    def concepts(self) -> Concepts | None:
        return self.results.get("concepts")

    @property
    def specificity(self) -> Specificity | None:
        return self.results.get("specificity")

    @property
    def health(self) -> list[ProbeHealth]:
        """One row for each probe point."""
        return self.results.get("health") or []

    @property
    def planted(self) -> Planted | None:
        return self.results.get("planted")

    @property
    def matrices(self) -> list[PairMatrix]:
        """Measures between all pairs of stage points."""
        parts = (self.similarity, self.concepts)
        return [m for part in parts if part is not None for m in part.matrices]

    def by_stage(self, stages: Sequence[StagePoints]) -> list[Stage]:
        """What was measured at each stage, coarse stages last."""
        alike = {s.stage: s for s in self.similarity.stages} if self.similarity else {}
        shown = {s.stage: s for s in self.concepts.stages} if self.concepts else {}
        kinds = {s.stage: s for s in self.specificity.stages} if self.specificity else {}
        return [
            Stage(
                at.stage,
                at.points,
                alike.get(at.stage, StageSimilarity(at.stage)),
                shown.get(at.stage, StageConcepts(at.stage)),
                kinds.get(at.stage),
            )
            for at in stages
        ]


def curves(rows: Sequence[dict[str, Measured]]) -> dict[str, list[Measured]]:
    """Numbers by name, one dictionary a position -> each number over the positions."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, Measured(None)) for row in rows] for name in names}
