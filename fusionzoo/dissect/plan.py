"""What must run over the data, and in how many passes: a plan made before the first image is read.

A `Task` is one accumulator: what it is fed (probe points, under which condition, from which images) and which other
tasks must be complete before it can start. A task runs in the first pass in which all that it needs is known, so the
number of passes is the longest chain of needs, the fewest possible. With everything on there are three:

1. scores of all conditions, moments (similarity, commonality), channel health, activation quantiles (which give the
   binarisation thresholds);
2. concept statistics on the training images (which give the concept weights);
3. concept curves on all images (thresholds calibrated on the training images, set IoU on the others).

Images are cut into blocks of neighbours (video frames, one room) that stay together. Every second block is held out for
the concept IoU; the training blocks are dealt to two disjoint halves, which give the noise floor of semantic variance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from fusionzoo.errors import InputError, unknown

__all__ = [
    "ABSENT",
    "CONDITIONS",
    "EXTRA",
    "FITS",
    "METRICS",
    "OTHER",
    "STREAMS",
    "Pass",
    "Plan",
    "Split",
    "Task",
    "all_points",
    "make_plan",
    "solved_by",
]

METRICS = ("segmentation", "contribution", "cka", "similarity", "concepts", "health")
"""What `dissect(metrics=...)` can be asked for. "similarity" comes with commonality, and with "cka"; semantic variance
and concept agreement come with "concepts"."""

EXTRA = ("concept_contribution",)
"""What is measured only when asked for: it costs forward passes without each modality on the held-out images."""

ABSENT = ("both", "no_rgb", "no_x", "none")
OTHER = ("other_rgb", "other_x")
CONDITIONS = ABSENT + OTHER
"""What the model is given. "no_rgb": rgb absent; "none": both absent; "other_rgb": rgb of another image."""

STREAMS = ("rgb", "x", "fused")
FITS = ("full", "half0", "half1")
"""Concept weights solved on all training images, and on each of the two disjoint halves."""

VIEWS = ("gap", "pix")


@dataclass(frozen=True)
class Task:
    """One accumulator of the plan.

    Args:
        kind: "confusion", "cka", "moments", "matrix", "rows", "health", "gate", "quantiles", "statistics",
            "curve" or "vectors".
        points: the probe points it reads; none: the logits.
        condition: one of CONDITIONS.
        variant: the view, where samples are compared; the training half of "statistics"; the fit of a "curve".
        needs: keys of the tasks that must be complete before.
    """

    kind: str
    points: tuple[str, ...] = ()
    condition: str = "both"
    variant: str = ""
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name in saved states: unique in a plan."""
        return "/".join((self.kind, self.condition, "+".join(self.points) or "logits", self.variant or "-"))

    @property
    def roles(self) -> frozenset[str]:
        """Roles of the images it reads (see `Split.role`)."""
        if self.kind == "statistics":
            return frozenset({self.variant})
        if self.kind == "vectors" or (self.kind == "curve" and self.condition != "both"):
            return frozenset({"held"})
        if self.kind == "curve":
            return frozenset({"half0", "half1", "held"} if self.variant == "full" else {self.variant, "held"})
        return frozenset({"half0", "half1", "held"})


@dataclass(frozen=True)
class Pass:
    """The tasks that share one run over the data."""

    tasks: tuple[Task, ...]

    @property
    def conditions(self) -> tuple[str, ...]:
        """Forward passes a batch needs, in the order of CONDITIONS."""
        return tuple(c for c in CONDITIONS if any(t.condition == c for t in self.tasks))

    @property
    def roles(self) -> frozenset[str]:
        """Roles of the images that must be read."""
        return frozenset().union(*(t.roles for t in self.tasks))


@dataclass(frozen=True)
class Plan:
    """The passes, first to last."""

    passes: tuple[Pass, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(t for p in self.passes for t in p.tasks)


@dataclass(frozen=True)
class Split:
    """Deals images to roles and to jackknife groups by their index alone, so that every process deals alike.

    Args:
        n: images in all.
        block: neighbours that stay together.

    >>> split = Split.of(8)
    >>> [split.role(i) for i in range(5)]
    ['half0', 'held', 'half1', 'held', 'half0']
    """

    n: int
    block: int

    @classmethod
    def of(cls, n: int, block: int = 8) -> Split:
        """Blocks shrink for small data, so that each role gets at least four blocks from 16 images on."""
        return cls(n, max(1, min(block, n // 16)))

    def role(self, index: int) -> str:
        """ "held" (concept IoU is measured there), or the training half "half0" or "half1"."""
        return ("half0", "held", "half1", "held")[index // self.block % 4]

    def group(self, index: int, groups: int) -> int:
        """Jackknife group 0..groups-1. Held-out blocks alone, and all blocks together, fill the groups evenly."""
        return index // self.block // 2 % groups

    def indices(self, roles: Iterable[str]) -> list[int]:
        """Images with one of `roles`, ascending."""
        wanted = set(roles)
        return [i for i in range(self.n) if self.role(i) in wanted]

    def cycle(self, seed: int = 0) -> list[int]:
        """All images in one order drawn from `seed`. Where a modality is permuted, each image gets it from the one that
        follows, the last from the first: never its own, and the same whatever the batches and processes.

        >>> Split.of(5).cycle()
        [4, 0, 1, 3, 2]
        """
        order: list[int] = torch.randperm(self.n, generator=torch.Generator().manual_seed(seed)).tolist()
        return order


def make_plan(
    metrics: Sequence[str] | None,
    levels: Mapping[int, Mapping[str, str]],
    health: Sequence[str] = (),
    *,
    binarise: bool = True,
    permuted: bool = True,
    uneven: Collection[int] = (),
    gates: Sequence[str] = (),
) -> Plan:
    """The plan for the chosen `metrics` (all by default).

    Args:
        metrics: some of METRICS and EXTRA.
        levels: level -> {"rgb" | "x" | "fused": probe name}, as `FusionModel.levels`.
        health: probe points whose health is measured.
        binarise: concepts from binarised activations (needs quantiles first) instead of raw ones.
        permuted: "contribution" also runs with each modality of another image (perceptual score).
        gates: those of `health` that are gates.
        uneven: levels whose maps differ in size: compared by images only, not by positions.

    Raises:
        UnknownNameError: a metric that does not exist.
        InputError: nothing to do.

    >>> levels = {1: {"rgb": "stage1.rgb", "x": "stage1.x"}}
    >>> [len(make_plan(m, levels).passes) for m in (None, ["segmentation", "cka"], ["concepts"])]
    [3, 1, 3]
    """
    wanted = METRICS if metrics is None else tuple(metrics)
    for name in wanted:
        if name not in METRICS + EXTRA:
            raise unknown("metric", name, METRICS + EXTRA)
    tasks: list[Task] = []
    if {"contribution", "concept_contribution"} & set(wanted):
        tasks += [Task("confusion", condition=c) for c in ABSENT + (OTHER if permuted else ())]
    elif "segmentation" in wanted:
        tasks += [Task("confusion", condition=c) for c in ABSENT[:3]]
    for level, at in levels.items():
        views = VIEWS[:1] if level in uneven else VIEWS
        points = tuple(at[s] for s in STREAMS if s in at)
        if "similarity" in wanted and len(points) > 1:
            tasks += [Task("moments", points, variant=view) for view in views]
        elif "cka" in wanted and "rgb" in at and "x" in at:
            tasks += [Task("cka", points[:2], variant=view) for view in views]
    if "similarity" in wanted:
        named = all_points(levels)
        if len(named) > 1:
            tasks += [Task(kind, tuple(named), variant="gap") for kind in ("matrix", "rows")]
    if "health" in wanted:
        tasks += [Task("health", (point,)) for point in health]
        tasks += [Task("gate", (point,)) for point in gates]
    if {"concepts", "concept_contribution"} & set(wanted):
        every = tuple(all_points(levels))
        for point in every:
            tasks += _concept_tasks(point, binarise)
        if len(every) > 1:
            tasks.append(Task("vectors", every, needs=tuple(key for p in every for key in solved_by(p))))
    if "concept_contribution" in wanted:
        fused = [at["fused"] for at in levels.values() if "fused" in at]
        tasks += [Task("curve", (p,), c, FITS[0], solved_by(p)) for p in fused for c in ABSENT[1:]]
    if not tasks:
        raise InputError(f"nothing to dissect: the model has no probe points for {', '.join(wanted) or 'no metric'}")
    return Plan(_passes(list(dict.fromkeys(tasks))))


def all_points(levels: Mapping[int, Mapping[str, str]]) -> dict[str, str]:
    """Probe point -> what it is ("stage 2 rgb"), levels rising, each point once.

    >>> all_points({2: {"rgb": "b", "fused": "c"}, 1: {"rgb": "a"}})
    {'a': 'stage 1 rgb', 'b': 'stage 2 rgb', 'c': 'stage 2 fused'}
    """
    named: dict[str, str] = {}
    for level in sorted(levels):
        for stream in (s for s in STREAMS if s in levels[level]):
            named.setdefault(levels[level][stream], f"stage {level} {stream}")
    return named


def _concept_tasks(point: str, binarise: bool) -> list[Task]:
    first = [Task("quantiles", (point,))] if binarise else []
    needs = tuple(t.key for t in first)
    statistics = [Task("statistics", (point,), variant=half, needs=needs) for half in FITS[1:]]
    return first + statistics + [Task("curve", (point,), variant=fit, needs=solved_by(point, fit)) for fit in FITS]


def solved_by(point: str, fit: str = FITS[0]) -> tuple[str, ...]:
    """Keys of the statistics that give a point's concept weights."""
    halves = FITS[1:] if fit == FITS[0] else (fit,)
    return tuple(Task("statistics", (point,), variant=half).key for half in halves)


def _passes(tasks: Sequence[Task]) -> tuple[Pass, ...]:
    """Each task in the earliest pass that its needs allow."""
    number: dict[str, int] = {}
    for task in tasks:  # needs come before those that need them
        number[task.key] = 1 + max((number[key] for key in task.needs), default=-1)
    count = 1 + max(number.values())
    return tuple(Pass(tuple(t for t in tasks if number[t.key] == i)) for i in range(count))
