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
one pass for means. Of a pass with an edit only what the edit changes is run (`fusionzoo.probes.Reuse`), so that an edit
of the last stage costs little more than the decoder. For that, activations of one batch are held, none across batches;
where they need too much memory, the images of a batch go through in parts. Swap partners lie n // 2 images on, so that
results depend neither on the batch size nor on processes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.capture import lend, shapes_passed
from fusionzoo.dissect.conditions import Condition, Images, Reader, check_policy, fitted, normalised, tell_unlike
from fusionzoo.dissect.effects import Trace
from fusionzoo.dissect.intervention import EDITS, Edits, Intervention, interventions
from fusionzoo.dissect.masks import Source, extent_of
from fusionzoo.dissect.measures.scores import count, matrix
from fusionzoo.dissect.results.trace import tables
from fusionzoo.dissect.run import Feed, Pass, Work, batches, run, setting_of
from fusionzoo.dissect.split import Split, chosen_images
from fusionzoo.errors import InputError, check_known
from fusionzoo.metrics import Accumulator
from fusionzoo.models.labels import evaluating
from fusionzoo.probes import Reuse, intervene, listen, probe
from fusionzoo.tasks import CLASSIFICATION, data_task

__all__ = ["DEFAULT", "EDITS", "trace"]

DEFAULT = ("mean", "swap", "restore")


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
    if concepts is not None and "concept" not in kinds:
        raise InputError(f'concepts are what the edit "concept" removes; add it: edits={[*kinds, "concept"]}')
    if batch_size < 1 or channel_groups < 1:
        raise InputError(f"batch_size ({batch_size}) and channel_groups ({channel_groups}) start at 1")
    check_policy(absence)
    model, data = fitted(model, data)
    wanted = list(data.class_names if concepts is None else [concepts] if isinstance(concepts, str) else concepts)
    for concept in wanted:
        check_known("class", concept, data.class_names)
    indices = chosen_images(data, limit)
    tell_unlike(model, data, indices)
    if "concept" in kinds and data_task(data) == CLASSIFICATION:
        raise InputError(
            f'the edit "concept" needs regions, and {data.name} has one class for a whole image: leave it out'
        )
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
        channels = {p: (s[1], len(s)) for p, s in shapes_passed(model, first).items() if len(s) >= 2}
        plan = interventions(model, kinds, points, channels, channel_groups, wanted)
        split = Split.of(len(indices), block)
        work = Work(model, data, indices, split, batch_size, num_workers, progress, state, "trace", options)
        tracer = _Tracer(work, plan, channels)
        run(tracer.passes(), work)
    setting = setting_of(work, name, first["rgb"].shape[-2:], seed, time.monotonic() - started)
    return tables(plan, {key: sums.state_dict()["counts"] for key, sums in tracer.sums.items()}, kinds, setting)


def _kinds(edits: Sequence[str]) -> list[str]:
    for edit in [edits] if isinstance(edits, str) else edits:
        check_known("edit", edit, EDITS)
    chosen = [e for e in EDITS if e in ([edits] if isinstance(edits, str) else edits)]
    if not chosen:
        raise InputError(f"no edit to trace with; give some of {', '.join(EDITS)}")
    return chosen


def _groups(plan: Sequence[Intervention]) -> dict[str, list[Intervention]]:
    """Missing modality ("" first) -> how the model is run meanwhile: as it is first, then edits, those that come to the
    same (a stage's and its block's where no stage follows) one after the other."""
    stages = [one.stage for one in plan if one.stage is not None]
    edits, streams = ["clean", "absent", *EDITS], ["rgb", "x", "fused", ""]

    def order(one: Intervention) -> tuple[int, ...]:
        stage = min(stages, default=0) if one.stage is None else one.stage
        return edits.index(one.edit), stage, streams.index(one.stream), one.reach != "stream"

    of = {absent: [one for one in plan if one.absent == absent] for absent in dict.fromkeys(o.absent for o in plan)}
    return {absent: sorted(group, key=order) for absent, group in of.items()}


# ------------------------------------------------------------------------------------------------------------- the run


class _Tracer:
    """The passes of a trace: means and concept statistics where edits need them, then the interventions."""

    def __init__(self, work: Work, plan: Sequence[Intervention], channels: Mapping[str, tuple[int, int]]) -> None:
        self.work, self.model, self.plan = work, work.model, list(plan)
        self.edits = Edits(plan, channels, work.data.class_names)
        self.sums: dict[str, Accumulator] = {i.key: matrix(work.data) for i in plan}
        self.patched = list(dict.fromkeys(p for i in plan if i.edit == "restore" for p in i.points))
        self.groups = _groups(plan)
        self.few = work.batch_size
        """Images of which a forward pass can be kept in memory."""
        self.swapped = list(dict.fromkeys(p for i in plan if i.edit == "swap" for p in i.points))

    def passes(self) -> list[Pass]:
        """One or two, see the class."""
        work, absence, seed = self.work, self.work.options["absence"], self.work.options["seed"]
        first = self.edits.sums()
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
        data, means, statistics = self.work.data, self.edits.means, self.edits.statistics
        at: dict[str, Source] = {}

        def take(name: str, value: Tensor) -> None:
            value = value.detach()
            if name in means:
                means[name].update(value)
            if name in statistics:
                statistics[name].update(value, *at["source"].on("area", (value.shape[2], value.shape[3])))

        def feed(samples: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
            for images in reader.images(samples, places):
                rgb = images.here[0]
                at["source"] = Source(images.batch, rgb.device, data.num_classes, data.ignore_index,
                                      extent=extent_of(self.model, rgb.shape[-2:]))  # fmt: skip
                self.model(*images.here)

        with listen(self.model, dict.fromkeys([*means, *statistics], take)):
            yield feed

    @contextmanager
    def _intervening(self, reader: Reader) -> Iterator[Feed]:
        """Second pass: every intervention on every image."""
        with Reuse(self.model, {point for one in self.plan for point in one.points}) as reuse:

            def feed(samples: Sequence[dict[str, Any]], places: Sequence[int]) -> None:
                for images in reader.images(samples, places):
                    for few in self._parts(images, reuse):
                        self._intervene(reader, few, reuse)

            yield feed

    def _parts(self, images: Images, reuse: Reuse) -> Iterator[Images]:
        """The images, in runs of which everything can be kept as far as the images before them tell."""
        rest = list(range(len(images.places)))
        while rest:
            few, rest = rest[: self.few], rest[self.few :]
            yield images if len(few) == len(images.places) else images.only(few)
            if reuse.needed > reuse.limit:
                self.few = max(1, len(few) * reuse.limit // reuse.needed)
            reuse.forget()

    def _intervene(self, reader: Reader, images: Images, reuse: Reuse) -> None:
        donors = self._donors(images.places, images.batch) if self.swapped else {}
        held: dict[str, Tensor] = {}
        for absent, group in self.groups.items():
            inputs = reader.inputs(Condition.without(absent) if absent else Condition.BOTH, images)
            for one in group:
                if one.points:
                    changes = {p: self.edits.of(one, p, held, donors) for p in one.points}
                    with reuse.keeping("edited", instead=True), intervene(self.model, changes):
                        logits = self.model(*inputs)
                else:  # what the edits that follow differ from
                    tapes: AbstractContextManager[Mapping[str, Tensor]] = nullcontext({})
                    if one.edit == "clean" and self.patched:
                        tapes = probe(self.model, *self.patched)
                    with reuse.keeping(absent), tapes as tape:
                        logits = self.model(*inputs)
                    held |= tape
                count(self.sums[one.key], logits, images, self.work.split, one.key)
            reuse.forget("edited", *[absent] * bool(absent))

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
