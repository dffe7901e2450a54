"""What a dissection found: the results of its measures by name, and what they are of; with a JSON form.

IoU, mIoU and accuracies are fractions 0..1. A value that does not exist (a class that no image shows, a stream that the
model lacks) is None, in JSON null; NaN never stands in a file. `Dissection.to_dict` gives the schema,
`Dissection.from_dict` reads it back and refuses fields it does not know; it reads files of format 1 as well.

Rule of the format: within one `format_version` fields are only added, with a default that says "not measured", so that
every older file of that version still loads; a field that changes its meaning raises the version.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from torch import Tensor

from fusionzoo.dissect.effects import Effects, Stored
from fusionzoo.dissect.measures import METRICS
from fusionzoo.dissect.measures.base import Measured, PairMatrix
from fusionzoo.dissect.measures.concepts import Concepts, StageConcepts
from fusionzoo.dissect.measures.contribution import Contribution
from fusionzoo.dissect.measures.health import ProbeHealth
from fusionzoo.dissect.measures.planted import Planted
from fusionzoo.dissect.measures.scores import Segmentation
from fusionzoo.dissect.measures.similarity import Similarity, StageSimilarity
from fusionzoo.dissect.measures.specificity import Specificity, StageSpecificity
from fusionzoo.errors import InputError
from fusionzoo.schema import decode

__all__ = [
    "FEWEST",
    "FORMAT_VERSION",
    "Checkpoint",
    "DataInfo",
    "Dissection",
    "Evolution",
    "ModelInfo",
    "Protocol",
    "RunInfo",
    "Stage",
    "StagePoints",
]

FORMAT_VERSION = 2
FEWEST = 4
"""Images that concepts need: each training half one, the held-out part two."""

R = TypeVar("R", bound="Measures")


@dataclass
class ModelInfo:
    """Which model: `source` is the folder or name it came from, "" for a model made in memory."""

    name: str
    architecture: str
    num_params: int
    modalities: list[str]
    source: str = ""


@dataclass
class DataInfo:
    """Which images. `size`: the (H, W) that the model saw. `concepts`: where each class is visible (planted data)."""

    name: str
    split: str
    n: int
    class_names: list[str]
    size: list[int]
    concepts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Protocol:
    """How a dissection measures: all that its numbers depend on beside model, images and machine.

    Args:
        absence: what stands for a modality that is taken away: "mean", "zero", "permute", "noise" or "blur", see
            `fusionzoo.dissect.conditions`.
        concepts: "labels", the classes; "geometry", what depth and colour show, for data without labels: edges, and
            with `fusionzoo.data.WithGeometry(data, camera)` orientations too; "masks" that samples carry.
        metrics: some of `fusionzoo.dissect.dissection.names_asked`; None: all (of fewer than 4 images without
            "concepts", which need two halves to learn from and held-out images); fewer metrics, less work. Beside them
            "concept_contribution": what each modality gives to the concepts at the fused points.
        tau: share of activations above a channel's threshold; 0.005 is Net2Vec's, made for layers of hundreds of
            channels: C channels mark at most C tau of the positions. None takes raw activations (one pass less).
            The default was chosen on a trained MobileNet v1 0.25 hybrid (16 to 256 channels) and planted data: against
            0.005, the mean concept IoU of the streams rises from 22 to 36 and semantic variance from 7 to 12 times its
            noise floor; both find the truth.
        ridge: of the concept solve; between 1e-3 and 1e-1 hardly a number changes.
        reducer: of semantic variance, see `fusionzoo.metrics.semantic_variance`.
        block: neighbouring images that stay together when halves and jackknife groups are cut (video frames, one room).
        seed: of the order in which images lend each other modalities, and of "noise"; None: that of the data.
        positions: most positions of a map that are samples of view "pix".
    """

    absence: str = "mean"
    concepts: str = "labels"
    metrics: tuple[str, ...] | None = None
    tau: float | None = 0.05
    ridge: float = 1e-2
    reducer: str | Callable[[Tensor, Tensor], Tensor] = "mean_abs"
    block: int = 8
    seed: int | None = None
    positions: int = 1024


@dataclass
class RunInfo:
    """What came of the protocol in one run.

    `metrics`: what was measured. `grid`: (H, W) at which concept masks are compared, None without concepts. `block`,
    `seed`: those in use. `positions`: None where no position was a sample.
    """

    absence: str
    recipe: str
    tau: float | None
    versions: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    metrics: list[str] = field(default_factory=list)
    passes: int = 0
    grid: list[int] | None = None
    block: int = 1
    concepts: str = "labels"
    positions: int | None = None


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
        found: dict[str, Segmentation] = self.results.get("segmentation", {})
        return found

    @property
    def contribution(self) -> Contribution | None:
        return self.results.get("contribution")

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
        found: list[ProbeHealth] = self.results.get("health", [])
        return found

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


def _typed(values: Any, where: str) -> dict[str, Any]:
    """Plain results as those of METRICS, None left out."""
    kinds = [(m.name, m.result | None, None) for m in METRICS]
    found: Any = decode(dataclasses.make_dataclass("results", kinds), values, where)
    return {name: value for name in values if (value := getattr(found, name)) is not None}


@dataclass
class Dissection(Measures, Stored):
    """The whole result of `fusionzoo.dissect`.

    `results`: by the name of the measure; `stages` the points that were measured. `effects`: what causal tracing and
    robustness found, see `fusionzoo.dissect.effects`.

    >>> d = Dissection(
    ...     model=ModelInfo("m", "sum_toy", 1, ["rgb", "depth"]),
    ...     data=DataInfo("planted", "test", 2, ["wall", "rug"], [8, 8]),
    ...     protocol=RunInfo("mean", "fast", 0.005),
    ...     results={"segmentation": {"both": Segmentation(0.5, 0.75, [0.5, None])}},
    ... )
    >>> Dissection.from_dict(d.to_dict()) == d, d.segmentation["both"].miou
    (True, 0.5)
    >>> bad = d.to_dict()
    >>> bad["stags"] = bad.pop("stages")
    >>> Dissection.from_dict(bad)
    Traceback (most recent call last):
    ...
    fusionzoo.errors.InputError: dissection: unknown field 'stags'; did you mean 'stages'?
    """

    model: ModelInfo
    data: DataInfo
    protocol: RunInfo
    results: dict[str, Any] = field(default_factory=dict)
    stages: list[StagePoints] = field(default_factory=list)
    effects: Effects | None = None
    format_version: int = FORMAT_VERSION

    @property
    def rows(self) -> list[Stage]:
        """What was measured at each stage, coarse stages last."""
        return self.by_stage(self.stages)

    @property
    def concept_names(self) -> list[str]:
        """The rows of every concept table: the classes, unless other concepts were measured."""
        return self.concepts.names if self.concepts is not None else self.data.class_names

    def over_stages(self) -> dict[str, list[Measured]]:
        """Each of `Stage.numbers` as a curve over the stages."""
        return _curves([stage.numbers() for stage in self.rows])

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Dissection:
        """Inverse of `to_dict`; reads format 1 as well.

        Raises:
            InputError: another format version, an unknown or missing field, or a value of another type, with its place.
        """
        made = decode(cls, _current(values, "dissection", _dissection), "dissection")
        made.results = _typed(made.results, "dissection: results")
        return made


@dataclass
class Checkpoint(Measures):
    """One checkpoint of an `Evolution`: what a Dissection has, without what is the same for all checkpoints.

    `step`, `epoch`: where in the training it was taken, None where not known.
    """

    name: str
    step: int | None = None
    epoch: float | None = None
    results: dict[str, Any] = field(default_factory=dict)


@dataclass
class Evolution(Stored):
    """How one model changes over its training: checkpoints in the order of training, on the same images.

    `curve` gives one number over the checkpoints:

    >>> made = Evolution(ModelInfo("m", "a", 1, ["rgb", "depth"]), DataInfo("d", "test", 1, ["wall"], [8, 8]),
    ...     RunInfo("mean", "fast", 0.05), [Checkpoint("e1", epoch=1.0), Checkpoint("e2", epoch=2.0)])
    >>> made.curve(lambda c: c.epoch), Evolution.from_dict(made.to_dict()) == made
    ([1.0, 2.0], True)
    """

    model: ModelInfo
    data: DataInfo
    protocol: RunInfo
    checkpoints: list[Checkpoint]
    stages: list[StagePoints] = field(default_factory=list)
    format_version: int = FORMAT_VERSION

    def curves(self) -> dict[str, list[Measured]]:
        """Curves over the checkpoints: "miou", "miou without_x", ...; "shapley rgb", "perceptual x", "interaction"; and
        each of `Stage.numbers` as "stage 3 cka gap"."""
        return _curves([self._numbers(checkpoint) for checkpoint in self.checkpoints])

    def curve(self, number: Callable[[Checkpoint], float | None]) -> list[float | None]:
        """`number` of every checkpoint, in their order."""
        return [number(checkpoint) for checkpoint in self.checkpoints]

    def _numbers(self, checkpoint: Checkpoint) -> dict[str, Measured]:
        found: dict[str, Measured] = {}
        for condition, part in checkpoint.segmentation.items():
            found["miou" if condition == "both" else f"miou {condition}"] = Measured(part.miou)
        if checkpoint.contribution is not None:
            made = checkpoint.contribution
            parts = {f"shapley {s}": e for s, e in made.shapley.items()} | {"interaction": made.interaction}
            parts |= {f"perceptual {s}": e for s, e in made.perceptual.items()}
            found |= {name: Measured(e.miou, e.miou_error) for name, e in parts.items()}
        for stage in checkpoint.by_stage(self.stages):
            found |= {f"stage {stage.stage} {name}": number for name, number in stage.numbers().items()}
        return found

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Evolution:
        """Inverse of `to_dict`, as strict as `Dissection.from_dict`; reads format 1 as well."""
        made = decode(cls, _current(values, "evolution", _evolution), "evolution")
        for i, checkpoint in enumerate(made.checkpoints):
            checkpoint.results = _typed(checkpoint.results, f"evolution: checkpoints[{i}]: results")
        return made


def _curves(rows: Sequence[dict[str, Measured]]) -> dict[str, list[Measured]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, Measured(None)) for row in rows] for name in names}


# ---------------------------------------------------------------------------------------------------- files of format 1

_CONDITIONS = {"no_rgb": "without_rgb", "no_x": "without_x", "none": "neither"}
_VALUES = {"both": "both", "rgb": "without_x", "x": "without_rgb", "none": "neither"}
_CONCEPTS = {
    "concept_iou": "iou",
    "concept_error": "error",
    "concept_floor": "floor",
    "unit_iou": "unit_iou",
    "concept_channels": "channels",
    "concept_correlation": "correlation",
    "semantic_variance": "variance",
}
_ALIKE = {"cka": "cka", "similarity": "pairs", "commonality": "commonality"}


def _current(values: Any, where: str, upgrade: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The values in the current format."""
    found = values.get("format_version") if isinstance(values, Mapping) else None
    if found not in (1, FORMAT_VERSION):
        raise InputError(f"{where}: format_version is {found!r}, this fusionzoo reads 1 and {FORMAT_VERSION}")
    return dict(values) if found == FORMAT_VERSION else upgrade(dict(values))


def _dissection(old: dict[str, Any]) -> dict[str, Any]:
    lacking = [k for k in ("model", "data", "protocol") if k not in old]
    if lacking:
        raise InputError(f"dissection: field {lacking[0]!r} is missing")
    names = old.pop("concept_names", None) or list(old["data"].get("class_names", ()))
    made: dict[str, Any] = {"results": _results(old, names, old.pop("matrices", []))}
    made["stages"] = [{"stage": row["level"], "points": row["points"]} for row in old.pop("levels", [])]
    return {**old, **made, "format_version": FORMAT_VERSION}


def _evolution(old: dict[str, Any]) -> dict[str, Any]:
    names = old.pop("concept_names", None) or list(old["data"]["class_names"])
    points: dict[int, Any] = {r["level"]: r["points"] for c in old["checkpoints"] for r in c.get("levels", [])}
    rows = []
    for one in (dict(c) for c in old["checkpoints"]):
        results = _results(one, names, [])
        one.pop("levels", None)
        rows.append({**one, "results": results})
    stages = [{"stage": stage, "points": at} for stage, at in sorted(points.items())]
    return {**old, "checkpoints": rows, "stages": stages, "format_version": FORMAT_VERSION}


def _results(old: dict[str, Any], names: list[str], matrices: list[dict[str, Any]]) -> dict[str, Any]:
    """The results of a dissection or checkpoint of format 1, which are taken out of it."""
    found: dict[str, Any] = {}
    if scores := old.pop("segmentation", None):
        found["segmentation"] = {_CONDITIONS.get(c, c): part for c, part in scores.items()}
    if made := old.pop("contribution", None):
        found["contribution"] = {**made, "values": {_VALUES[k]: v for k, v in made["values"].items()}}
    of: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for matrix in matrices:
        of[matrix["measure"] == "concept correlation"].append(matrix)
    levels = old.get("levels", [])
    _refuse_unknown(levels)
    alike = [{"stage": r["level"], **{new: r[k] for k, new in _ALIKE.items() if k in r}} for r in levels]
    alike = [r for r in alike if any((r.get("cka") or {}).values()) or r.get("pairs") or r.get("commonality")]
    shown = [{"stage": r["level"], **{new: r[k] for k, new in _CONCEPTS.items() if k in r}} for r in levels]
    shown = [r for r in shown if r.get("iou") or r.get("variance")]
    kinds = [{"stage": r["level"], **r["agreement"]} for r in levels if r.get("agreement")]
    if alike:
        found["similarity"] = {"stages": alike, "matrices": of[False]}
    if shown:
        found["concepts"] = {"names": names, "stages": shown, "matrices": of[True]}
    if kinds:
        found["specificity"] = {"stages": kinds}
    if probes := old.pop("probes", None):
        found["health"] = probes
    if planted := old.pop("planted", None):
        rows = [{("stage" if k == "level" else k): v for k, v in row.items()} for row in planted["rows"]]
        found["planted"] = {**planted, "rows": rows}
    return found


def _refuse_unknown(levels: Sequence[Mapping[str, Any]]) -> None:
    known = {"level", "points", "agreement", *_ALIKE, *_CONCEPTS}
    for i, row in enumerate(levels):
        for key in row:
            if key not in known:
                raise InputError(f"dissection: levels[{i}]: unknown field {key!r}")
