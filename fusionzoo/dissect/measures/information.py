"""What rgb alone, x alone, either, or only both together tell of the fused features and of the concepts of a stage.

A Gaussian partial information decomposition of the second moments of positions (`fusionzoo.metrics.cooperation.pid`):
that of the fused features from the moments that similarity keeps, that of the concepts from a few numbers more, the
moments of the streams' leading components with the concept masks at labelled positions. The concepts are indicators, so
this is a linear-Gaussian reading of them. Beside commonality it tells apart what either modality says from what only
both together say; commonality gives their difference.

Errors: one group of images left out at a time, the components fixed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionzoo.dissect.measures.base import Batch, Done, Measure, Measured, Metric, Setup, number, thinned
from fusionzoo.dissect.measures.concepts import FULL, Curve
from fusionzoo.dissect.measures.similarity import StageMoments
from fusionzoo.metrics import Grouped, Moments, jackknife
from fusionzoo.metrics.cooperation.pid import RANK, Components, leading_components, pid_of_covariance, too_few
from fusionzoo.metrics.similarity.moments import CentredMoments

__all__ = ["METRIC", "Atoms", "Decomposition", "Information", "StageInformation"]

SOURCE, TARGET = 16, 8
"""Most principal components of a stream, and of what it tells of."""
RIDGE = 0.01
"""Noise added to the target, as a share of its components' mean variance: the resolution at which it is read."""
VALUE_GAP, ERROR_GAP = 1e-8, 1e-5
"""Nats to which the decomposition of all images is solved, and that without a group of them."""


@dataclass(frozen=True)
class ConceptMoments(Measure):
    """Moments of the leading components of rgb and x with the concept masks, at labelled positions, in image groups.

    Args:
        points: rgb, x and, where there is one, fused of a stage.
        after: measures that must be complete before it, so that it needs no pass of its own.
    """

    after: tuple[Measure, ...] = ()

    kind: ClassVar[str] = "information"
    masked: ClassVar[bool] = True

    @property
    def needs(self) -> tuple[Measure, ...]:
        return (StageMoments(self.points, variant=self.variant), *self.after)

    def prepare(self, done: Done) -> Components:
        return leading_components(done.get(self.needs[0]).merged().centred(), (0, 1), (SOURCE, SOURCE))

    def make(self, done: Done) -> Grouped[Moments]:
        return Grouped(partial(Moments, ("rgb", "x", "concepts"), self.variant), done.setup.concept_groups)

    def hear(self, sums: Any, batch: Batch, point: str, value: Tensor) -> None:
        if point in self.points[:2]:
            batch.keep(point, self.variant, value)
            batch.shared[self.key] = (value.shape[2], value.shape[3])

    def finish(self, sums: Grouped[Moments], batch: Batch) -> None:
        kept, positions = batch.done.prepared[self.key], batch.done.setup.positions
        if not min(kept.dims):
            return  # a stream that never varies
        masks, valid = batch.source.on("nearest", batch.shared[self.key])
        masks, valid = (thinned(batch.inside(v), positions) for v in (masks, valid[:, None]))
        valid = valid[:, 0].bool()
        sets = [batch.rows[p, self.variant].double().movedim(1, 3) @ basis.to(masks.device)
                for p, basis in zip(self.points[:2], kept.bases, strict=True)]  # (B, h, w, k) each  # fmt: skip
        sets.append(masks.double().movedim(1, 3))
        for group, mine in batch.by_group(len(sums.parts)):
            there = valid[mine]
            if bool(there.any()):
                sums.update(*(s[mine][there] for s in sets), group=group)


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if not {"similarity", "concepts"} <= set(wanted):
        return []  # of the fused features it is read off the moments of similarity
    scored = {p: Curve(p[:1], variant=FULL, binary=setup.tau is not None) for p in setup.compared().values()}
    # in the pass that scores concepts, which reads all images and their masks anyway
    return [ConceptMoments(p, variant="pix", after=curve.needs) for p, curve in scored.items()]


# ------------------------------------------------------------------------------------------------------ what it becomes


@dataclass
class Atoms:
    """What rgb tells and x does not, the reverse, what either tells, and what only both together tell."""

    unique_rgb: Measured
    unique_x: Measured
    redundant: Measured
    synergistic: Measured


@dataclass
class Decomposition:
    """Of the information of rgb and x about a target.

    Attributes:
        n: positions.
        information: of both together, in nats. nats: its four parts. shares: the same, adding up to 1.
        components: principal components kept of rgb, x and the target. variance: the shares that they hold.
        few: too few positions for so many components, so that information is overestimated.
    """

    n: int
    information: Measured
    nats: Atoms
    shares: Atoms
    components: list[int]
    variance: list[float | None]
    few: bool = False


@dataclass
class StageInformation:
    """Of one stage: about its fused features, and about the concepts (None: not measured, or constant)."""

    stage: int
    fused: Decomposition | None = None
    concepts: Decomposition | None = None


@dataclass
class Information:
    """Stage by stage. `ridge`: noise added to the targets, as a share of their components' mean variance."""

    stages: list[StageInformation] = field(default_factory=list)
    ridge: float = RIDGE


def compute(done: Done, results: Mapping[str, Any]) -> Information | None:
    found = []
    for stage, points in sorted(done.setup.compared().items()):
        sums = done.get(StageMoments(points, variant="pix"))
        of_fused = _decomposed(sums) if sums is not None and len(points) == 3 else None
        about = done.get(ConceptMoments(points, variant="pix"))
        found.append(StageInformation(stage, of_fused, None if about is None else _decomposed(about)))
    found = [row for row in found if row.fused is not None or row.concepts is not None]
    return Information(found) if found else None


def _decomposed(sums: Grouped[Moments]) -> Decomposition | None:
    """Of the third point of the moments; None where a point never varies or nothing was seen."""
    if not sums.used:
        return None
    whole = sums.merged().centred()
    kept = leading_components(whole, (0, 1, 2), (SOURCE, SOURCE, TARGET))
    if not min(kept.dims):
        return None
    varies = kept.covariance(whole, (0, 1, 2)).diagonal()

    def parts(n: Tensor, total: Tensor, products: Tensor, gap: float = ERROR_GAP) -> Tensor:
        about = products / n - torch.outer(total, total) / n**2
        still = about.diagonal() <= RANK * varies  # without the images left out: what stands here is rounding
        about = about.masked_fill(still[:, None] | still, 0.0)
        made = pid_of_covariance(about, kept.dims, ridge=RIDGE, gap=gap)
        return torch.tensor([made.information, *made.parts, *made.shares], dtype=torch.float64)

    tallies = [torch.stack(t) for t in zip(*(_tally(p, kept, whole) for p in sums.parts if p.n), strict=True)]
    n, total, products = (t.sum(0) for t in tallies)
    values = parts(n, total, products, VALUE_GAP).tolist()
    errors = jackknife(parts, tallies)[1].tolist()
    found = [Measured(number(v), number(e)) for v, e in zip(values, errors, strict=True)]
    return Decomposition(
        whole.n, found[0], Atoms(*found[1:5]), Atoms(*found[5:]), list(kept.dims),
        [number(v) for v in kept.variance], too_few(whole.n, kept.dims),
    )  # fmt: skip


def _tally(part: Moments, kept: Components, whole: CentredMoments) -> tuple[Tensor, Tensor, Tensor]:
    """Samples, sum and products of the components of a group, about the mean of all."""
    about = part.centred()
    away = [(about.mean[s] - whole.mean[s]) @ basis for s, basis in zip(whole.slices, kept.bases, strict=True)]
    mean, n = torch.cat(away), torch.tensor(float(about.n), dtype=torch.float64, device=about.mean.device)
    return n, n * mean, n * (kept.covariance(about, (0, 1, 2)) + torch.outer(mean, mean))


METRIC = Metric("information", (), Information, plan, compute)
