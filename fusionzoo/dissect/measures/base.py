"""The contract of a measure: which probe points it reads, under which condition, after which others, into which sums.

A `Measure` is one accumulator of a run, in the first pass in which all that it needs is complete. A `Metric` is what
`dissect(metrics=...)` can be asked for: the measures it plans, and how their complete sums become a result of one type.
What is fed is reduced at once: nothing of a data set is held but one batch and the sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.effects import Scores
from fusionzoo.dissect.masks import Source, inside
from fusionzoo.dissect.measures.setup import PAIRS, STREAMS, Mixture, PointInfo, Setup
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
    """One accumulator of a run. It is fed by `hear`, `predicted` or `finish`.

    Args:
        points: the probe points it reads; none: the model's predictions.
        condition: what the model is given meanwhile.
        variant: tells measures of one kind at the same points apart: a view, a training half, a fit.
    """

    points: tuple[str, ...] = ()
    condition: Condition = Condition.BOTH
    variant: str = ""

    kind: ClassVar[str]
    masked: ClassVar[bool] = False
    """Whether it needs the concept masks of the images."""

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
        logits: (B, K, h, w) of the model, once it has predicted; None where all images share one prediction.
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
    logits: Tensor | None = None

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
            maps = self.inside(value)
            whole = view == "gap"
            self.rows[point, view] = as_samples(maps, "gap") if whole else thinned(maps, self.done.setup.positions)

    def inside(self, maps: Tensor) -> Tensor:
        """Of maps (B, C, H, W) the positions that lie in the image, not in what the model pads it with."""
        return inside(maps, self.source.extent)


@dataclass(frozen=True)
class Metric:
    """What `dissect(metrics=...)` can be asked for, and the result that comes of it.

    Args:
        name: under which the result stands in a Dissection.
        asked: names by which it is asked for; a name that ends with "?" is measured only when asked for.
        result: type of the result.
        plan: (setup, names asked for) -> measures; those that others need first. None: it is read off other results.
        compute: complete sums -> the result; None where they were not measured.
    """

    name: str
    asked: tuple[str, ...]
    result: Any
    plan: Callable[[Setup, Collection[str]], Sequence[Measure]] | None
    compute: Callable[[Done, Mapping[str, Any]], Any]


@dataclass
class Measured:
    """One number and its jackknife standard error over image groups (None: not known, never zero)."""

    value: float | None
    error: float | None = None


Estimate = Scores
"""A score for all classes together (mIoU) and for each class (IoU), with jackknife standard errors."""


@dataclass
class PairMatrix:
    """One measure between all pairs of probe points, across modalities and stages.

    `values[i][j]` is for `points[i]`, `points[j]`; `names` say what they are ("stage 3 rgb"). `channels`: sets with
    more channels were projected at random onto so many directions (None: none was). `p`, `bound`: see
    `fusionzoo.metrics.similarity.NullTest`, of a sample of the images; empty where no permutation was made.
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


def some(ids: Sequence[str], most: int = 3) -> str:
    """The first of a list for a message, such as the images of a batch.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(map(str, ids[:most])) + (f" and {len(ids) - most} more" if len(ids) > most else "")


def number(value: float | Tensor) -> float | None:
    """A float, None for NaN and infinities."""
    value = float(value)
    return value if -torch.inf < value < torch.inf else None


def numbers(values: Tensor) -> list[float | None]:
    """(N,) -> floats, None for NaN."""
    return [number(v) for v in values.tolist()]
