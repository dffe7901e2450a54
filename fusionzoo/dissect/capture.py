"""What the probes and the predictions of one pass over the data give, handed to the measures at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.dissect.conditions import CONSTANT, Condition, Images, Reader, normalised, others, subsets, unwrapped
from fusionzoo.dissect.masks import Source, extent_of
from fusionzoo.dissect.measures.base import Batch, Done, Measure, some
from fusionzoo.dissect.split import ROLES, Split
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.models import predict_labels
from fusionzoo.probes import listen, probe_points

__all__ = ["Capture", "lend", "shapes_passed"]


class AllHeard(Exception):
    """Ends a forward pass whose logits nobody wants, once every probe that is listened at has fired."""


def lend(conditions: Sequence[Condition], absence: str) -> bool:
    """Whether images lend each other modalities: then a pass goes through them in the order of `Split.cycle`."""
    return any(c.lends for c in conditions) or (absence == "permute" and any(c != "both" for c in conditions))


def shapes_passed(model: nn.Module, batch: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Probe -> shape of the floating tensor that passes it in a forward pass; probes that nothing passes are left out.

    Raises:
        InputError: logits of another number of classes than the model names.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: Tensor) -> None:
        if value.is_floating_point():
            shapes[name] = tuple(value.shape)

    def run(names: Sequence[str]) -> None:
        with listen(model, dict.fromkeys(names, note)):
            logits = model(*normalised(model, batch))
        count = len(unwrapped(model).class_names)
        if logits.shape[1] != count:
            raise InputError(f"the model names {count} classes, its logits have {logits.shape[1]}")

    names = list(probe_points(model))
    try:
        run(names)
    except InputError:  # some probes are out of this model's path; look at those that fired
        if not shapes or len(shapes) == len(names):
            raise
        run(list(shapes))
    return shapes


class Capture:
    """Runs the model on batches under every condition that the measures of a pass ask for, and feeds them.

    `done` holds their accumulators; `grid`: (H, W) of the concept masks.
    """

    def __init__(
        self, reader: Reader, done: Done, measures: Sequence[Measure], split: Split, grid: tuple[int, int]
    ) -> None:
        self.reader, self.done, self.measures, self.split, self.grid = reader, done, measures, split, grid
        names = done.setup.inputs
        every = (*subsets(names), *others(names))
        self.conditions = [c for c in every if any(m.condition == c for m in measures)]
        self.batch: Batch | None = None
        self.unheard: set[str] = set()
        self.stop_early = False
        self._nothing: dict[tuple[int, ...], Tensor] = {}

    @contextmanager
    def listening(self) -> Iterator[Any]:
        """Listens at the probes of the pass, from its first batch to its last; gives `feed`."""
        points = list(dict.fromkeys(p for measure in self.measures for p in measure.points))
        with listen(self.reader.model, dict.fromkeys(points, self._hear)) if points else nullcontext():
            yield self.feed

    def feed(self, samples: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
        """Every condition on the images; see `Reader.images`. Raises CheckFailed for logits or features that are not
        finite."""
        for images in self.reader.images(samples, places):
            for condition in self.conditions:
                self._under(condition, images)

    def _under(self, condition: Condition, images: Images) -> None:
        measures = [m for m in self.measures if m.condition == condition]
        scored = [m for m in measures if not m.points]
        read = frozenset[str]().union(*(m.roles for m in measures))
        if read != ROLES and condition != Condition.BOTH:  # concepts without a modality, on held-out images alone
            kept = [i for i, place in enumerate(images.places) if self.split.role(place) in read]
            if not kept:
                return
            images = images.only(kept)
        s, device = self.done.setup, images.here[0].device
        extent = extent_of(self.reader.model, images.here[0].shape[-2:])
        source = Source(images.batch, device, s.num_classes, s.ignore_index, s.concepts, extent)
        grid = (round(self.grid[0] * extent[0]), round(self.grid[1] * extent[1]))
        batch = Batch(self.done, measures, self.split, source, grid, images.places, images.batch["id"])
        if condition == Condition.NEITHER and self.reader.absence in CONSTANT and len(scored) == len(measures):
            labels = self._of_nothing(images).expand_as(images.label)
        else:
            logits = self._logits(condition, images, batch, stop_early=not scored)
            if logits is None:
                return
            batch.logits, labels = logits, predict_labels(logits, images.label.shape[-2:])
        for measure in scored:
            measure.predicted(self.done.sums[measure.key], batch, labels, images.label)

    def _logits(self, condition: Condition, images: Images, batch: Batch, *, stop_early: bool) -> Tensor | None:
        """The model's output under a condition, the probes heard; None where the forward pass was ended at the last."""
        self.unheard = {p for measure in batch.measures for p in measure.points}
        self.batch, self.stop_early = (batch if self.unheard else None), stop_early
        try:
            logits: Tensor | None = self.reader.model(*self.reader.inputs(condition, images))
        except AllHeard:
            logits = None
        finally:
            self.batch = None
        for measure in batch.measures:
            with _naming(", ".join(measure.points), batch):
                measure.finish(self.done.sums[measure.key], batch)
        if logits is not None and not bool(torch.isfinite(logits).all()):
            raise CheckFailed(f"the model's output ({condition}) is not finite for {some(batch.ids)}")
        return logits

    def _hear(self, name: str, value: Tensor) -> None:
        """Called by the probe `name` with what passes it."""
        batch = self.batch
        reading = [] if batch is None else [m for m in batch.measures if name in m.points]
        if batch is None or not reading:
            return
        with _naming(name, batch):
            for measure in reading:
                measure.hear(self.done.sums[measure.key], batch, name, value.detach())
        self.unheard.discard(name)
        if self.stop_early and not self.unheard:
            raise AllHeard

    def _of_nothing(self, images: Images) -> Tensor:
        """(1, Hl, Wl) prediction without any modality: the same for all images of a size, worked out once."""
        size = (*images.here[0].shape[-2:], *images.label.shape[-2:])
        if size not in self._nothing:
            logits = self.reader.model(*self.reader.inputs(Condition.NEITHER, images.only([0])))
            if not bool(torch.isfinite(logits).all()):
                raise CheckFailed("the model's output (neither) is not finite")
            self._nothing[size] = predict_labels(logits, images.label.shape[-2:])
        return self._nothing[size]


@contextmanager
def _naming(points: str, batch: Batch) -> Iterator[None]:
    """What a measure refuses fails the check, with the points and the images named."""
    try:
        yield
    except InputError as error:
        raise CheckFailed(f"{points}, images {some(batch.ids)}: {error}") from error
