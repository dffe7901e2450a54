"""One batch: checks it, runs the model under each condition, reduces what passes the probes into the tally at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.plan import Split, Task
from fusionzoo.dissect.tally import Tally
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.metrics import concept_masks
from fusionzoo.probes import listen

__all__ = ["feed", "feed_samples", "normalised", "predict_labels", "unwrapped"]


def unwrapped(model: nn.Module) -> Any:
    """What torch.compile or DistributedDataParallel wraps."""
    model = getattr(model, "_orig_mod", model)
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def normalised(model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    device = torch.device("cpu") if first is None else first.device
    rgb, x = unwrapped(model).preprocess(batch["rgb"].to(device), batch["x"].to(device))
    return rgb, x


def feed_samples(
    model: nn.Module,
    tally: Tally,
    samples: list[dict[str, Any]],
    places: Sequence[int],
    split: Split,
    grid: tuple[int, int],
    data: Any,
) -> None:
    """Checks, stacks and feeds; samples of different sizes go in runs of one size."""
    pairs = [(checked(sample, data), place) for sample, place in zip(samples, places, strict=True)]
    for _, same in itertools.groupby(pairs, lambda p: (p[0]["rgb"].shape, p[0]["label"].shape)):
        run = list(same)
        feed(model, tally, collate([s for s, _ in run]), [p for _, p in run], split, grid)


def feed(
    model: nn.Module,
    tally: Tally,
    batch: dict[str, Any],
    places: Sequence[int],
    split: Split,
    grid: tuple[int, int],
) -> None:
    """Adds one batch to the sums of the tally's current pass.

    Args:
        model: in eval mode.
        batch: rgb (B, 3, H, W), x (B, Cx, H, W), label (B, Hl, Wl), ids, as `fusionzoo.data.collate` makes it.
        places: number of each image in the run; decides its role and its groups.
        grid: (H, W) of the concept masks.

    Raises:
        CheckFailed: logits or features that are not finite.
    """
    rgb, x = normalised(model, batch)
    label = batch["label"].to(rgb.device)
    current = tally.current
    taps = _Taps(tally, label, places, split, grid, batch["id"])
    for condition in current.conditions:
        listeners = taps.listeners() if condition == "both" else {}
        taps.stop_early = condition == "both" and not any(t.kind == "confusion" for t in current.tasks)
        try:
            with listen(model, listeners) if listeners else nullcontext():
                logits = model(None if condition == "no_rgb" else rgb, None if condition == "no_x" else x)
        except _AllHeard:
            continue
        if not bool(torch.isfinite(logits).all()):
            raise CheckFailed(f"the model's output ({condition}) is not finite for {_some(batch['id'])}")
        matrix = tally.active.get(Task("confusion", condition=condition).key)
        if matrix is not None:
            for i, place in enumerate(places):
                prediction = predict_labels(logits[i : i + 1], label.shape[-2:])
                group = split.group(place, tally.settings.segmentation_groups)
                matrix.update(prediction, label[i : i + 1], group)  # type: ignore[attr-defined]


def predict_labels(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Arg max over classes of logits (1, K, h, w) after bilinear upsampling to `size` (align_corners=False).

    Interpolation only averages four neighbours, so a class wins nowhere if, in every 2x2 window of the logits, its
    largest value lies below another class's smallest. Such classes (most of 40) are left out before the upsampling;
    the result is that of the whole computation.

    Returns:
        (1, H, W) int64.

    >>> logits = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[-9.0, -9.0]]]])
    >>> predict_labels(logits, (1, 4))
    tensor([[[0, 0, 1, 1]]])
    """
    window = (min(2, logits.shape[2]), min(2, logits.shape[3]))
    high = F.max_pool2d(logits, window, stride=1)  # (1, K, h - 1, w - 1)
    low = -F.max_pool2d(-logits, window, stride=1)
    bar = low.amax(1, keepdim=True)
    bar = bar - 1e-5 * logits.abs().amax()  # rounding of the interpolation
    able = (high >= bar).any(dim=3).any(dim=2)[0].nonzero()[:, 0]  # classes, ascending
    up = F.interpolate(logits[:, able], size=tuple(size), mode="bilinear", align_corners=False)
    return able[up.max(1).indices]  # the first of equals, as argmax; three times as fast


def _some(ids: Sequence[str]) -> str:
    return ", ".join(map(str, ids[:3])) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


class _AllHeard(Exception):
    """Ends a forward pass whose logits nobody wants, once every probe that is listened at has fired."""


class _Taps:
    """What listens at the probes for one batch: hands each live tensor to the accumulators of the pass."""

    def __init__(
        self,
        tally: Tally,
        label: Tensor,
        places: Sequence[int],
        split: Split,
        grid: tuple[int, int],
        ids: Sequence[str],
    ) -> None:
        self.tally = tally
        self.label = label
        self.grid = grid
        self.ids = ids
        self.roles = [split.role(place) for place in places]
        self.groups = torch.tensor([split.group(place, tally.settings.concept_groups) for place in places])
        self.masks: dict[tuple[str, tuple[int, int]], tuple[Tensor, Tensor]] = {}
        self.waiting: dict[str, Tensor] = {}
        self.stop_early = False
        self.tasks: dict[str, list[Task]] = {}
        for task in tally.current.tasks:
            for point in task.points:
                self.tasks.setdefault(point, []).append(task)
        self.unheard = set(self.tasks)

    def listeners(self) -> dict[str, Callable[[str, Tensor], None]]:
        return dict.fromkeys(self.tasks, self.take)

    def take(self, name: str, value: Tensor) -> None:
        value = value.detach()
        try:
            for task in self.tasks[name]:
                getattr(self, f"_{task.kind}")(task, name, value)
        except InputError as error:
            raise CheckFailed(f"{name}, images {_some(self.ids)}: {error}") from error
        self.unheard.discard(name)
        if self.stop_early and not self.unheard:
            raise _AllHeard

    def _health(self, task: Task, name: str, value: Tensor) -> None:
        self.tally.sums[task.key].update(value)  # type: ignore[attr-defined]

    _quantiles = _health

    def _cka(self, task: Task, name: str, value: Tensor) -> None:
        other = next(p for p in task.points if p != name)
        if other not in self.waiting:
            if name not in self.waiting:
                self.waiting[name] = value.clone()  # a later in-place operation must not reach it
            return
        pair = (self.waiting[other], value) if task.points[0] == other else (value, self.waiting[other])
        self.tally.sums[task.key].update(*pair)  # type: ignore[attr-defined]

    def _statistics(self, task: Task, name: str, value: Tensor) -> None:
        mine = [i for i, role in enumerate(self.roles) if role in task.roles]
        if mine:
            masks, valid = self._masks("area", (value.shape[2], value.shape[3]))
            self.tally.sums[task.key].update(value[mine], masks[mine], valid[mine])  # type: ignore[attr-defined]

    def _curve(self, task: Task, name: str, value: Tensor) -> None:
        mine = [i for i, role in enumerate(self.roles) if role in task.roles]
        if not mine:
            return
        masks, valid = self._masks("nearest", self.grid)
        scores = self.tally.weights[task.key].score(value[mine], self.grid)
        train = torch.tensor([self.roles[i] != "held" for i in mine])
        group = self.groups[mine] if task.variant == "full" else 0
        self.tally.sums[task.key].update(scores, masks[mine], valid[mine], train=train, group=group)  # type: ignore[attr-defined]

    def _masks(self, mode: str, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Concept masks and validity of the batch, made once for each size."""
        if mode == "area" and any(a > b for a, b in zip(size, self.label.shape[-2:], strict=True)):
            mode = "nearest"  # maps finer than the labels: each cell lies within one label pixel
        if (mode, size) not in self.masks:
            settings = self.tally.settings
            self.masks[mode, size] = concept_masks(self.label, settings.num_classes, size, settings.ignore_index, mode)
        return self.masks[mode, size]
