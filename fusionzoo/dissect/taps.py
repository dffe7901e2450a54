"""What listens at the probes for one batch: hands each live tensor to the accumulators of the pass, reduced at once.

Measures of two or three representations need all of them from one forward pass. What is kept until the last has passed
are its samples alone: per image the channel means (view "gap") and at most `Settings.positions` evenly spaced positions
(view "pix"), not the map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionzoo.dissect.masks import Source
from fusionzoo.dissect.plan import FITS, Split, Task
from fusionzoo.dissect.tally import Tally
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.metrics.base import as_samples
from fusionzoo.metrics.concepts.statistics import stack_weights

__all__ = ["AllHeard", "Taps", "some", "thinned"]

TOGETHER = ("cka", "moments", "matrix", "rows")
"""Kinds of tasks that need several points of one forward pass."""


class AllHeard(Exception):
    """Ends a forward pass whose logits nobody wants, once every probe that is listened at has fired."""


def some(ids: Sequence[str]) -> str:
    """The images of a batch for a message.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    return ", ".join(map(str, ids[:3])) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


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


def _rows(values: Tensor, mine: Sequence[int]) -> Tensor:
    return values if len(mine) == len(values) else values[list(mine)]


class Taps:
    """Listens during one forward pass.

    Args:
        tally: its current pass is fed.
        source: of the concept masks of the batch.
        places: number of each image in the run; decides its role and its groups.
        grid: (H, W) of the concept masks.
        ids: of the images, for messages.
        condition: what the model is given; only tasks of that condition listen.
        stop_early: end the forward pass with `AllHeard` at the last probe.
    """

    def __init__(
        self,
        tally: Tally,
        source: Source,
        places: Sequence[int],
        split: Split,
        grid: tuple[int, int],
        ids: Sequence[str],
        stop_early: bool = False,
        condition: str = "both",
    ) -> None:
        self.tally = tally
        self.source = source
        self.places = places
        self.split = split
        self.grid = grid
        self.ids = ids
        self.stop_early = stop_early
        self.scores: dict[str, Tensor] = {}
        self.roles = [split.role(place) for place in places]
        self.rows: dict[tuple[str, str], Tensor] = {}
        self.tasks: dict[str, list[Task]] = {}
        self.current = [t for t in tally.current.tasks if t.condition == condition]
        for task in self.current:
            for point in task.points:
                self.tasks.setdefault(point, []).append(task)
        self.unheard = set(self.tasks)

    def take(self, name: str, value: Tensor) -> None:
        """Called by the probe `name` with what passes it."""
        if name not in self.tasks:
            return
        value = value.detach()
        try:
            for task in self.tasks[name]:
                if task.kind in TOGETHER:
                    self._keep(name, value, task.variant)
                elif task.kind not in ("curve", "vectors"):
                    getattr(self, f"_{task.kind}")(task, value)
            self._curves([t for t in self.tasks[name] if t.kind == "curve"], value)
        except InputError as error:
            raise CheckFailed(f"{name}, images {some(self.ids)}: {error}") from error
        self.unheard.discard(name)
        if self.stop_early and not self.unheard:
            raise AllHeard

    def finish(self) -> None:
        """Adds what needs several points; called when the forward pass is over."""
        for task in self.current:
            if task.kind == "vectors":
                self._vectors(task)
            if task.kind not in TOGETHER:
                continue
            rows = [self.rows[point, task.variant] for point in task.points]
            sums = self.tally.sums[task.key]
            try:
                if task.kind == "cka":
                    sums.update(*rows)
                elif task.kind in ("matrix", "rows"):
                    narrow = [self._narrow(point, r) for point, r in zip(task.points, rows, strict=True)]
                    keys = [torch.tensor(self.places)] if task.kind == "rows" else []
                    sums.update(*keys, *narrow)
                else:
                    for group, mine in self._by_group(len(sums.parts)).items():
                        sums.update(*(r[mine] for r in rows), group=group)
            except InputError as error:
                raise CheckFailed(f"{', '.join(task.points)}, images {some(self.ids)}: {error}") from error
        self.rows = {}

    def _by_group(self, groups: int) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for i, place in enumerate(self.places):
            found.setdefault(self.split.group(place, groups), []).append(i)
        return found

    def _keep(self, name: str, value: Tensor, view: str) -> None:
        if (name, view) not in self.rows:
            rows = as_samples(value, "gap") if view == "gap" else thinned(value, self.tally.settings.positions)
            self.rows[name, view] = rows

    def _narrow(self, name: str, rows: Tensor) -> Tensor:
        projection = self.tally.projections.get(name)
        return rows if projection is None else rows @ projection.to(rows.device)

    def _health(self, task: Task, value: Tensor) -> None:
        self.tally.sums[task.key].update(value)

    _quantiles = _gate = _health

    def _statistics(self, task: Task, value: Tensor) -> None:
        mine = self._mine(task)
        if mine:
            masks, valid = self.source.on("area", (value.shape[2], value.shape[3]))
            self.tally.sums[task.key].update(*(_rows(v, mine) for v in (value, masks, valid)))

    def _curves(self, tasks: Sequence[Task], value: Tensor) -> None:
        """All fits of a point: scored together, at the map's own size (a curve upsamples what it counts)."""
        tasks = [t for t in tasks if not t.roles.isdisjoint(self.roles)]
        if not tasks:
            return
        masks, valid = self.source.on("nearest", self.grid)
        scores = stack_weights([self.tally.weights[t.key] for t in tasks]).score(value)
        for task, own in zip(tasks, scores.chunk(len(tasks), dim=1), strict=True):
            mine = self._mine(task)
            train = torch.tensor([self.roles[i] != "held" for i in mine])
            groups = self.tally.settings.concept_groups if task.variant == FITS[0] else 1
            group = torch.tensor([self.split.group(self.places[i], groups) for i in mine])
            rows = [_rows(v, mine) for v in (own, masks, valid)]
            self.tally.sums[task.key].update(*rows, train=train, group=group)
            if task.variant == FITS[0]:
                self.scores.setdefault(task.points[0], own)

    def _vectors(self, task: Task) -> None:
        """Scores of the held-out images at all points, on a grid half as fine as that of the masks."""
        held = self._mine(task)
        if held:
            size = (max(1, self.grid[0] // 2), max(1, self.grid[1] // 2))
            valid = _rows(self.source.on("nearest", size)[1], held)
            scores = [_rows(self.scores[p], held) for p in task.points]
            self.tally.sums[task.key].update(*scores, valid=valid, size=size)

    def _mine(self, task: Task) -> list[int]:
        """Images of the batch that the task reads."""
        return [i for i, role in enumerate(self.roles) if role in task.roles]
