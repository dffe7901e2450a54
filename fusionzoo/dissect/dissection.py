"""The dissection: a model and data -> what each modality contributes, what each stream encodes at each stage.

Each measure runs in the first pass in which all that it needs is complete. With everything on there are three:

1. scores of all conditions, moments (similarity, commonality), channel health, activation quantiles (which give the
   binarisation thresholds);
2. concept statistics on the training images (which give the concept weights);
3. concept curves on all images (thresholds calibrated on the training images, set IoU on the others).

Labels stay at their native size; logits are upsampled to it (bilinear, align_corners=False) before the arg max. The
first pass goes through the images in one drawn order, in which each image's neighbour lends it a modality for the
perceptual score; no number depends on batches or processes but by rounding. Concepts: statistics at each map's own
resolution with masks as area fractions, set IoU on one grid for all points, on images that no weight and no threshold
was fitted to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.capture import Capture, lend, shapes_passed
from fusionzoo.dissect.conditions import Reader, check_policy, fitted, inputs_of, tell_unlike, unwrapped
from fusionzoo.dissect.masks import concept_data, plain_data
from fusionzoo.dissect.measures import METRICS
from fusionzoo.dissect.measures.base import Done, Measure, Mixture, PointInfo, Setup
from fusionzoo.dissect.results import FEWEST, DataInfo, Dissection, ModelInfo, Protocol, RunInfo, StagePoints
from fusionzoo.dissect.run import Pass, Work, batches, run
from fusionzoo.dissect.split import Split, chosen_images
from fusionzoo.errors import InputError, check_known
from fusionzoo.metrics.concepts.semantic_variance import REDUCERS
from fusionzoo.models.labels import evaluating
from fusionzoo.probes import probe_points, select
from fusionzoo.tasks import CLASSIFICATION, data_task

__all__ = ["default_metrics", "dissect", "names_asked", "plan"]

GRID_STRIDE = 4
REGIONS = ("concepts", "concept_contribution")
"""Metrics of where in an image a class is."""
SATURABLE = ("gate", "agreement")
"""Roles of probes for which values at an end of the range are a fault; ReLU, attention and masks lie there by nature.
"""


def names_asked(extra: bool) -> tuple[str, ...]:
    """Names for `dissect(metrics=...)`: those of the default, with `extra` also those measured only when asked for."""
    names = [name for metric in METRICS for name in metric.asked]
    default = [name for name in names if not name.endswith("?")]
    return tuple(default + ([name.rstrip("?") for name in names if name.endswith("?")] if extra else []))


def default_metrics(data: Any, n: int, concepts: str = "labels") -> tuple[str, ...]:
    """Names of what is measured where nothing is asked for, of `n` images: no concepts of few, or of scene types."""
    fit = n >= FEWEST and not _of_whole_images(data, concepts)
    return tuple(name for name in names_asked(extra=False) if fit or name != "concepts")


def _of_whole_images(data: Any, concepts: str) -> bool:
    """Whether the concepts are classes of whole images, which have no regions."""
    return data_task(data) == CLASSIFICATION and concepts == "labels"


def dissect(
    model: nn.Module,
    data: Any,
    protocol: Protocol | None = None,
    *,
    points: str | Sequence[str] | None = None,
    batch_size: int = 8,
    limit: int | None = None,
    progress: bool = True,
    num_workers: int = 0,
    state: str | os.PathLike[str] | None = None,
    name: str | None = None,
    source: str = "",
    then: Callable[[Done], object] | None = None,
    **choices: Any,
) -> Dissection:
    """Dissects `model` on `data`: what each modality contributes, what each stream encodes at each stage.

    Args:
        model: a FusionModel; it runs in eval mode on the device where it is.
        data: a dataset of `fusionzoo.data`, a `Subset` or `ConcatDataset` of such, a list of samples, or a user's own:
            anything with a length whose items have rgb, x and label, see `fusionzoo.data.adapt`. Images are fed at
            the size that the data give them; scores are best at the model's own, `model.input_size`, to which
            `fusionzoo.check` brings them: Folder(path, size=model.input_size).
        protocol: what is measured, and how; `Protocol()` when None.
        points: probe names or patterns to keep to; all by default.
        batch_size: images for one forward pass.
        limit: use that many images, evenly spread over the data.
        progress: show a progress bar on standard error.
        num_workers: processes that load images.
        state: a file to save sums in, now and then; with the file of a killed run there, the run goes on from it to
            the same numbers.
        name, source: how the result names the model, and where it came from.
        then: called with the complete sums, before they are let go; see `fusionzoo.dissect.pictures.insight`.
        choices: fields of the protocol that are to be others: absence, concepts, metrics, tau, ridge, reducer, block,
            seed.

    Under `torchrun` (an initialised process group) the processes share the batches, each image once, and all return the
    same Dissection.

    Raises:
        InputError: model and data do not fit, unusable images, too few images, a state file of another run.
        UnknownNameError: unknown metric, absence policy, reducer, probe or field of the protocol.
        CheckFailed: the model's output or a feature is not finite.
    """
    started = time.monotonic()
    p = _chosen(protocol or Protocol(), choices)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 or more")
    model, data = fitted(model, data)
    data, names = concept_data(data, p.concepts)
    indices = chosen_images(data, limit)
    tell_unlike(model, data, indices)
    seed = int(getattr(data, "seed", 0)) if p.seed is None else p.seed
    metrics = default_metrics(data, len(indices), p.concepts) if p.metrics is None else p.metrics
    if _of_whole_images(data, p.concepts) and (asked := [m for m in metrics if m in REGIONS]):
        raise InputError(
            f"{asked[0]} needs regions, and {data.name} has one class for a whole image: leave it out of metrics,"
            ' or give concepts="geometry"'
        )
    if p.absence == "permute" and len(indices) < 2:
        raise InputError('absence "permute" takes a modality from another image, here is one image only')
    with evaluating(model):
        facts, grid, size = _facts(model, data, indices, points)
        split = Split.of(len(indices), p.block)
        setup = Setup(
            data.num_classes, names=tuple(names), concepts=None if p.concepts == "labels" else len(names),
            kinds=dict(data.concepts), ignore_index=data.ignore_index, absence=p.absence,
            permuted=p.absence != "permute" and len(indices) > 1, tau=p.tau, ridge=p.ridge, reducer=p.reducer,
            positions=p.positions, images=tuple(indices), split=split,
            task=data_task(data), **facts,
        )  # fmt: skip
        planned = plan(setup, metrics)
        keys = [measure.key for each in planned for measure in each]
        if any(key.startswith("curve/") for key in keys) and len(indices) < FEWEST:
            text = f"concepts need at least {FEWEST} images, here are {len(indices)}"
            raise InputError(f"{text}; give more, or other metrics")
        options = {
            "plan": hashlib.sha256(json.dumps(keys).encode()).hexdigest(), "tau": p.tau, "ridge": p.ridge,
            "positions": p.positions, "absence": p.absence, "seed": seed, "concepts": names,
        }  # fmt: skip
        done = Done(setup)
        work = Work(model, data, indices, split, batch_size, num_workers, progress, state, "dissect", options)
        run([_pass(i, planned, work, done, grid) for i in range(len(planned))], work)
        if then is not None:
            then(done)
    plain = unwrapped(model)
    return Dissection(
        model=ModelInfo(
            name=name or plain.architecture or type(plain).__name__,
            architecture=plain.architecture,
            num_params=sum(p.numel() for p in model.parameters()),
            modalities=list(plain.modalities),
            source=source,
        ),
        data=DataInfo(
            data.name, data.split, len(indices), list(data.class_names), size, dict(data.concepts), setup.task
        ),
        protocol=RunInfo(
            absence=p.absence,
            recipe="fast",
            tau=p.tau,
            versions={"torch": str(torch.__version__), "python": platform.python_version()},
            seed=seed,
            seconds=time.monotonic() - started,
            metrics=[m for m in names_asked(extra=True) if m in metrics],
            passes=len(planned),
            grid=list(grid) if any(key.startswith("curve/") for key in keys) else None,
            block=split.block,
            concepts=p.concepts,
            positions=p.positions if any(key.endswith("/pix") for key in keys) else None,
        ),
        results=_results(done),
        stages=[StagePoints(stage, dict(at)) for stage, at in sorted(setup.stages.items())],
    )


def _chosen(protocol: Protocol, choices: Mapping[str, Any]) -> Protocol:
    """The protocol with other choices, checked."""
    known = [f.name for f in dataclasses.fields(Protocol)]
    for name in choices:
        check_known("option of dissect", name, known)
    p = dataclasses.replace(protocol, **choices)
    if p.metrics is not None:
        p = dataclasses.replace(p, metrics=(p.metrics,) if isinstance(p.metrics, str) else tuple(p.metrics))
    check_policy(p.absence)
    if isinstance(p.reducer, str):
        check_known("semantic variance reducer", p.reducer, REDUCERS)
    return p


def _results(done: Done) -> dict[str, Any]:
    """Name -> result of every metric that was measured."""
    results: dict[str, Any] = {}
    for metric in METRICS:
        if (found := metric.compute(done, results)) is not None:
            results[metric.name] = found
    return results


# ------------------------------------------------------------------------------------------------------ before the run


def plan(setup: Setup, metrics: Sequence[str] | None = None) -> list[list[Measure]]:
    """The measures of each pass, first to last.

    Args:
        metrics: some of `names_asked(extra=True)`; those measured by default when None.

    Raises:
        UnknownNameError: a metric that does not exist.
        InputError: nothing to do.

    >>> setup = Setup(3, {"a": PointInfo(4), "b": PointInfo(4)}, {1: {"rgb": "a", "x": "b"}})
    >>> [len(plan(setup, m)) for m in (None, ["segmentation", "cka"], ["concepts"])]
    [3, 1, 3]
    """
    wanted = names_asked(extra=False) if metrics is None else tuple(metrics)
    for name in wanted:
        check_known("metric", name, names_asked(extra=True))
    number: dict[str, int] = {}
    found: list[Measure] = []

    def add(measure: Measure) -> int:
        """Each measure in the earliest pass that its needs allow."""
        before = max(map(add, measure.needs), default=-1)
        if measure.key not in number:
            number[measure.key] = before + 1
            found.append(measure)
        return number[measure.key]

    for metric in METRICS:
        for measure in metric.plan(setup, wanted) if metric.plan else ():
            add(measure)
    if not found:
        raise InputError(f"nothing to dissect: the model has no probe points for {', '.join(wanted) or 'no metric'}")
    return [[m for m in found if number[m.key] == i] for i in range(1 + max(number.values()))]


def _pass(at: int, planned: Sequence[Sequence[Measure]], work: Work, done: Done, grid: tuple[int, int]) -> Pass:
    measures, options = planned[at], work.options
    others = lend([m.condition for m in measures], options["absence"])
    roles = frozenset[str]().union(*(m.roles for m in measures))
    places = work.split.cycle(options["seed"]) if others else work.split.indices(roles)
    reader = Reader(work.model, work.data, options["absence"], options["seed"], others)
    return Pass(
        name=f"pass {at + 1} of {len(planned)}",
        begin=partial(done.begin, measures),
        open=Capture(reader, done, measures, work.split, grid).listening,
        batches=batches(places, work.batch_size, others),
        data=work.data if any(m.masked for m in measures) else plain_data(work.data),
    )


def _facts(
    model: nn.Module, data: Any, indices: Sequence[int], points: str | Sequence[str] | None
) -> tuple[dict[str, Any], tuple[int, int], list[int]]:
    """What one image's forward pass tells: points, stages and uneven stages; the concept grid; the image size."""
    batch = collate([checked(plain_data(data)[indices[0]], data)])
    shapes = shapes_passed(model, batch)
    probes = probe_points(model)
    chosen = probes if points is None else select(model, [points] if isinstance(points, str) else points)
    every: Mapping[int, Mapping[str, str]] = unwrapped(model).levels
    inputs = inputs_of(unwrapped(model).preprocess.x_kind)
    streams = Setup(1, inputs=inputs).streams
    kept = {stage: {s: at[s] for s in streams if s in at and at[s] in chosen} for stage, at in every.items()}
    stages = {stage: at for stage, at in kept.items() if at}
    for point in (p for at in stages.values() for p in at.values()):
        if len(shapes.get(point, ())) != 4:
            raise InputError(f"stage point {point} passed {shapes.get(point, 'nothing')}, wanted a map (B, C, H, W)")
    info = {}
    for p, probe in probes.items():
        if p in chosen and len(shapes.get(p, ())) in (2, 4):
            low, high = (probe.low, probe.high) if probe.role in SATURABLE else (None, None)
            gate = probe.role == "gate" and probe.low is not None
            info[p] = PointInfo(shapes[p][1], low, high, gate, probe.modality, probe.role, probe.replaced_below)
    uneven = frozenset(stage for stage, at in stages.items() if len({shapes[p][2:] for p in at.values()}) > 1)
    size = list(batch["rgb"].shape[-2:])
    grid = (max(1, size[0] // GRID_STRIDE), max(1, size[1] // GRID_STRIDE))
    mixtures = {p: found for p in probes if p in chosen and p in shapes and (found := Mixture.of(probes[p]))}
    return {"points": info, "stages": stages, "uneven": uneven, "mixtures": mixtures, "inputs": inputs}, grid, size
