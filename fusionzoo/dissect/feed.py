"""One pass over the data: checks each batch, runs the model under every condition, and feeds the tally."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.absence import CONSTANT, substitute
from fusionzoo.dissect.masks import Source
from fusionzoo.dissect.plan import OTHER, Pass, Split, Task
from fusionzoo.dissect.tally import Tally
from fusionzoo.dissect.taps import AllHeard, Taps, some
from fusionzoo.errors import CheckFailed
from fusionzoo.probes import listen

__all__ = ["Feeder", "needs_others", "normalised", "predict_labels", "unwrapped"]

Pair = tuple[Tensor, Tensor]


def unwrapped(model: nn.Module) -> Any:
    """What torch.compile or DistributedDataParallel wraps."""
    model = getattr(model, "_orig_mod", model)
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def normalised(model: nn.Module, batch: dict[str, Any]) -> Pair:
    """rgb and x of a batch as the model takes them, on its device."""
    first = next(itertools.chain(model.parameters(), model.buffers()), None)
    device = torch.device("cpu") if first is None else first.device
    rgb, x = unwrapped(model).preprocess(batch["rgb"].to(device), batch["x"].to(device))
    return rgb, x


def needs_others(current: Pass, absence: str) -> bool:
    """Whether the pass feeds modalities of other images: then it goes through them in the order of `Split.cycle`."""
    conditions = set(current.conditions)
    return bool(conditions & set(OTHER)) or (absence == "permute" and conditions != {"both"})


class Feeder:
    """Adds batches to the sums of the tally's current pass.

    Args:
        model: in eval mode.
        grid: (H, W) of the concept masks.
        data: what the samples are of.
        absence: what stands for an absent modality, see absence.py.
        seed: of the noise policy.
    """

    def __init__(
        self,
        model: nn.Module,
        tally: Tally,
        split: Split,
        grid: tuple[int, int],
        data: Any,
        absence: str = "mean",
        seed: int = 0,
    ) -> None:
        self.model, self.tally, self.split, self.grid, self.data = model, tally, split, grid, data
        self.absence, self.seed = absence, seed
        self.current = tally.current
        self.others = needs_others(self.current, absence)
        self.taps: Taps | None = None
        self._nothing: dict[tuple[int, ...], Tensor] = {}

    @contextmanager
    def listening(self) -> Iterator[Feeder]:
        """Listens at the probes of the pass, from its first batch to its last."""
        points = list(dict.fromkeys(p for task in self.current.tasks for p in task.points))
        if not points:
            yield self
            return
        with listen(self.model, dict.fromkeys(points, self._hear)):
            yield self

    def _hear(self, name: str, value: Tensor) -> None:
        if self.taps is not None:
            self.taps.take(name, value)

    def feed(self, samples: list[dict[str, Any]], places: Sequence[int]) -> None:
        """Checks, stacks and feeds; samples of different sizes go in runs of one size.

        Args:
            samples: one for each place; where the pass needs others, one more: the image after the last.
            places: number of each image in the run; decides its role and its groups.

        Raises:
            InputError: unusable samples.
            CheckFailed: logits or features that are not finite.
        """
        samples = [checked(sample, self.data) for sample in samples]
        others = samples[1:] if self.others else samples
        triples = list(zip(samples, others, places, strict=False))
        assert len(triples) == len(places)
        for _, same in itertools.groupby(triples, lambda t: (t[0]["rgb"].shape, t[0]["label"].shape)):
            run = list(same)
            self._feed([s for s, _, _ in run], [o for _, o, _ in run], [p for _, _, p in run])

    def _feed(self, samples: list[dict[str, Any]], others: list[dict[str, Any]], places: list[int]) -> None:
        batch = collate(samples)
        here = normalised(self.model, batch)
        there = self._normalised_others(others, here) if self.others else None
        for condition in self.current.conditions:
            matrix = self.tally.active.get(Task("confusion", condition=condition).key)
            if matrix is None and condition != "both":  # concepts without a modality, on held-out images alone
                held = [i for i, place in enumerate(places) if self.split.role(place) == "held"]
                part = {k: v[held] if isinstance(v, Tensor) else [v[i] for i in held] for k, v in batch.items()}
                one, two = (None if p is None else (p[0][held], p[1][held]) for p in (here, there))
                if one is not None and held:
                    self._logits(condition, one, two, part, [places[i] for i in held], unscored=True)
                continue
            label = batch["label"].to(here[0].device)
            if condition == "none" and self.absence in CONSTANT:
                predictions = self._of_nothing(here, label).expand_as(label)
            else:
                logits = self._logits(condition, here, there, batch, places, unscored=matrix is None)
                if logits is None or matrix is None:
                    continue
                predictions = torch.cat([predict_labels(each, label.shape[-2:]) for each in logits.split(1)])
            if matrix is not None:
                for i, place in enumerate(places):
                    group = self.split.group(place, self.tally.settings.segmentation_groups)
                    matrix.update(predictions[i : i + 1], label[i : i + 1], group)

    def _logits(
        self,
        condition: str,
        here: Pair,
        there: Pair | None,
        batch: dict[str, Any],
        places: list[int],
        *,
        unscored: bool,
    ) -> Tensor | None:
        """The model's output under a condition, the probes heard; None where the forward pass was ended at the last."""
        inputs = self._inputs(condition, here, there, places)
        source = Source(batch, self.tally.settings, here[0].device)
        taps = Taps(self.tally, source, places, self.split, self.grid, batch["id"], unscored, condition)
        self.taps = taps if taps.tasks else None
        try:
            logits: Tensor | None = self.model(*inputs)
        except AllHeard:
            logits = None
        finally:
            self.taps = None
        taps.finish()
        if logits is not None and not bool(torch.isfinite(logits).all()):
            raise CheckFailed(f"the model's output ({condition}) is not finite for {some(batch['id'])}")
        return logits

    def _inputs(
        self, condition: str, here: Pair, there: Pair | None, places: Sequence[int]
    ) -> tuple[Tensor | None, Tensor | None]:
        """(rgb, x) of a condition; None, the model's declared substitute, for one modality under "mean"."""
        given: list[Tensor | None] = list(here)
        for i, stream in enumerate(("rgb", "x")):
            other = None if there is None else there[i]
            if condition == f"other_{stream}":
                given[i] = other
            elif condition == f"no_{stream}" and self.absence == "mean":
                given[i] = None
            elif condition in (f"no_{stream}", "none"):
                preprocess = unwrapped(self.model).preprocess
                given[i] = substitute(self.absence, stream, here[i], places, preprocess, other, self.seed)
        return given[0], given[1]

    def _normalised_others(self, others: list[dict[str, Any]], here: Pair) -> Pair:
        """rgb and x of the other images, resized where theirs are of another size."""
        if all(o["rgb"].shape == others[0]["rgb"].shape for o in others):
            made = [normalised(self.model, {k: torch.stack([o[k] for o in others]) for k in ("rgb", "x")})]
        else:
            made = [normalised(self.model, {k: o[k][None] for k in ("rgb", "x")}) for o in others]
        size = here[0].shape[-2:]
        rgb, x = ([p[i] for p in made] for i in (0, 1))
        fit = lambda v: v if v.shape[-2:] == size else F.interpolate(v, size, mode="bilinear", align_corners=False)  # noqa: E731
        return torch.cat([fit(v) for v in rgb]), torch.cat([fit(v) for v in x])

    def _of_nothing(self, here: Pair, label: Tensor) -> Tensor:
        """(1, Hl, Wl) prediction without any modality: the same for all images of a size, worked out once."""
        size = (*here[0].shape[-2:], *label.shape[-2:])
        if size not in self._nothing:
            logits = self.model(*self._inputs("none", (here[0][:1], here[1][:1]), None, [0]))
            if not bool(torch.isfinite(logits).all()):
                raise CheckFailed("the model's output (none) is not finite")
            self._nothing[size] = predict_labels(logits, label.shape[-2:])
        return self._nothing[size]


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
    if tuple(logits.shape[2:]) == tuple(size):
        return logits.max(1).indices
    logits = logits.float()
    high, low = logits, logits  # of each 2x2 window; far faster by shifted views than by max_pool2d
    for axis, n in ((2, logits.shape[2] - 1), (3, logits.shape[3] - 1)):
        if n > 0:
            high = torch.maximum(high.narrow(axis, 0, n), high.narrow(axis, 1, n))  # (1, K, h - 1, w - 1)
            low = torch.minimum(low.narrow(axis, 0, n), low.narrow(axis, 1, n))
    bar = low.amax(1, keepdim=True)
    bar = bar - 1e-5 * logits.abs().amax()  # rounding of the interpolation
    able = (high >= bar).any(dim=3).any(dim=2)[0].nonzero()[:, 0]  # classes, ascending
    up = F.interpolate(logits[:, able], size=tuple(size), mode="bilinear", align_corners=False)
    return able[up.max(1).indices]  # the first of equals, as argmax; three times as fast
