"""The contract of a measure: which probe points it reads, under which condition, after which others, into which sums.

A `Measure` is one accumulator of a run. It is fed when a probe fires (`hear`), when predictions are there (`predicted`)
or when the forward pass is over (`finish`), and runs in the first pass in which all that it needs is complete. A
`Metric` is what `dissect(metrics=...)` can be asked for: the measures it plans, and how their complete sums become a
result of one type. What is fed is reduced at once: nothing of a data set is held but one batch and the sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.masks import Source
from fusionzoo.dissect.split import ROLES, Split
from fusionzoo.metrics.base import as_samples

__all__ = [
    "PAIRS",
    "STREAMS",
    "Batch",
    "Done",
    "Estimate",
    "Measure",
    "Measured",
    "Metric",
    "Mixture",
    "PairMatrix",
    "PointInfo",
    "Setup",
    "number",
    "numbers",
    "some",
    "thinned",
]

Sums = Any  # an Accumulator, or a Grouped of them: both merge and go through state_dict

STREAMS = ("rgb", "x", "fused")
PAIRS = (("rgb", "x"), ("rgb", "fused"), ("x", "fused"))
"""Pairs of representations that are compared at each stage."""


@dataclass(frozen=True)
class PointInfo:
    """What is known of a probe point before the first pass.

    Args:
        channels: of the value that passes it.
        low, high: bounds that are worth watching, None where there are none.
        gate: whether it is a gate with declared bounds.
        modality, role, replaced_below: as declared by the probe.
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


@dataclass(frozen=True)
class Setup:
    """What all measures of a run share: the choices, and what is known of model and data before the first pass.

    Args:
        num_classes: K.
        points: probe point -> what is known of it.
        stages: stage -> {"rgb" | "x" | "fused": probe point}.
        uneven: stages whose maps differ in size: compared by images only, not by positions.
        mixtures: probe point -> how it weighs the modalities.
        names: of the concepts.
        concepts: number of concepts; None: the classes are the concepts.
        kinds: class -> where it is visible (planted data).
        absence: what stands for an absent modality.
        permuted: whether scores with a modality of another image are taken.
        tau: share of activations above a channel's threshold; None takes raw activations.
        ridge: of the concept solve, relative to the channels' correlation matrix.
        reducer: of semantic variance.
        segmentation_groups, concept_groups: image groups for jackknife errors.
        bins: score bins of the concept curves.
        group_bytes: most memory for one stage's moments in one view, of all image groups. Stages too wide for four
            groups are kept in one, and their similarities have no error.
        matrix_channels: most channels of all stage points together that are compared as they are; when there are more,
            sets wider than `narrow` are projected at random onto so many directions.
        sample: most images whose channel means are kept, for measures that need the samples themselves.
        positions: most positions of a map that are samples of view "pix".
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

    @property
    def num_concepts(self) -> int:
        return self.num_classes if self.concepts is None else self.concepts

    @property
    def concept_names(self) -> list[str]:
        return list(self.names) or [str(k) for k in range(self.num_concepts)]

    def stage_points(self) -> dict[str, str]:
        """Probe point -> what it is ("stage 2 rgb"), stages rising, each point once.

        >>> Setup(3, stages={2: {"rgb": "b", "fused": "c"}, 1: {"rgb": "a"}}).stage_points()
        {'a': 'stage 1 rgb', 'b': 'stage 2 rgb', 'c': 'stage 2 fused'}
        """
        named: dict[str, str] = {}
        for stage in sorted(self.stages):
            for stream in (s for s in STREAMS if s in self.stages[stage]):
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


@dataclass
class Done:
    """Sums by the key of their measure, and what measures work out of complete sums before they begin."""

    setup: Setup
    sums: dict[str, Sums] = field(default_factory=dict)
    prepared: dict[str, Any] = field(default_factory=dict)

    def get(self, measure: Measure) -> Any:
        """The measure's accumulator, None where it was not planned."""
        return self.sums.get(measure.key)

    def begin(self, measures: Sequence[Measure]) -> dict[str, Sums]:
        """Empty accumulators of one pass: measure's key -> accumulator."""
        for measure in measures:
            self.prepared[measure.key] = measure.prepare(self)
            self.sums[measure.key] = measure.make(self)
        return {measure.key: self.sums[measure.key] for measure in measures}


@dataclass(frozen=True)
class Measure(ABC):
    """One accumulator of a run.

    Args:
        points: the probe points it reads; none: the model's predictions.
        condition: what the model is given meanwhile.
        variant: tells measures of one kind at the same points apart: a view, a training half, a fit.
    """

    points: tuple[str, ...] = ()
    condition: Condition = Condition.BOTH
    variant: str = ""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """Its name in saved states: unique in a run."""
        return "/".join((self.kind, str(self.condition), "+".join(self.points) or "logits", self.variant or "-"))

    @property
    def needs(self) -> tuple[Measure, ...]:
        """Measures that must be complete before it begins."""
        return ()

    @property
    def roles(self) -> frozenset[str]:
        """Roles of the images it reads (`Split.role`)."""
        return ROLES

    @property
    def masked(self) -> bool:
        """Whether it needs the concept masks of the images."""
        return False

    def prepare(self, done: Done) -> Any:
        """What follows from complete sums before it begins."""
        return None

    @abstractmethod
    def make(self, done: Done) -> Sums:
        """Its empty accumulator."""

    def hear(self, sums: Sums, batch: Batch, point: str, value: Tensor) -> None:  # noqa: B027
        """A probe that it reads has fired."""

    def predicted(self, sums: Sums, batch: Batch, labels: Tensor, truth: Tensor) -> None:  # noqa: B027
        """The model's predictions (B, Hl, Wl) are there; only for measures without points."""

    def finish(self, sums: Sums, batch: Batch) -> None:  # noqa: B027
        """The forward pass is over."""


@dataclass
class Batch:
    """One forward pass: what the measures that hear it share.

    Attributes:
        measures: those of the forward pass's condition.
        source: of the concept masks. grid: (H, W) at which concepts are scored.
        places: number of each image in the run. ids: for messages.
        rows: (point, view) -> samples, kept until the forward pass is over.
        scores: point -> concept scores (B, K, h, w) by the detectors of all training images.
        shared: what one measure works out for others.
    """

    done: Done
    measures: Sequence[Measure]
    split: Split
    source: Source
    grid: tuple[int, int]
    places: Sequence[int]
    ids: Sequence[str]
    rows: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    scores: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.roles = [self.split.role(place) for place in self.places]

    def mine(self, measure: Measure) -> list[int]:
        """Images of the batch that the measure reads."""
        return [i for i, role in enumerate(self.roles) if role in measure.roles]

    def by_group(self, groups: int) -> Iterator[tuple[int, list[int]]]:
        """(jackknife group, its images of the batch)."""
        found: dict[int, list[int]] = {}
        for i, place in enumerate(self.places):
            found.setdefault(self.split.group(place, groups), []).append(i)
        return iter(found.items())

    def keep(self, point: str, view: str, value: Tensor) -> None:
        """Keeps the samples of a point: channel means ("gap"), or evenly spaced positions ("pix")."""
        if (point, view) not in self.rows:
            whole = view == "gap"
            self.rows[point, view] = as_samples(value, "gap") if whole else thinned(value, self.done.setup.positions)


@dataclass(frozen=True)
class Metric:
    """What `dissect(metrics=...)` can be asked for, and the result that comes of it.

    Args:
        name: under which the result stands in a Dissection.
        asked: names by which it is asked for; a name that ends with "?" is measured only when asked for.
        result: type of the result.
        plan: (setup, names asked for) -> measures; those that others need first.
        compute: complete sums -> the result; None where they were not measured.
    """

    name: str
    asked: tuple[str, ...]
    result: Any
    plan: Callable[[Setup, Collection[str]], Sequence[Measure]]
    compute: Callable[[Done, Mapping[str, Any]], Any]


@dataclass
class Measured:
    """One number and its jackknife standard error over image groups (None: not known, never zero)."""

    value: float | None
    error: float | None = None


@dataclass
class Estimate:
    """A score for all classes together (mIoU) and for each class (IoU), with jackknife standard errors."""

    miou: float | None
    miou_error: float | None
    iou: list[float | None]
    iou_error: list[float | None]


@dataclass
class PairMatrix:
    """One measure between all pairs of probe points, across modalities and stages.

    `values[i][j]` is for `points[i]`, `points[j]`; `names` say what they are ("stage 3 rgb"). `channels`: sets with
    more channels were projected at random onto so many directions (None: none was). `p`: share of permutations of the
    images (of a sample of them) that are at least as similar, the real order counted; `bound`: what 95 % of the
    permutations do not exceed. Both empty where no permutation was made.
    """

    measure: str
    view: str
    n: int
    points: list[str]
    names: list[str]
    values: list[list[float | None]]
    channels: int | None = None
    p: list[list[float | None]] = field(default_factory=list)
    bound: list[list[float | None]] = field(default_factory=list)


def thinned(maps: Tensor, positions: int) -> Tensor:
    """Every s-th row and column of maps (B, C, H, W), s the smallest step that leaves at most `positions`; a copy.

    >>> thinned(torch.zeros(1, 2, 60, 80), 1024).shape
    torch.Size([1, 2, 20, 27])
    """
    height, width = maps.shape[-2:]
    step = 1
    while -(-height // step) * -(-width // step) > positions:
        step += 1
    top, left = (height - 1) % step // 2, (width - 1) % step // 2
    return maps[..., top::step, left::step].contiguous() if step > 1 else maps.clone()


def some(ids: Sequence[str]) -> str:
    """The images of a batch for a message.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(map(str, ids[:3])) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


def number(value: float | Tensor) -> float | None:
    """A float, None for NaN and infinities."""
    value = float(value)
    return value if -torch.inf < value < torch.inf else None


def numbers(values: Tensor) -> list[float | None]:
    """(N,) -> floats, None for NaN."""
    return [number(v) for v in values.tolist()]
