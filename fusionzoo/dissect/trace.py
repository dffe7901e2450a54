"""Causal tracing: which level of which modality does the prediction rest on?

Formulas. V is mIoU (or the IoU of a class) over all images of the run.

- Ablation at point p: effect = V(clean) - V(value at p replaced). "mean": by the data set's mean of each channel (from
  a first pass); "zero": by zeros; "swap": by what the image half the run away has there; "channels": by the mean in one
  group of channels only; "concept": v - c w.(v - mean) / (w.c) at every position, where c is the covariance of channels
  and concept mask and w the concept's ridge detector on raw channels: what says linearly where the concept is, goes
  (Belrose et al. 2023, for one concept).
- Restoration at p with modality m missing (activation patching; Meng et al. 2022, "Locating and editing factual
  associations in GPT": total effect V(clean) - V(m missing), indirect effect as follows):
  effect = V(m missing, clean value at p put back) - V(m missing). Missing: `model(None, x)`, the model's substitute.

What an edit reaches: all that is computed from the value that the probe passes on, and nothing else.

- `stage{i}.rgb`, "onward": fusion block i, and stages i+1, ... of the rgb stream with their blocks. So ablating or
  restoring a level also does so to the later levels of that stream; what levels before i gave to the decoder stays.
- `stage{i}.fusion.rgb_in`, "fusion": fusion block i alone, so the level by itself. (Where streams interact, the block
  also feeds later stages: "inject" the rgb stream, "exchange" both.)
- `stage{i}.fusion.fused`, "decoder": the decoder's input at that level (and, with "inject", the later rgb stages).
- "stream": all levels of a stream at once, the model's inside view of a missing modality; "input": the input itself.

The ranking compares levels by themselves ("fusion") where the model has such points, else "onward".

Cost: per batch one forward pass for each intervention and one clean one (and one of the other images for "swap"), after
one pass for means. Activations of one batch are held, none across batches. Swap partners lie n // 2 images on, so that
results depend neither on the batch size nor on processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.effects import Trace
from fusionzoo.dissect.engine import chosen_images, evaluating, fitted
from fusionzoo.dissect.feed import normalised
from fusionzoo.dissect.intervention import EDITS, Intervention, interventions
from fusionzoo.dissect.plan import Split
from fusionzoo.dissect.sweep import Stage, Work, batches, count, matrix, sweep
from fusionzoo.dissect.traced import tables
from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics import Accumulator, ConceptStatistics, concept_masks
from fusionzoo.metrics.base import MetricInfo, accumulates
from fusionzoo.probes import Edit, intervene, listen, mean_ablate, only, patch, probe, probe_points, project_out
from fusionzoo.probes import zero as zero_edit

__all__ = ["DEFAULT", "EDITS", "ChannelMean", "erase", "trace"]

DEFAULT = ("mean", "swap", "restore")
RIDGE = 1e-2


def trace(
    model: nn.Module,
    data: Any,
    *,
    edits: Sequence[str] | None = None,
    points: str | Sequence[str] | None = None,
    limit: int | None = None,
    batch_size: int = 8,
    channel_groups: int = 4,
    concepts: Sequence[str] | None = None,
    block: int = 8,
    num_workers: int = 0,
    progress: bool = True,
    state: str | os.PathLike[str] | None = None,
    name: str | None = None,
) -> Trace:
    """Traces what the predictions of `model` on `data` rest on.

    Args:
        model: a FusionModel; it runs in eval mode on the device where it is.
        data: as for `fusionzoo.dissect`.
        edits: some of EDITS; by default DEFAULT (of one image alone without "swap").
        points: probe names or patterns to keep to; by default the points of all levels. Other probes (gates, attention)
            may be named too.
        limit: use that many images, evenly spread over the data.
        batch_size: images for one forward pass; no result depends on it.
        channel_groups: into how many runs of neighbouring channels "channels" cuts a point.
        concepts: classes whose directions "concept" removes; by default all.
        block: neighbouring images that stay together in a jackknife group.
        num_workers: processes that load images.
        progress: show a progress bar on standard error.
        state: a file to save sums in; with the file of a killed run there, the run goes on from it.
        name: how the result names the model.

    Under `torchrun` the processes share the batches, each image once, and all return the same Trace.

    Raises:
        InputError: model and data do not fit, unusable images, nothing to trace, a state file of another run.
        UnknownNameError: unknown edit, class or probe.
        CheckFailed: the model's output is not finite.
    """
    started = time.monotonic()
    kinds = _kinds(DEFAULT if edits is None else edits)
    if batch_size < 1 or channel_groups < 1:
        raise InputError(f"batch_size ({batch_size}) and channel_groups ({channel_groups}) start at 1")
    data = fitted(model, data)
    wanted = _concepts(data, concepts)
    indices = chosen_images(data, limit)
    if edits is None and len(indices) < 2:
        kinds.remove("swap")
    if "swap" in kinds and len(indices) < 2:
        raise InputError("swapping between images needs at least 2 of them; give more, or other edits")
    with evaluating(model):
        first = collate([checked(data[indices[0]], data)])
        channels = _channels(model, first)
        plan = interventions(model, kinds, points, channels, channel_groups, wanted)
        work = Work(
            data, indices, Split.of(len(indices), block), batch_size, num_workers, progress, state, title="trace"
        )
        run = _Run(model, work, plan, channels)
        options = {"edits": kinds, "channel_groups": channel_groups, "concepts": wanted}
        sweep(model, run.stages, work, options)
    seconds = time.monotonic() - started
    setting = work.setting(model, name, first["rgb"].shape[-2:], int(getattr(data, "seed", 0)), seconds)
    return tables(plan, {key: sums.state_dict()["counts"] for key, sums in run.sums.items()}, kinds, setting)


def _kinds(edits: Sequence[str]) -> list[str]:
    for edit in [edits] if isinstance(edits, str) else edits:
        if edit not in EDITS:
            raise unknown("edit", edit, EDITS)
    chosen = [e for e in EDITS if e in ([edits] if isinstance(edits, str) else edits)]
    if not chosen:
        raise InputError(f"no edit to trace with; give some of {', '.join(EDITS)}")
    return chosen


def _concepts(data: Any, names: Sequence[str] | None) -> list[str]:
    for name in names or ():
        if name not in data.class_names:
            raise unknown("class", name, data.class_names)
    return list(data.class_names if names is None else names)


def _channels(model: nn.Module, batch: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Probe -> (channels, dimensions) of what passes it in a forward pass; probes that do not fire are left out."""
    seen: dict[str, tuple[int, int]] = {}

    def note(name: str, value: Tensor) -> None:
        if value.is_floating_point() and value.ndim >= 2:
            seen[name] = (value.shape[1], value.ndim)

    names = list(probe_points(model))
    try:
        with listen(model, dict.fromkeys(names, note)):
            model(*normalised(model, batch))
    except InputError:  # some probes are out of this model's path
        if not seen or len(seen) == len(names):
            raise
    return seen


# ------------------------------------------------------------------------------------------------------------- the run


class ChannelMean(Accumulator):
    """Mean of each channel over images and positions.

    >>> mean = ChannelMean(1)
    >>> mean.update(torch.tensor([[[1.0, 3.0]], [[5.0, 7.0]]]))
    >>> mean.compute()
    tensor([4.], dtype=torch.float64)
    """

    info = MetricInfo("channel mean", None, None, "larger values", ("order of images",), "state C + 1; O(values)")

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self._state = {
            "sum": torch.zeros(channels, dtype=torch.float64),
            "count": torch.zeros((), dtype=torch.int64),
        }

    def _config(self) -> dict[str, int]:
        return {"channels": self.channels}

    @accumulates
    def update(self, value: Tensor) -> None:
        """Adds (B, C, ...)."""
        self._state["sum"] += value.double().transpose(0, 1).flatten(1).sum(1)
        self._state["count"] += value.numel() // self.channels

    def compute(self) -> Tensor:
        """(C,) float64."""
        return (self._state["sum"] / self._state["count"]).cpu()


class _Run:
    """The stages of a trace: means and concept statistics where edits need them, then the interventions."""

    def __init__(
        self, model: nn.Module, work: Work, plan: Sequence[Intervention], channels: Mapping[str, tuple[int, int]]
    ) -> None:
        self.model = model
        self.work = work
        self.plan = list(plan)
        classes = work.data.num_classes
        means = {p for i in plan if i.edit in ("mean", "channels") for p in i.points}
        self.means = {p: ChannelMean(channels[p][0]) for p in channels if p in means}
        concepts = {p for i in plan if i.edit == "concept" for p in i.points}
        self.statistics = {p: ConceptStatistics(channels[p][0], classes) for p in channels if p in concepts}
        self.sums: dict[str, Accumulator] = {i.key: matrix(work.data) for i in plan}
        self.patched = list(dict.fromkeys(p for i in plan if i.edit == "restore" for p in i.points))
        self.swapped = list(dict.fromkeys(p for i in plan if i.edit == "swap" for p in i.points))
        self.stages = [Stage("interventions", self.sums, self.intervene)]
        first: dict[str, Accumulator] = {f"mean {p}": a for p, a in self.means.items()}
        first |= {f"concepts {p}": a for p, a in self.statistics.items()}
        if first:
            self.stages.insert(0, Stage("means", first, self.measure))
        self.edits: dict[str, Edit] = {}

    def measure(self, samples: list[dict[str, Any]], places: list[int]) -> None:
        """First stage: what passes each point, into means and concept statistics."""
        for batch, _ in batches(samples, places, self.work.data):
            masks: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
            rgb, x = normalised(self.model, batch)
            label = batch["label"].to(rgb.device)

            def take(name: str, value: Tensor, label: Tensor = label, masks: dict[Any, Any] = masks) -> None:
                value = value.detach()
                if name in self.means:
                    self.means[name].update(value)
                if name in self.statistics:
                    size = (value.shape[2], value.shape[3])
                    if size not in masks:
                        masks[size] = self._masks(label, size)
                    self.statistics[name].update(value, *masks[size])

            with listen(self.model, dict.fromkeys([*self.means, *self.statistics], take)):
                self.model(rgb, x)

    def _masks(self, label: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        fine = any(a > b for a, b in zip(size, label.shape[-2:], strict=True))
        data = self.work.data
        return concept_masks(label, data.num_classes, size, data.ignore_index, "nearest" if fine else "area")

    def intervene(self, samples: list[dict[str, Any]], places: list[int]) -> None:
        """Second stage: every intervention on every image."""
        for batch, mine in batches(samples, places, self.work.data):
            rgb, x = normalised(self.model, batch)
            label = batch["label"].to(rgb.device)
            donors = self._donors(mine, batch) if self.swapped else {}
            held: dict[str, Tensor] = {}
            for one in self.plan:
                inputs = (None if one.absent == "rgb" else rgb, None if one.absent == "x" else x)
                if one.edit == "clean" and self.patched:
                    with probe(self.model, *self.patched) as tape:
                        logits = self.model(*inputs)
                    held = dict(tape)
                elif not one.points:
                    logits = self.model(*inputs)
                else:
                    with intervene(self.model, {p: self._edit(one, p, held, donors) for p in one.points}):
                        logits = self.model(*inputs)
                count(self.sums[one.key], logits, label, mine, self.work.split, one.key, batch["id"])

    def _donors(self, places: Sequence[int], batch: dict[str, Any]) -> dict[str, Tensor]:
        """What the images half the run away have at the swapped points."""
        indices, n = self.work.indices, len(self.work.indices)
        others = [self.work.data[indices[(p + n // 2) % n]] for p in places]
        for other in others:
            checked(other, self.work.data)
            if other["rgb"].shape != batch["rgb"].shape[1:]:
                raise InputError(
                    f"{other['id']} and {batch['id'][0]} differ in size, so nothing can be swapped between them;"
                    " give the dataset a size, or leave out the edit 'swap'"
                )
        with probe(self.model, *self.swapped) as tape:
            self.model(*normalised(self.model, {k: torch.stack([o[k] for o in others]) for k in ("rgb", "x")}))
        return dict(tape)

    def _edit(self, one: Intervention, point: str, held: Mapping[str, Tensor], donors: Mapping[str, Tensor]) -> Edit:
        if one.edit == "restore":
            return patch(held[point])
        if one.edit == "swap":
            return patch(donors[point])
        if one.edit == "zero":
            return zero_edit()
        key = f"{one.edit} {point} {one.part}"
        if key not in self.edits:
            self.edits[key] = self._fixed(one, point)
        return self.edits[key]

    def _fixed(self, one: Intervention, point: str) -> Edit:
        """An edit that is the same for every image."""
        if one.edit == "concept":
            return erase(self.statistics[point], self.work.data.class_names.index(one.part))
        mean = mean_ablate(self.means[point].compute())
        if one.edit == "channels":
            first, end = map(int, one.part.split(":"))
            return only(mean, range(first, end))
        return mean


def erase(statistics: ConceptStatistics, concept: int) -> Edit:
    """Least-squares erasure of a concept from raw channels; nothing for a concept without pixels or covariance."""
    sums = statistics.state_dict()
    n = sums["weight"]
    mean, share = sums["sum_x"] / n, sums["sum_t"][concept] / n
    covariance = sums["cross"][:, concept] / n - mean * share
    weight = statistics.solve(RIDGE).weight[concept].double()
    if float(weight.abs().max()) == 0 or float(weight @ covariance) <= 0:
        return Edit("nothing()", lambda value: value)
    return project_out(weight, mean, along=covariance)
