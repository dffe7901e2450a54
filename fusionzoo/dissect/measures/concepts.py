"""What each stream encodes: concept detectors and their set IoU, semantic variance, what carries a concept.

A detector of a concept is solved on the training images (and on each half of them) and scored on held-out ones, at
thresholds calibrated on the training images.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.base import (
    Batch,
    Done,
    Measure,
    Metric,
    PairMatrix,
    Setup,
    number,
    numbers,
)
from fusionzoo.dissect.split import HALVES, HELD, ROLES
from fusionzoo.errors import InputError
from fusionzoo.metrics import ConceptAgreement, ConceptCurve, ConceptStatistics, Quantiles
from fusionzoo.metrics.concepts import (
    AgreementScores,
    ConceptWeights,
    compare_curves,
    minimum_channels,
    stack_weights,
)

__all__ = ["FITS", "FULL", "METRIC", "Concepts", "Curve", "Statistics", "StageConcepts", "stage_curves"]

FULL = "full"
FITS = (FULL, *HALVES)
"""Detectors solved on all training images, and on each of the two disjoint halves."""
MOST = 128  # channels that a detector of few may use


def _some(values: Tensor, mine: list[int]) -> Tensor:
    return values if len(mine) == len(values) else values[mine]


@dataclass(frozen=True)
class Thresholds(Measure):
    """Quantiles of each channel, which give the binarisation thresholds."""

    kind: ClassVar[str] = "quantiles"

    def make(self, done: Done) -> Quantiles:
        assert done.setup.tau is not None
        return Quantiles(done.setup.points[self.points[0]].channels, done.setup.tau)

    def hear(self, sums: Quantiles, batch: Batch, point: str, value: Tensor) -> None:
        sums.update(batch.inside(value))


@dataclass(frozen=True)
class Statistics(Measure):
    """Channels and concept masks of the training half `variant`; `binary`: of binarised channels."""

    binary: bool = True

    kind: ClassVar[str] = "statistics"
    masked: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[Measure, ...]:
        return (Thresholds(self.points),) if self.binary else ()

    @property
    def roles(self) -> frozenset[str]:
        return frozenset({self.variant})

    def make(self, done: Done) -> ConceptStatistics:
        thresholds = done.get(Thresholds(self.points)).compute().float() if self.binary else None
        return ConceptStatistics(done.setup.points[self.points[0]].channels, done.setup.num_concepts, thresholds)

    def hear(self, sums: ConceptStatistics, batch: Batch, point: str, value: Tensor) -> None:
        if mine := batch.mine(self):
            masks, valid = batch.source.on("area", (value.shape[2], value.shape[3]))
            sums.update(*(_some(v, mine) for v in (value, masks, valid)))


@dataclass(frozen=True)
class Curve(Measure):
    """Set IoU over thresholds of the detectors of one fit, at one point."""

    binary: bool = True

    kind: ClassVar[str] = "curve"
    masked: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[Measure, ...]:
        halves = HALVES if self.variant == FULL else (self.variant,)
        return tuple(Statistics(self.points, variant=half, binary=self.binary) for half in halves)

    @property
    def roles(self) -> frozenset[str]:
        if self.condition != Condition.BOTH:
            return frozenset({HELD})
        return ROLES if self.variant == FULL else frozenset({self.variant, HELD})

    def groups(self, setup: Setup) -> int:
        return setup.concept_groups if self.variant == FULL else 1

    def prepare(self, done: Done) -> ConceptWeights:
        """The detectors' weights."""
        try:
            return joined(done, self.needs).solve(done.setup.ridge)
        except InputError as error:
            raise InputError(f"concepts at {self.points[0]}, {self.variant} of the training images: {error}") from error

    def make(self, done: Done) -> ConceptCurve:
        return ConceptCurve(done.setup.num_concepts, done.setup.bins, self.groups(done.setup))

    def hear(self, sums: ConceptCurve, batch: Batch, point: str, value: Tensor) -> None:
        """All fits of a point are scored together, at the map's own size (a curve upsamples what it counts)."""
        if not (mine := batch.mine(self)):
            return
        if (self.kind, point) not in batch.shared:
            fits = [m for m in batch.measures if isinstance(m, Curve) and m.points == self.points and batch.mine(m)]
            scores = stack_weights([batch.done.prepared[m.key] for m in fits]).score(value)
            batch.shared[self.kind, point] = dict(zip(fits, scores.chunk(len(fits), dim=1), strict=True))
        own = batch.shared[self.kind, point][self]
        masks, valid = batch.source.on("nearest", batch.grid)
        train = torch.tensor([batch.roles[i] != HELD for i in mine])
        group = torch.tensor([batch.split.group(batch.places[i], self.groups(batch.done.setup)) for i in mine])
        sums.update(*(_some(v, mine) for v in (own, masks, valid)), train=train, group=group)
        if self.variant == FULL:
            batch.scores.setdefault(point, own)


@dataclass(frozen=True)
class Vectors(Measure):
    """Products of the detectors' scores of all points, over positions of held-out images."""

    binary: bool = True

    kind: ClassVar[str] = "vectors"

    @property
    def needs(self) -> tuple[Measure, ...]:
        return tuple(s for p in self.points for s in Curve((p,), variant=FULL, binary=self.binary).needs)

    @property
    def roles(self) -> frozenset[str]:
        return frozenset({HELD})

    def make(self, done: Done) -> ConceptAgreement:
        return ConceptAgreement(self.points, done.setup.num_concepts)

    def finish(self, sums: ConceptAgreement, batch: Batch) -> None:
        """On a grid half as fine as that of the masks."""
        if held := batch.mine(self):
            size = (max(1, batch.grid[0] // 2), max(1, batch.grid[1] // 2))
            valid = _some(batch.source.on("nearest", size)[1], held)
            sums.update(*(_some(batch.scores[p], held) for p in self.points), valid=valid, size=size)


def joined(done: Done, measures: Sequence[Measure]) -> ConceptStatistics:
    """The statistics of several halves as one."""
    parts: list[ConceptStatistics] = [done.get(m) for m in measures]
    whole = ConceptStatistics(parts[0].channels, parts[0].concepts, parts[0].thresholds)
    for part in parts:
        whole.merge(part)
    return whole


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if not {"concepts", "concept_contribution"} & set(wanted):
        return []
    every, binary = tuple(setup.stage_points()), setup.tau is not None
    found: list[Measure] = [Curve((p,), variant=fit, binary=binary) for p in every for fit in FITS]
    return found + ([Vectors(every, binary=binary)] if len(every) > 1 else [])


# ------------------------------------------------------------------------------------------------------ what it becomes


@dataclass
class Variance:
    """Semantic variance of a pair of representations: see `fusionzoo.metrics.concepts.VarianceScore`.

    `error`: jackknife standard error over groups of held-out images. `interval`: 95 %, value -+ 1.96 errors.
    """

    value: float | None
    reducer: str
    floor: float | None = None
    error: float | None = None
    interval: list[float] | None = None

    @property
    def signal(self) -> bool:
        """Whether the value stands above its noise floor (False where either is unknown)."""
        return self.value is not None and self.floor is not None and abs(self.value) > self.floor


@dataclass
class StageConcepts:
    """Of one stage; the keys of the first six are "rgb", "x", "fused", as far as the model has them, and the names of
    several modalities.

    Attributes:
        iou: per concept, set IoU on held-out images. error: its jackknife standard error.
        floor: per concept, how much the same representation differs between detectors of two halves.
        unit_iou: per concept, the best set IoU of one channel alone, on the training images at the map's own size;
            empty for raw activations.
        channels: with how few of those that weigh most a refitted detector reaches 90 % of its R2 (a power of two, or
            all of them; None: it has none).
        correlation: pair -> per concept, correlation of the two detectors' scores on held-out images: the cosine of the
            two concept vectors under the data's covariance.
        variance: pair ("rgb_x", "rgb_fused", "x_fused"; "rgb_depth", ... of several) -> semantic variance, where both
            ends exist.
    """

    stage: int
    iou: dict[str, list[float | None]] = field(default_factory=dict)
    error: dict[str, list[float | None]] = field(default_factory=dict)
    floor: dict[str, list[float | None]] = field(default_factory=dict)
    unit_iou: dict[str, list[float | None]] = field(default_factory=dict)
    channels: dict[str, list[int | None]] = field(default_factory=dict)
    correlation: dict[str, list[float | None]] = field(default_factory=dict)
    variance: dict[str, Variance] = field(default_factory=dict)


@dataclass
class Concepts:
    """What each stage encodes. `names`: of the concepts. `matrices`: how alike their vectors are at all points."""

    names: list[str]
    stages: list[StageConcepts]
    matrices: list[PairMatrix] = field(default_factory=list)


def compute(done: Done, results: Mapping[str, Any]) -> Concepts | None:
    named = done.setup.stage_points()
    sums: ConceptAgreement | None = done.get(Vectors(tuple(named)))
    vectors = None if sums is None else sums.compute()
    stages = [_stage(done, stage, vectors) for stage in sorted(done.setup.stages)]
    found = Concepts(done.setup.concept_names, [s for s in stages if s.iou])
    if vectors is not None:  # the mean over concepts, all stage points with all
        values = [numbers(line) for line in vectors.correlation.nanmean(0)]
        names = list(named.values())
        found.matrices.append(PairMatrix("concept correlation", "pix", vectors.n, list(named), names, values))
    return found if found.stages else None


def stage_curves(done: Done, stage: int) -> dict[str, dict[str, ConceptCurve]]:
    """Stream -> fit -> curve, of the streams of a stage whose concepts were measured."""
    at = done.setup.stages[stage]
    found = {s: {fit: done.get(Curve((at[s],), variant=fit)) for fit in FITS} for s in done.setup.streams if s in at}
    return {stream: curves for stream, curves in found.items() if curves[FULL] is not None}


def _stage(done: Done, stage: int, vectors: AgreementScores | None) -> StageConcepts:
    row, at, reducer = StageConcepts(stage), done.setup.stages[stage], done.setup.reducer
    curves = stage_curves(done, stage)
    iou = {stream: {fit: c.compute() for fit, c in fits.items()} for stream, fits in curves.items()}
    for stream, scores in iou.items():
        row.iou[stream] = numbers(scores[FULL].iou)
        row.error[stream] = numbers(scores[FULL].iou_se)
        row.floor[stream] = numbers((scores["half0"].iou - scores["half1"].iou).abs())
        _carried(row, done, stream, at[stream])
    name = reducer if isinstance(reducer, str) else getattr(reducer, "__name__", "callable")
    for a, b in done.setup.pairs:
        if a in curves and b in curves:
            halves = [(curves[s]["half0"], curves[s]["half1"]) for s in (a, b)]
            found = compare_curves(curves[a][FULL], curves[b][FULL], reducer, halves)
            value, error, floor = number(found.value), number(found.se), number(found.floor)
            interval = None if value is None or error is None else [value - 1.96 * error, value + 1.96 * error]
            row.variance[f"{a}_{b}"] = Variance(value, name, floor, error, interval)
    if vectors is not None:
        place = list(done.setup.stage_points()).index
        for a, b in done.setup.pairs:
            if a in at and b in at:
                row.correlation[f"{a}_{b}"] = numbers(vectors.correlation[:, place(at[a]), place(at[b])])
    return row


def _carried(row: StageConcepts, done: Done, stream: str, point: str) -> None:
    """Sets how few channels carry each concept of a stream, and how well one alone does."""
    statistics, ridge = joined(done, Curve((point,), variant=FULL).needs), done.setup.ridge
    counts = [2**i for i in range(8) if 2**i <= min(MOST, statistics.channels)]
    r2 = torch.stack([weights.r2 for weights in statistics.solve_tops(counts, ridge)])
    least = minimum_channels(counts, r2, statistics.solve(ridge).r2)
    row.channels[stream] = [int(c) or None for c in least]
    if statistics.thresholds is not None:
        row.unit_iou[stream] = numbers(statistics.unit_iou().amax(1))


METRIC = Metric("concepts", ("concepts",), Concepts, plan, compute)
