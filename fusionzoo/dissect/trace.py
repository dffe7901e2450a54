"""Causal tracing: which stage of which modality does the prediction rest on?

Formulas. V is mIoU (or the IoU of a class) over all images of the run.

- Ablation at point p: effect = V(clean) - V(value at p replaced). "mean": by the data set's mean of each channel (from
  a first pass); "zero": by zeros; "swap": by what the image half the run away has there; "channels": by the mean in one
  group of channels only; "concept": v - c w.(v - mean) / (w.c) at every position, where c is the covariance of channels
  and concept mask and w the concept's ridge detector on raw channels: what says linearly where the concept is, goes
  (Belrose et al. 2023, for one concept).
- Restoration at p with modality m missing (activation patching; Meng et al. 2022, "Locating and editing factual
  associations in GPT": total effect V(clean) - V(m missing), indirect effect as follows):
  effect = V(m missing, clean value at p put back) - V(m missing). Missing: see conditions.py.

What an edit reaches: all that is computed from the value that the probe passes on, and nothing else.

- `stage{i}.rgb`, "onward": fusion block i, and stages i+1, ... of the rgb stream with their blocks. So ablating or
  restoring a stage also does so to the later stages of that stream; what stages before i gave to the decoder stays.
- `stage{i}.fusion.rgb_in`, "fusion": fusion block i alone, so the stage by itself. (Where streams interact, the block
  also feeds later stages: "inject" the rgb stream, "exchange" both.)
- `stage{i}.fusion.fused`, "decoder": the decoder's input at that stage (and, with "inject", the later rgb stages).
- "stream": all stages of a stream at once, the model's inside view of a missing modality; "input": the input itself.

The ranking compares stages by themselves ("fusion") where the model has such points, else "onward".

Cost: per batch one forward pass for each intervention and one clean one (and one of the other images for "swap"), after
one pass for means. Activations of one batch are held, none across batches. Swap partners lie n // 2 images on, so that
results depend neither on the batch size nor on processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.capture import lend
from fusionzoo.dissect.conditions import Condition, Images, Reader, check_policy, fitted, normalised
from fusionzoo.dissect.effects import ERRORS, ClassTrace, Rest, Scores, Setting, Trace, TraceRow
from fusionzoo.dissect.intervention import ABLATIONS, CLEAN, EDITS, Intervention, interventions
from fusionzoo.dissect.masks import Source
from fusionzoo.dissect.measures.base import number, numbers
from fusionzoo.dissect.measures.scores import count, difference, matrix, score
from fusionzoo.dissect.run import Feed, Pass, Work, batches, evaluating, run, setting_of
from fusionzoo.dissect.split import Split, chosen_images
from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics import Accumulator, ConceptStatistics
from fusionzoo.metrics.health import ChannelMean
from fusionzoo.metrics.segmentation import iou_from_confusion
from fusionzoo.probes import Edit, intervene, listen, mean_ablate, only, patch, probe, probe_points, project_out
from fusionzoo.probes import zero as zero_edit

__all__ = ["DEFAULT", "EDITS", "erase", "rests_on", "tables", "trace"]

DEFAULT = ("mean", "swap", "restore")
RIDGE = 1e-2
LITTLE = 0.2
"""A class that loses no more than this share of its IoU without either modality rests on neither."""
RECOGNISED = 0.05
"""Clean IoU below which nothing is said about what a class rests on."""


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
    absence: str = "mean",
    block: int = 8,
    seed: int | None = None,
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
        points: probe names or patterns to keep to; by default the points of all stages. Other probes (gates, attention)
            may be named too.
        limit: use that many images, evenly spread over the data.
        batch_size: images for one forward pass; no result depends on it.
        channel_groups: into how many runs of neighbouring channels "channels" cuts a point.
        concepts: classes whose directions "concept" removes; by default all.
        absence: what stands for a missing modality, as for `fusionzoo.dissect`: "without x" is the same in both.
        block: neighbouring images that stay together in a jackknife group.
        seed: as for `fusionzoo.dissect`.
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
    check_policy(absence)
    data = fitted(model, data)
    wanted = _concepts(data, concepts)
    indices = chosen_images(data, limit)
    if edits is None and len(indices) < 2:
        kinds.remove("swap")
    if "swap" in kinds and len(indices) < 2:
        raise InputError("swapping between images needs at least 2 of them; give more, or other edits")
    seed = int(getattr(data, "seed", 0)) if seed is None else seed
    options = {
        "edits": kinds, "channel_groups": channel_groups, "concepts": wanted, "absence": absence, "seed": seed,
    }  # fmt: skip
    with evaluating(model):
        first = collate([checked(data[indices[0]], data)])
        channels = _channels(model, first)
        plan = interventions(model, kinds, points, channels, channel_groups, wanted)
        split = Split.of(len(indices), block)
        work = Work(model, data, indices, split, batch_size, num_workers, progress, state, "trace", options)
        tracer = _Tracer(work, plan, channels)
        run(tracer.passes(), work)
    setting = setting_of(work, name, first["rgb"].shape[-2:], seed, time.monotonic() - started)
    return tables(plan, {key: sums.state_dict()["counts"] for key, sums in tracer.sums.items()}, kinds, setting)


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


class _Tracer:
    """The passes of a trace: means and concept statistics where edits need them, then the interventions."""

    def __init__(self, work: Work, plan: Sequence[Intervention], channels: Mapping[str, tuple[int, int]]) -> None:
        self.work, self.model, self.plan = work, work.model, list(plan)
        classes = work.data.num_classes
        means = {p for i in plan if i.edit in ("mean", "channels") for p in i.points}
        self.means = {p: ChannelMean(channels[p][0]) for p in channels if p in means}
        concepts = {p for i in plan if i.edit == "concept" for p in i.points}
        self.statistics = {p: ConceptStatistics(channels[p][0], classes) for p in channels if p in concepts}
        self.sums: dict[str, Accumulator] = {i.key: matrix(work.data) for i in plan}
        self.patched = list(dict.fromkeys(p for i in plan if i.edit == "restore" for p in i.points))
        self.swapped = list(dict.fromkeys(p for i in plan if i.edit == "swap" for p in i.points))
        self.edits: dict[str, Edit] = {}

    def passes(self) -> list[Pass]:
        """One or two, see the class."""
        work, absence, seed = self.work, self.work.options["absence"], self.work.options["seed"]
        first: dict[str, Accumulator] = {f"mean {p}": a for p, a in self.means.items()}
        first |= {f"concepts {p}": a for p, a in self.statistics.items()}
        missing = [Condition.without(i.absent) for i in self.plan if i.absent]
        lent = lend(missing, absence)
        places = work.split.cycle(seed) if lent else range(len(work.indices))
        found = []
        if first:
            plain = batches(range(len(work.indices)), work.batch_size)
            reader = Reader(self.model, work.data)
            found = [Pass("means", lambda: first, partial(self._measuring, reader), plain, work.data)]
        reader = Reader(self.model, work.data, absence, seed, lent)
        every = batches(places, work.batch_size, lent)
        return [
            *found,
            Pass("interventions", lambda: self.sums, partial(self._intervening, reader), every, work.data),
        ]

    @contextmanager
    def _measuring(self, reader: Reader) -> Iterator[Feed]:
        """First pass: what passes each point, into means and concept statistics."""
        data = self.work.data
        at: dict[str, Source] = {}

        def take(name: str, value: Tensor) -> None:
            value = value.detach()
            if name in self.means:
                self.means[name].update(value)
            if name in self.statistics:
                self.statistics[name].update(value, *at["source"].on("area", (value.shape[2], value.shape[3])))

        def feed(samples: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
            for images in reader.images(samples, places):
                at["source"] = Source(images.batch, images.here[0].device, data.num_classes, data.ignore_index)
                self.model(*images.here)

        with listen(self.model, dict.fromkeys([*self.means, *self.statistics], take)):
            yield feed

    @contextmanager
    def _intervening(self, reader: Reader) -> Iterator[Feed]:
        """Second pass: every intervention on every image."""

        def feed(samples: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
            for images in reader.images(samples, places):
                self._intervene(reader, images)

        yield feed

    def _intervene(self, reader: Reader, images: Images) -> None:
        donors = self._donors(images.places, images.batch) if self.swapped else {}
        held: dict[str, Tensor] = {}
        for one in self.plan:
            inputs = reader.inputs(Condition.without(one.absent) if one.absent else Condition.BOTH, images)
            if one.edit == "clean" and self.patched:
                with probe(self.model, *self.patched) as tape:
                    logits = self.model(*inputs)
                held = dict(tape)
            elif not one.points:
                logits = self.model(*inputs)
            else:
                with intervene(self.model, {p: self._edit(one, p, held, donors) for p in one.points}):
                    logits = self.model(*inputs)
            count(self.sums[one.key], logits, images, self.work.split, one.key)

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


# ---------------------------------------------------------------------------------------------------------- the result


def tables(plan: Sequence[Intervention], counts: Mapping[str, Tensor], kinds: Sequence[str], setting: Setting) -> Trace:
    """The result of a trace.

    Args:
        plan: every intervention that was run.
        counts: its key -> (G, K, K) confusion counts in image groups.
        kinds: the edits that were asked for.
    """
    clean = score(counts[CLEAN.key])
    absent = {one.absent: one for one in plan if one.edit == "absent"}
    rows = [_row(one, counts, absent) for one in plan if one.edit != "clean"]
    classes = _classes(setting, clean, counts, _streams(plan, kinds), rows)
    return Trace(
        setting=setting,
        clean=clean,
        absent={m: score(counts[one.key]) for m, one in absent.items()},
        edits=list(kinds),
        rows=rows,
        ranking=_ranking(rows, next((k for k in kinds if k in ABLATIONS), "")),
        restored=_ranking(rows, "restore"),
        classes=classes,
        found=_verdict(classes),
    )


def _row(one: Intervention, counts: Mapping[str, Tensor], absent: Mapping[str, Intervention]) -> TraceRow:
    clean, own = counts[CLEAN.key], counts[one.key]
    if one.edit == "restore":
        without = counts[absent[one.absent].key]
        value, error = difference(own, without)
        whole = difference(clean, without)[0][0]
    else:
        value, error = difference(clean, own)
        whole = iou_from_confusion(clean.sum(0)).nanmean()
    return TraceRow(
        point=one.points[0] if len(one.points) == 1 else "",
        stream=one.stream,
        stage=one.stage,
        edit=one.edit,
        reach=one.reach,
        part=one.part,
        absent=one.absent if one.edit == "restore" else "",
        miou=number(iou_from_confusion(own.sum(0)).nanmean()),
        effect=number(value[0]),
        effect_error=number(error[0]),
        share=number(value[0] / whole) if abs(float(whole)) > 1e-9 else None,
        class_effect=numbers(value[1:]),
        class_effect_error=numbers(error[1:]),
    )


def _single(rows: Sequence[TraceRow], edit: str) -> list[TraceRow]:
    """Rows of one stage of rgb or x each, the stage by itself where the model lets it."""
    of = [r for r in rows if r.edit == edit and r.stage is not None and r.stream in ("rgb", "x")]
    of = [r for r in of if edit != "restore" or r.absent == r.stream]
    return [r for r in of if r.reach == "fusion"] or [r for r in of if r.reach == "onward"]


def _ranking(rows: Sequence[TraceRow], edit: str) -> list[Rest]:
    found = [
        Rest(r.stream, r.stage, r.point, r.effect, r.effect_error, r.share, r.signal)
        for r in _single(rows, edit)
        if r.effect is not None and r.stage is not None
    ]
    return sorted(found, key=lambda r: -r.effect)


def _streams(plan: Sequence[Intervention], kinds: Sequence[str]) -> dict[str, Intervention]:
    """Stream -> the intervention that takes the whole stream away: all its stages by the first kind of ablation, its
    only stage, or else the input."""
    edit = next((k for k in kinds if k in ABLATIONS), None)
    found = {}
    for stream in ("rgb", "x"):
        of = [one for one in plan if one.stream == stream]
        whole = [one for one in of if one.edit == edit and one.reach == "stream"]
        lone = [one for one in of if one.edit == edit and one.reach == "onward"]
        best = whole or (lone if len(lone) == 1 else []) or [one for one in of if one.edit == "absent"]
        if best:
            found[stream] = best[0]
    return found


def _classes(
    setting: Setting,
    clean: Scores,
    counts: Mapping[str, Tensor],
    streams: Mapping[str, Intervention],
    rows: Sequence[TraceRow],
) -> list[ClassTrace]:
    base = counts[CLEAN.key]
    loss = {s: difference(base, counts[one.key]) for s, one in streams.items()}
    apart = None
    if len(loss) == 2:  # (IoU without x) - (IoU without rgb): how much more rgb costs
        apart = difference(counts[streams["x"].key], counts[streams["rgb"].key])
    edit = next((one.edit for one in streams.values() if one.edit != "absent"), "")
    single = _single(rows, edit) if edit else _single(rows, "restore")
    table = []
    for k, name in enumerate(setting.class_names):
        cost = {s: (number(v[k + 1]), number(e[k + 1])) for s, (v, e) in loss.items()}
        row = ClassTrace(
            name,
            setting.concepts.get(name, ""),
            clean.iou[k],
            *cost.get("rgb", (None, None)),
            *cost.get("x", (None, None)),
            rests_on="",
        )
        if row.iou is not None and row.iou >= RECOGNISED and cost:
            between = None if apart is None else (float(apart[0][k + 1]), float(apart[1][k + 1]))
            row.rests_on = rests_on(row.iou, cost, between)
            best = max(single, key=lambda r: r.class_effect[k] or 0.0, default=None)
            if best is not None and _sure(best.class_effect[k], best.class_effect_error[k]):
                row.point, row.stage = best.point, best.stage
        table.append(row)
    return table


def _sure(value: float | None, error: float | None) -> bool:
    """A loss that is more than ERRORS standard errors above zero."""
    return value is not None and error is not None and value > ERRORS * error and value > 0


def rests_on(
    iou: float, cost: Mapping[str, tuple[float | None, float | None]], between: tuple[float, float] | None
) -> str:
    """See `fusionzoo.dissect.effects.ClassTrace`.

    Args:
        iou: clean.
        cost: stream -> (IoU lost without it, error).
        between: (how much more rgb costs than x, error of that).
    """
    lost = [s for s, (value, error) in cost.items() if _sure(value, error)]
    if any(error is None for _, error in cost.values()):
        return ""  # images of one group only
    if between is not None and abs(between[0]) > ERRORS * between[1]:
        more = "rgb" if between[0] > 0 else "x"
        if more in lost:
            return more
    elif lost:
        return "both" if len(lost) == 2 else (lost[0] if len(cost) == 1 else "unclear")
    bounds = [value + ERRORS * error for value, error in cost.values() if value is not None and error is not None]
    return "neither" if bounds and max(bounds) <= LITTLE * iou else "unclear"


def _verdict(classes: Sequence[ClassTrace]) -> bool | None:
    """Whether classes that one modality alone shows rest on it; None without any that is recognised."""
    judged = [c for c in classes if c.kind in ("rgb", "x") and c.rests_on]
    return all(c.rests_on == c.kind for c in judged) if judged else None
