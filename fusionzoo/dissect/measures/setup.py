"""What all measures of a run share: the choices, and what is known of model and data before the first pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fusionzoo.dissect.split import Split
from fusionzoo.probes import Probe

__all__ = ["PAIRS", "STREAMS", "Mixture", "PointInfo", "Setup"]

STREAMS = ("rgb", "x", "fused")
PAIRS = (("rgb", "x"), ("rgb", "fused"), ("x", "fused"))
"""Pairs of representations that are compared at each stage."""


@dataclass(frozen=True)
class PointInfo:
    """What is known of a probe point before the first pass: its channels and what it declares (`fusionzoo.probes`).

    `low`, `high`: bounds that are worth watching, None where there are none. `gate`: a gate with declared bounds.
    """

    channels: int
    low: float | None = None
    high: float | None = None
    gate: bool = False
    modality: str = ""
    role: str = ""
    replaced_below: float | None = None


@dataclass(frozen=True)
class Mixture:
    """A probe whose values weigh the two modalities: along `dim`, rgb first or last."""

    dim: int
    rgb_first: bool

    @classmethod
    def of(cls, probe: Probe) -> Mixture | None:
        """How the probe weighs the two modalities, None where it does not: its weights sum to 1 along two entries. The
        first is rgb's, at a probe of x its own."""
        if probe.role not in ("attention", "gate", "weight") or probe.sums_to_one is None:
            return None
        axis = probe.axes.split()[probe.sums_to_one]
        two = axis == "2" or (axis == "C" and probe.channels == 2)
        return cls(probe.sums_to_one, probe.modality != "x") if two else None


@dataclass(frozen=True)
class Setup:
    """What all measures of a run share: the choices, and what is known of model and data before the first pass.

    Args:
        num_classes, ignore_index: of the labels.
        images, split: numbers in the data of the images of the run, and how they are dealt.
        points: probe point -> what is known of it.
        stages: stage -> {"rgb" | "x" | "fused": probe point}.
        uneven: stages whose maps differ in size: compared by images only, not by positions.
        mixtures: probe point -> how it weighs the modalities.
        names, concepts: of the concepts, and their number; None: the classes are the concepts.
        kinds: class -> where it is visible (planted data).
        permuted: whether scores with a modality of another image are taken.
        absence, tau, ridge, reducer, positions: see `fusionzoo.dissect.Protocol`.
        segmentation_groups, concept_groups: image groups for jackknife errors.
        bins: score bins of the concept curves.
        group_bytes: most memory for one stage's moments in one view, of all image groups. Stages too wide for four
            groups are kept in one, and their similarities have no error.
        matrix_channels: most channels of all stage points together that are compared as they are; when there are more,
            sets wider than `narrow` are projected at random onto so many directions.
        inputs: what can be taken away: "rgb" and "x", or rgb and each of several modalities by its name.
        sample: most images whose channel means are kept, for measures that need the samples themselves.
    """

    num_classes: int
    points: dict[str, PointInfo] = field(default_factory=dict)
    stages: dict[int, dict[str, str]] = field(default_factory=dict)
    uneven: frozenset[int] = frozenset()
    mixtures: dict[str, Mixture] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    concepts: int | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    ignore_index: int = 255
    absence: str = "mean"
    permuted: bool = True
    tau: float | None = 0.05
    ridge: float = 1e-2
    reducer: str | Callable[[Tensor, Tensor], Tensor] = "mean_abs"
    segmentation_groups: int = 16
    concept_groups: int = 8
    bins: int = 512
    group_bytes: int = 64 << 20
    matrix_channels: int = 4096
    narrow: int = 256
    sample: int = 256
    positions: int = 1024
    images: tuple[int, ...] = ()
    split: Split | None = None
    inputs: tuple[str, ...] = ("rgb", "x")
    task: str = "segmentation"

    @property
    def own(self) -> tuple[str, ...]:
        """The modalities beside rgb by their names, where there are several."""
        return self.inputs[1:] if len(self.inputs) > 2 else ()

    @property
    def streams(self) -> tuple[str, ...]:
        """What a stage may have: rgb, x (of several modalities what they are merged to), fused, and each of several."""
        return (*STREAMS, *self.own)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of representations that are compared at each stage."""
        return (*PAIRS, *(("rgb", name) for name in self.own))

    @property
    def num_concepts(self) -> int:
        return self.num_classes if self.concepts is None else self.concepts

    @property
    def concept_names(self) -> list[str]:
        return list(self.names) or list(map(str, range(self.num_concepts)))

    def compared(self) -> dict[int, tuple[str, ...]]:
        """Stage -> the points of its streams, rgb and x first, of stages with maps of one size in both."""
        even = {k: at for k, at in self.stages.items() if k not in self.uneven and "rgb" in at and "x" in at}
        return {stage: tuple(at[s] for s in STREAMS if s in at) for stage, at in even.items()}

    def stage_points(self) -> dict[str, str]:
        """Probe point -> what it is ("stage 2 rgb"), stages rising, each point once.

        >>> Setup(3, stages={2: {"rgb": "b", "fused": "c"}, 1: {"rgb": "a"}}).stage_points()
        {'a': 'stage 1 rgb', 'b': 'stage 2 rgb', 'c': 'stage 2 fused'}
        """
        named: dict[str, str] = {}
        for stage in sorted(self.stages):
            for stream in (s for s in self.streams if s in self.stages[stage]):
                named.setdefault(self.stages[stage][stream], f"stage {stage} {stream}")
        return named

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
