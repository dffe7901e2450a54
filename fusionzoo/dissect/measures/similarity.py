"""How alike the representations of each stage are, and what the fused one takes from which.

Errors: one group of images is left out of the moments at a time (block jackknife), so they hold for positions as
samples too, which are not independent within an image. Canonical correlations have none: they cost a decomposition per
group, and their sampling error is dwarfed by their dependence on what they keep.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionzoo.dissect.measures.base import (
    STREAMS,
    Batch,
    Done,
    Measure,
    Measured,
    Metric,
    PairMatrix,
    Setup,
    number,
)
from fusionzoo.metrics import Grouped, LinearCKA, Moments, RowSample, commonality, null_test, similarity_matrices
from fusionzoo.metrics.base import VIEWS
from fusionzoo.metrics.similarity import CentredMoments

__all__ = ["METRIC", "Similarity", "StageSimilarity"]

WITH_ERROR = ("cka", "angular", "r2")
FEWEST = 16
"""With fewer images neither a neighbourhood nor a permutation says anything."""
PERMUTATIONS = 99
SHARES = ("unique_rgb", "unique_x", "redundant", "rest")


class Together(Measure):
    """A measure of several representations: of each the samples are kept until the forward pass is over."""

    def hear(self, sums: Any, batch: Batch, point: str, value: Tensor) -> None:
        batch.keep(point, self.variant, value)

    def finish(self, sums: Any, batch: Batch) -> None:
        sums.update(*self.rows(batch))

    def rows(self, batch: Batch) -> list[Tensor]:
        """Samples of the points, (B, C) or (B, C, h, w), projected where the points are too wide together."""
        found = []
        for point in self.points:
            rows, projection = batch.rows[point, self.variant], (batch.done.prepared[self.key] or {}).get(point)
            found.append(rows if projection is None else rows @ projection.to(rows.device))
        return found


@dataclass(frozen=True)
class CKA(Together):
    """Linear CKA of two points alone."""

    kind: ClassVar[str] = "cka"

    def make(self, done: Done) -> LinearCKA:
        return LinearCKA(self.variant)


@dataclass(frozen=True)
class StageMoments(Together):
    """Moments of the representations of a stage, in image groups."""

    kind: ClassVar[str] = "moments"

    def make(self, done: Done) -> Grouped[Moments]:
        groups = done.setup.moment_groups(self.points)
        return Grouped(partial(Moments, len(self.points), self.variant), groups)

    def finish(self, sums: Grouped[Moments], batch: Batch) -> None:
        rows = self.rows(batch)
        for group, mine in batch.by_group(len(sums.parts)):
            sums.update(*(r[mine] for r in rows), group=group)


@dataclass(frozen=True)
class AllMoments(Together):
    """Moments of all stage points together, images as samples."""

    kind: ClassVar[str] = "matrix"

    def prepare(self, done: Done) -> dict[str, Tensor]:
        return done.setup.projections(self.points)

    def make(self, done: Done) -> Moments:
        return Moments(self.points, self.variant)


@dataclass(frozen=True)
class Rows(Together):
    """A sample of images with their channel means at all stage points."""

    kind: ClassVar[str] = "rows"

    def prepare(self, done: Done) -> dict[str, Tensor]:
        return done.setup.projections(self.points)

    def make(self, done: Done) -> RowSample:
        return RowSample(self.points, done.setup.sample)

    def finish(self, sums: RowSample, batch: Batch) -> None:
        sums.update(torch.tensor(batch.places), *self.rows(batch))


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    found: list[Measure] = []
    for stage, at in setup.stages.items():
        views = VIEWS[:1] if stage in setup.uneven else VIEWS
        points = tuple(at[s] for s in setup.streams if s in at)
        if "similarity" in wanted and len(points) > 1:
            found += [StageMoments(points, variant=view) for view in views]
        elif "cka" in wanted and "rgb" in at and "x" in at:
            found += [CKA(points[:2], variant=view) for view in views]
    every = tuple(setup.stage_points())
    if "similarity" in wanted and len(every) > 1:
        found += [AllMoments(every, variant="gap"), Rows(every, variant="gap")]
    return found


@dataclass
class CKAValue:
    """Linear CKA between the rgb and the x representation of a stage over `n` samples of the view."""

    unbiased: float | None
    biased: float | None
    n: int


@dataclass
class CKAViews:
    """`gap`: a sample is an image (channels averaged over positions); `pix`: a sample is a position."""

    gap: CKAValue | None = None
    pix: CKAValue | None = None


@dataclass
class PairSimilarity:
    """How alike two representations A and B of a stage are, in one view, by the measures of
    `fusionzoo.metrics.similarity.matrices`; None: not defined. `n`: images ("gap") or positions ("pix"). `cka`:
    unbiased. `predicts`: R2 of B from A by a linear map. `predicted`: R2 of A from B.
    """

    n: int
    cka: Measured
    angular: Measured
    svcca: Measured
    rcca: Measured
    predicts: Measured
    predicted: Measured


@dataclass
class CommonalityShares:
    """What the fused representation takes from each modality: see `fusionzoo.metrics.cooperation.Commonality`."""

    n: int
    unique_rgb: Measured
    unique_x: Measured
    redundant: Measured
    rest: Measured
    adjusted: bool = True


@dataclass
class StageSimilarity:
    """Of one stage. `pairs`: pair ("rgb_x", "rgb_fused", "x_fused"; "rgb_depth", ... of several) -> view ("gap",
    "pix") -> measures. `commonality`: view -> shares of the fused variance."""

    stage: int
    cka: CKAViews = field(default_factory=CKAViews)
    pairs: dict[str, dict[str, PairSimilarity]] = field(default_factory=dict)
    commonality: dict[str, CommonalityShares] = field(default_factory=dict)


@dataclass
class Similarity:
    """Representations of each stage with each other, and of all stages with all."""

    stages: list[StageSimilarity]
    matrices: list[PairMatrix] = field(default_factory=list)


def compute(done: Done, results: Mapping[str, Any]) -> Similarity | None:
    stages = [_stage(done, stage, at) for stage, at in sorted(done.setup.stages.items())]
    measured = [s for s in stages if s.cka != CKAViews() or s.pairs]
    return Similarity(measured, _matrices(done)) if measured else None


def _stage(done: Done, stage: int, at: Mapping[str, str]) -> StageSimilarity:
    row = StageSimilarity(stage)
    streams = [s for s in done.setup.streams if s in at]
    for view in VIEWS:
        sums = done.get(StageMoments(tuple(at[s] for s in streams), variant=view))
        if sums is not None:
            setattr(row.cka, view, _fill_view(row, sums, streams, view, done.setup.pairs))
        elif "rgb" in streams and "x" in streams:
            alone = done.get(CKA((at["rgb"], at["x"]), variant=view))
            if alone is not None:
                scores = alone.compute()
                setattr(row.cka, view, CKAValue(number(scores.unbiased), number(scores.biased), scores.n))
    return row


def _fill_view(
    row: StageSimilarity, sums: Grouped[Moments], streams: list[str], view: str, pairs: Sequence[tuple[str, str]]
) -> CKAValue | None:
    """Sets the measures of all pairs of one view; the CKA of rgb and x."""
    p = len(streams)
    three = streams[:3] == list(STREAMS)

    def statistic(about: CentredMoments) -> Tensor:
        parts = [m.flatten().cpu() for m in similarity_matrices(about, WITH_ERROR).values()]
        if three:
            shares = commonality(about, 0, 1, 2)
            parts.append(torch.tensor([getattr(shares, name) for name in SHARES], dtype=torch.float64))
        return torch.cat(parts)

    one_group = len(sums.parts) == 1  # too wide for more, and to be copied
    whole = (sums.parts[0] if one_group else sums.merged()).centred()
    if one_group:
        values = statistic(whole)
        errors = torch.full_like(values, torch.nan)
    else:
        found = sums.jackknife(lambda moments: statistic(moments.centred()))
        values, errors = found.value, found.se
    value, error = (
        {n: v.view(p, p) for n, v in zip(WITH_ERROR, t[: 3 * p * p].split(p * p), strict=True)}
        for t in (values, errors)
    )
    plain = similarity_matrices(whole, ("cka_biased", "svcca", "rcca"))
    for a, b in pairs:
        if a in streams and b in streams:
            i, j = streams.index(a), streams.index(b)
            both = {n: Measured(number(value[n][i, j]), number(error[n][i, j])) for n in WITH_ERROR}
            back = Measured(number(value["r2"][j, i]), number(error["r2"][j, i]))
            cca = [Measured(number(plain[n][i, j])) for n in ("svcca", "rcca")]
            pair = PairSimilarity(whole.n, both["cka"], both["angular"], cca[0], cca[1], both["r2"], back)
            row.pairs.setdefault(f"{a}_{b}", {})[view] = pair
    if three:
        shares = [Measured(number(v), number(e)) for v, e in zip(values[-4:], errors[-4:], strict=True)]
        if shares[0].value is not None:
            row.commonality[view] = CommonalityShares(whole.n, shares[0], shares[1], shares[2], shares[3])
    if streams[:2] != ["rgb", "x"]:
        return None
    return CKAValue(number(value["cka"][0, 1]), number(plain["cka_biased"][0, 1]), whole.n)


def _matrices(done: Done) -> list[PairMatrix]:
    """Similarities of all stage points with all, images as samples: CKA of all images, the measures that need the
    samples, and the permutations, of at most `Setup.sample` images."""
    named = done.setup.stage_points()
    every = AllMoments(tuple(named), variant="gap")
    sums, sample = done.get(every), done.get(Rows(tuple(named), variant="gap"))
    if sums is None or sample is None:
        return []
    about, rows = sums.centred(), list(sample.compute().values())
    narrow = done.setup.narrow if done.prepared[every.key] else None
    found = []
    for measure in ("cka", "rbf_cka", "rsa", "mutual_knn") if len(rows[0]) >= FEWEST else ("cka",):
        value, n, p, bound = similarity_matrices(about, ("cka",))["cka"], about.n, None, None
        if len(rows[0]) >= FEWEST:
            null = null_test(measure, rows, times=PERMUTATIONS)
            p, bound = null.p, null.bound
            value, n = (value, n) if measure == "cka" else (null.value, null.n)
        lines = [[] if t is None else [[number(v) for v in line] for line in t.tolist()] for t in (value, p, bound)]
        names = list(named.values())
        found.append(PairMatrix(measure, "gap", n, list(named), names, lines[0], narrow, lines[1], lines[2]))
    return found


METRIC = Metric("similarity", ("cka", "similarity"), Similarity, plan, compute)
