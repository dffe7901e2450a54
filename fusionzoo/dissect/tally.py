"""The sums of a dissection: one accumulator for each task of the plan, pass after pass. No model, no data, no file.

A `Tally` has a fixed size, whatever the number of images. Two tallies of the same pass over disjoint images merge to
the tally of all of them, and a tally goes through `state_dict` and back; so machines can share the work, and a killed
run can go on. What a later pass needs (thresholds, concept weights) is worked out from complete sums, never stored
beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fusionzoo.dissect.plan import FITS, Pass, Plan, Task
from fusionzoo.errors import InputError
from fusionzoo.metrics import (
    ChannelHealth,
    ConceptAgreement,
    ConceptCurve,
    ConceptStatistics,
    ConfusionMatrix,
    GateStatistics,
    Grouped,
    LinearCKA,
    Moments,
    Quantiles,
    RowSample,
)
from fusionzoo.metrics.concepts import ConceptWeights

__all__ = ["PointInfo", "Settings", "Sums", "Tally"]

Sums = Any  # an Accumulator, or a Grouped of them: both merge and go through state_dict


@dataclass(frozen=True)
class PointInfo:
    """What must be known of a probe point before the first pass: channels, declared bounds, whether it is a gate."""

    channels: int
    low: float | None = None
    high: float | None = None
    gate: bool = False


@dataclass(frozen=True)
class Settings:
    """The choices that all accumulators of a run share.

    Args:
        num_classes: K.
        concepts: number of concepts; None: the classes are the concepts.
        points: probe point -> its channels and bounds.
        tau: share of activations above a channel's threshold; None takes raw activations.
        ridge: of the concept solve, relative to the channels' correlation matrix.
        segmentation_groups, concept_groups: image groups for jackknife errors.
        bins: score bins of the concept curves.
        group_bytes: most memory for one level's moments in one view, of all image groups. Levels too wide for four
            groups are kept in one, and their similarities have no error.
        matrix_channels: most channels of all level points together that are compared as they are; when there are more,
            sets wider than `narrow` are projected at random onto so many directions.
        sample: most images whose channel means are kept, for measures that need the samples themselves.
        positions: most positions of a map that are samples of view "pix".
    """

    num_classes: int
    points: dict[str, PointInfo] = field(default_factory=dict)
    concepts: int | None = None
    ignore_index: int = 255
    tau: float | None = 0.05
    ridge: float = 1e-2
    segmentation_groups: int = 16
    concept_groups: int = 8
    bins: int = 512
    group_bytes: int = 64 << 20
    matrix_channels: int = 4096
    narrow: int = 256
    sample: int = 256
    positions: int = 1024

    @property
    def num_concepts(self) -> int:
        return self.num_classes if self.concepts is None else self.concepts

    def moment_groups(self, points: Sequence[str]) -> int:
        """Image groups for the moments of `points` together."""
        state = 8 * sum(self.points[p].channels for p in points) ** 2
        groups = min(self.concept_groups, self.group_bytes // state)
        return groups if groups >= 4 else 1

    def projections(self, points: Sequence[str]) -> dict[str, Tensor]:
        """Point -> (C, narrow) float64, for those that must be projected to be compared all with all."""
        channels = {p: self.points[p].channels for p in points}
        if sum(channels.values()) <= self.matrix_channels:
            return {}
        drawn = torch.Generator().manual_seed(0)
        return {
            p: torch.randn(c, self.narrow, generator=drawn, dtype=torch.float64) / self.narrow**0.5
            for p, c in channels.items()
            if c > self.narrow
        }


class Tally:
    """The accumulators of a plan, and the number of the pass that is being filled (0-based).

    >>> from fusionzoo.dissect.plan import make_plan
    >>> tally = Tally(make_plan(["segmentation"], {}), Settings(3))
    >>> tally.number, tally.finished, sorted(tally.active)[0]
    (0, False, 'confusion/both/logits/-')
    >>> tally.advance()
    >>> tally.finished
    True
    """

    def __init__(self, plan: Plan, settings: Settings) -> None:
        self.plan = plan
        self.settings = settings
        self.number = 0
        self.sums: dict[str, Sums] = {}
        self.weights: dict[str, ConceptWeights] = {}
        self.projections: dict[str, Tensor] = {}
        self._begin()

    @property
    def finished(self) -> bool:
        return self.number == len(self.plan.passes)

    @property
    def current(self) -> Pass:
        """The pass that is being filled."""
        return self.plan.passes[self.number]

    @property
    def active(self) -> dict[str, Sums]:
        """Task key -> accumulator of the current pass."""
        return {} if self.finished else {t.key: self.sums[t.key] for t in self.current.tasks}

    def advance(self) -> None:
        """Ends the current pass: its sums are complete, and the next pass begins with what follows from them.

        Raises:
            InputError: concepts cannot be solved, for want of labelled pixels.
        """
        if self.finished:
            raise InputError("the dissection is finished; there is no further pass")
        self.number += 1
        self._begin()

    def merge(self, other: Tally) -> Tally:
        """Adds the current pass's sums of `other`, as if its images had been seen here. Returns self.

        Raises:
            InputError: another plan, other settings, or another pass.
        """
        if other.plan != self.plan or other.settings != self.settings:
            raise InputError("cannot merge two dissections with different plans or settings")
        if other.number != self.number:
            raise InputError(f"cannot merge: pass {self.number + 1} here, pass {other.number + 1} there")
        for key, sums in self.active.items():
            sums.merge(other.sums[key])
        return self

    def merge_states(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """Replaces the current pass's sums by the merged `parts`, each `state_dict(current_only=True)` of a process.

        All processes merge in the given order, so that all hold the same bits.
        """
        for task in self.current.tasks:
            joined: Any = None
            for part in parts:
                one = self._make(task)
                one.load_state_dict(_of(task.key, part))
                joined = one if joined is None else joined.merge(one)
            self.sums[task.key] = joined

    def state_dict(self, current_only: bool = False) -> dict[str, Tensor]:
        """ "task key|state name" -> CPU tensor, of all sums so far or of the current pass alone."""
        chosen = self.active if current_only else self.sums
        return {f"{key}|{name}": v for key, sums in chosen.items() for name, v in sums.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor], number: int) -> None:
        """Replaces all sums by those saved in pass `number`.

        Raises:
            InputError: sums that are missing, or of another plan or settings.
        """
        if not 0 <= number <= len(self.plan.passes):
            raise InputError(f"saved state is of pass {number + 1}, the plan has {len(self.plan.passes)}")
        known = [t.key for p in self.plan.passes[: number + 1] for t in p.tasks]
        wrong = sorted(set(known) ^ {name.rpartition("|")[0] for name in state})
        if wrong:
            raise InputError(f"saved state is of another plan: {wrong[0]} is in one of the two only")
        self.sums, self.weights = {}, {}
        for self.number in range(number + 1):  # a pass's accumulators are made from the complete ones before
            self._begin()
            for key, sums in self.active.items():
                sums.load_state_dict(_of(key, state))

    # ------------------------------------------------------------------------------------------------ passes

    def _begin(self) -> None:
        """Makes the accumulators of the current pass."""
        if self.finished:
            return
        for task in self.current.tasks:
            self.sums[task.key] = self._make(task)

    def _make(self, task: Task) -> Sums:
        s = self.settings
        if task.kind == "confusion":
            return ConfusionMatrix(s.num_classes, s.ignore_index, s.segmentation_groups)
        if task.kind == "cka":
            return LinearCKA(task.variant)
        if task.kind == "moments":
            return Grouped(partial(Moments, len(task.points), task.variant), s.moment_groups(task.points))
        if task.kind in ("matrix", "rows"):
            self.projections = s.projections(task.points)
        if task.kind == "rows":
            return RowSample(task.points, s.sample)
        if task.kind == "matrix":
            return Moments(task.points, task.variant)
        info = s.points[task.points[0]]
        if task.kind == "health":
            return ChannelHealth(info.channels, info.low, info.high)
        if task.kind == "gate":
            return GateStatistics(info.channels, info.low or 0.0, 1.0 if info.high is None else info.high)
        if task.kind == "quantiles":
            assert s.tau is not None
            return Quantiles(info.channels, s.tau)
        if task.kind == "statistics":
            return ConceptStatistics(info.channels, s.num_concepts, self._thresholds(task))
        if task.kind == "vectors":
            return ConceptAgreement(task.points, s.num_concepts)
        assert task.kind == "curve", task.kind
        self.weights[task.key] = self._solve(task)
        return ConceptCurve(s.num_concepts, s.bins, s.concept_groups if task.variant == FITS[0] else 1)

    def _get(self, key: str, kind: type[Any]) -> Any:
        found = self.sums[key]
        assert isinstance(found, kind)
        return found

    def _thresholds(self, task: Task) -> Tensor | None:
        return self._get(task.needs[0], Quantiles).compute().float() if task.needs else None

    def statistics(self, keys: Sequence[str]) -> ConceptStatistics:
        """The concept statistics of several tasks, joined."""
        parts: list[ConceptStatistics] = [self._get(key, ConceptStatistics) for key in keys]
        joined = ConceptStatistics(parts[0].channels, parts[0].concepts, parts[0].thresholds)
        for part in parts:
            joined.merge(part)
        return joined

    def _solve(self, task: Task) -> ConceptWeights:
        """The concept weights from the statistics that the task needs, joined."""
        try:
            return self.statistics(task.needs).solve(self.settings.ridge)
        except InputError as error:
            raise InputError(f"concepts at {task.points[0]}, {task.variant} of the training images: {error}") from error


def _of(key: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of one task in a flat state."""
    return {name.rpartition("|")[2]: value for name, value in state.items() if name.rpartition("|")[0] == key}
