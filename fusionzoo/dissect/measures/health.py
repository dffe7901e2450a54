"""Health of probe points: dead channels, effective rank, saturation; how gates behave."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from fusionzoo.dissect.measures.base import Batch, Done, Measure, Metric, Setup, number
from fusionzoo.metrics import ChannelHealth, GateStatistics

__all__ = ["METRIC", "Channels", "Gate"]


@dataclass(frozen=True)
class Channels(Measure):
    """Variance, covariance spectrum and saturation of a point's channels."""

    kind: ClassVar[str] = "health"

    def make(self, done: Done) -> ChannelHealth:
        info = done.setup.points[self.points[0]]
        return ChannelHealth(info.channels, info.low, info.high)

    def hear(self, sums: ChannelHealth, batch: Batch, point: str, value: Tensor) -> None:
        sums.update(batch.inside(value))


@dataclass(frozen=True)
class Gate(Measure):
    """How decided a gate is, and by what it varies."""

    kind: ClassVar[str] = "gate"

    def make(self, done: Done) -> GateStatistics:
        info = done.setup.points[self.points[0]]
        return GateStatistics(info.channels, info.low or 0.0, 1.0 if info.high is None else info.high)

    def hear(self, sums: GateStatistics, batch: Batch, point: str, value: Tensor) -> None:
        sums.update(value)


@dataclass
class GateHealth:
    """How a gate behaves, its range scaled to 0..1: see `fusionzoo.metrics.health.GateScores`.

    `entropy` in bits: 0 it decides, 1 it halves. A gate that varies `by_channel` alone ignores its input.
    """

    entropy: float | None
    shut: float | None
    open: float | None
    by_channel: float | None
    by_image: float | None
    by_position: float | None


@dataclass
class ProbeHealth:
    """Health of one probe point.

    `dead`: channels that never vary. `saturated`: share of values at a declared bound, None where none is declared.
    `gate`: of probes with the role "gate".
    """

    name: str
    channels: int
    dead: int
    mean: float | None
    std: float | None
    effective_rank: float | None
    saturated: float | None = None
    modality: str = ""
    role: str = ""
    gate: GateHealth | None = None


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if "health" not in wanted:
        return []
    features = [p for p, info in setup.points.items() if info.role != "exchange"]  # masks are fixed by the weights
    return [Channels((p,)) for p in features] + [Gate((p,)) for p, info in setup.points.items() if info.gate]


def compute(done: Done, results: Mapping[str, Any]) -> list[ProbeHealth] | None:
    """One row for each probe point whose health was measured, in model order."""
    rows = []
    for name, info in done.setup.points.items():
        sums = done.get(Channels((name,)))
        if sums is not None:
            s = sums.compute()
            values = (number(s.mean), number(s.std), number(s.effective_rank), s.saturated)
            row = ProbeHealth(name, s.channels, s.dead, *values, info.modality, info.role)
            gates = done.get(Gate((name,)))
            if gates is not None:
                g = gates.compute()
                parts = (g.entropy, g.shut, g.open, g.by_channel, g.by_image, g.by_position)
                row.gate = GateHealth(*map(number, parts))
            rows.append(row)
    return rows or None


METRIC = Metric("health", ("health",), list[ProbeHealth], plan, compute)
