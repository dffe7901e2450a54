"""The dissection: a model and data -> what each modality contributes, what each stream encodes at each stage.

All that must run over the data is planned before the first image is read: each measure runs in the first pass in which
all that it needs is complete, so the number of passes is the longest chain of needs, the fewest possible. With
everything on there are three:

1. scores of all conditions, moments (similarity, commonality), channel health, activation quantiles (which give the
   binarisation thresholds);
2. concept statistics on the training images (which give the concept weights);
3. concept curves on all images (thresholds calibrated on the training images, set IoU on the others).

Protocol. Labels stay at their native size; logits are upsampled to it (bilinear, align_corners=False) before the arg
max. What stands for a modality that is taken away is the `absence` policy (conditions.py), by default the model's
declared substitute, zeros after normalisation, that is the mean. The first pass goes through the images in one drawn
order, in which each image's neighbour lends it a modality for the perceptual score; no number depends on batches or
processes but by rounding. Concepts: statistics at each map's own resolution with masks as area fractions, set IoU on
one grid for all points, on images that no weight and no threshold was fitted to.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.capture import Capture, lend
from fusionzoo.dissect.conditions import Reader, check_policy, fitted, normalised, unwrapped
from fusionzoo.dissect.masks import concept_data, plain_data
from fusionzoo.dissect.measures import METRICS
from fusionzoo.dissect.measures.base import STREAMS, Done, Measure, PointInfo, Setup
from fusionzoo.dissect.measures.concepts import Curve
from fusionzoo.dissect.results import FEWEST, DataInfo, Dissection, Level, ModelInfo, Protocol
from fusionzoo.dissect.run import Pass, Work, batches, evaluating, run
from fusionzoo.dissect.split import Split, chosen_images
from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics.concepts.semantic_variance import REDUCERS
from fusionzoo.probes import listen, probe_points, select

__all__ = ["dissect", "names_asked", "plan"]

TAU = 0.05
"""Chosen on a trained MobileNet v1 0.25 hybrid (16 to 256 channels) and planted data: against 0.005, the mean concept
IoU of the streams rises from 22 to 36 and semantic variance from 7 to 12 times its noise floor; both find the truth."""
RIDGE = 1e-2
"""Between 1e-3 and 1e-1 hardly a number changes."""
GRID_STRIDE = 4
SATURABLE = ("gate", "agreement")
"""Roles of probes for which values at an end of the range are a fault; ReLU, attention and masks lie there by nature.
"""

Reducer = str | Callable[[Tensor, Tensor], Tensor]


def names_asked(extra: bool) -> tuple[str, ...]:
    """Names for `dissect(metrics=...)`: those of the default, with `extra` also those measured only when asked for."""
    names = [name for metric in METRICS for name in metric.asked if extra or not name.endswith("?")]
    return tuple(name.rstrip("?") for name in names)


def dissect(
    model: nn.Module,
    data: Any,
    *,
    points: str | Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    batch_size: int = 8,
    limit: int | None = None,
    progress: bool = True,
    absence: str = "mean",
    concepts: str = "labels",
    tau: float | None = TAU,
    ridge: float = RIDGE,
    reducer: Reducer = "mean_abs",
    block: int = 8,
    seed: int | None = None,
    num_workers: int = 0,
    state: str | os.PathLike[str] | None = None,
    name: str | None = None,
    source: str = "",
) -> Dissection:
    """Dissects `model` on `data`: what each modality contributes, what each stream encodes at each stage.

    Args:
        model: a FusionModel; it runs in eval mode on the device where it is.
        data: a dataset of `fusionzoo.data`, a `Subset` or `ConcatDataset` of such, a list of samples, or a user's own:
            anything with a length whose items have rgb, x and label, see `fusionzoo.data.adapt`.
        points: probe names or patterns to keep to; all by default.
        metrics: some of `fusionzoo.dissect.dissection.names_asked`; by default all (of fewer than 4 images without
            "concepts", which need two halves to learn from and held-out images); fewer metrics, less work. Beside them
            "concept_contribution": what each modality gives to the concepts at the fused points.
        batch_size: images for one forward pass.
        limit: use that many images, evenly spread over the data.
        progress: show a progress bar on standard error.
        absence: what stands for a modality that is taken away: "mean", "zero", "permute", "noise" or "blur", see
            `fusionzoo.dissect.conditions`.
        concepts: "labels", the classes; "geometry", what depth and colour show, for data without labels: edges, and
            with `fusionzoo.data.WithGeometry(data, camera)` orientations too; "masks" that samples carry.
        tau: share of activations above a channel's threshold; 0.005 is Net2Vec's, made for layers of hundreds of
            channels: C channels mark at most C tau of the positions. None takes raw activations (one pass less).
        ridge: of the concept solve.
        reducer: of semantic variance, see `fusionzoo.metrics.concepts.semantic_variance`.
        block: neighbouring images that stay together when halves are cut (video frames, one room).
        seed: of the order in which images lend each other modalities, and of "noise"; by default that of the data.
        num_workers: processes that load images.
        state: a file to save sums in, now and then; with the file of a killed run there, the run goes on from it to
            the same numbers.
        name, source: how the result names the model, and where it came from.

    Under `torchrun` (an initialised process group) the processes share the batches, each image once, and all return the
    same Dissection.

    Returns:
        Dissection: see `fusionzoo.dissect.results`.

    Raises:
        InputError: model and data do not fit, unusable images, too few images, a state file of another run.
        UnknownNameError: unknown metric, absence policy, reducer or probe.
        CheckFailed: the model's output or a feature is not finite.
    """
    check_policy(absence)
    if isinstance(reducer, str) and reducer not in REDUCERS:
        raise unknown("semantic variance reducer", reducer, REDUCERS)
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give 1 or more")
    started = time.monotonic()
    data, names = concept_data(fitted(model, data), concepts)
    indices = chosen_images(data, limit)
    seed = int(getattr(data, "seed", 0)) if seed is None else seed
    if metrics is None and len(indices) < FEWEST:
        metrics = [name for name in names_asked(extra=False) if name != "concepts"]
    if absence == "permute" and len(indices) < 2:
        raise InputError('absence "permute" takes a modality from another image, here is one image only')
    with evaluating(model):
        facts, grid, size = _facts(model, data, indices, points)
        setup = Setup(
            data.num_classes, names=tuple(names), concepts=None if concepts == "labels" else len(names),
            kinds=dict(data.concepts), ignore_index=data.ignore_index, absence=absence,
            permuted=absence != "permute" and len(indices) > 1, tau=tau, ridge=ridge, reducer=reducer, **facts,
        )  # fmt: skip
        planned = plan(setup, metrics)
        keys = [measure.key for each in planned for measure in each]
        if any(isinstance(m, Curve) for each in planned for m in each) and len(indices) < FEWEST:
            raise InputError(
                f"concepts need at least {FEWEST} images, here are {len(indices)}; give more, or other metrics"
            )
        options = {
            "plan": hashlib.sha256(json.dumps(keys).encode()).hexdigest(),
            "tau": tau, "ridge": ridge, "absence": absence, "seed": seed, "concepts": names,
        }  # fmt: skip
        split, done = Split.of(len(indices), block), Done(setup)
        work = Work(model, data, indices, split, batch_size, num_workers, progress, state, "dissect", options)
        run([_pass(i, planned, work, done, grid) for i in range(len(planned))], work)
    results: dict[str, Any] = {}
    for metric in METRICS:
        found = metric.compute(done, results)
        if found is not None:
            results[metric.name] = found
    return Dissection(
        model=ModelInfo(
            name=name or unwrapped(model).architecture or type(unwrapped(model)).__name__,
            architecture=unwrapped(model).architecture,
            num_params=sum(p.numel() for p in model.parameters()),
            modalities=list(unwrapped(model).modalities),
            source=source,
        ),
        data=DataInfo(data.name, data.split, len(indices), list(data.class_names), size, dict(data.concepts)),
        protocol=Protocol(
            absence=absence,
            recipe="fast",
            tau=tau,
            versions={"torch": str(torch.__version__), "python": platform.python_version()},
            seed=seed,
            seconds=time.monotonic() - started,
            metrics=_measured(metrics),
            passes=len(planned),
            grid=list(grid) if any(key.startswith("curve/") for key in keys) else None,
            block=split.block,
            concepts=concepts,
            positions=setup.positions if any(key.endswith("/pix") for key in keys) else None,
        ),
        segmentation=results.get("segmentation", {}),
        contribution=results.get("contribution"),
        levels=_levels(setup, results),
        probes=results.get("health", []),
        planted=results.get("planted"),
        matrices=[m for name in ("similarity", "concepts") if name in results for m in results[name].matrices],
        concept_names=names if concepts != "labels" else [],
    )


def _measured(metrics: Sequence[str] | None) -> list[str]:
    if metrics is None:
        return list(names_asked(extra=False))
    default, every = names_asked(extra=False), names_asked(extra=True)
    return [m for m in (*default, *(e for e in every if e not in default)) if m in metrics]


def _levels(setup: Setup, results: Mapping[str, Any]) -> list[Level]:
    rows = {stage: Level(stage, dict(at)) for stage, at in sorted(setup.stages.items())}
    for part in results["similarity"].stages if "similarity" in results else ():
        row = rows[part.stage]
        row.cka, row.similarity, row.commonality = part.cka, part.pairs, part.commonality
    for part in results["concepts"].stages if "concepts" in results else ():
        row = rows[part.stage]
        row.semantic_variance, row.concept_iou, row.concept_error = part.variance, part.iou, part.error
        row.concept_floor, row.unit_iou, row.concept_channels = part.floor, part.unit_iou, part.channels
        row.concept_correlation = part.correlation
    for part in results["specificity"].stages if "specificity" in results else ():
        rows[part.stage].agreement = part.concepts
    return list(rows.values())


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
        if name not in names_asked(extra=True):
            raise unknown("metric", name, names_asked(extra=True))
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
        for measure in metric.plan(setup, wanted):
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
    shapes = _shapes(model, *normalised(model, batch))
    probes = probe_points(model)
    chosen = probes if points is None else select(model, [points] if isinstance(points, str) else points)
    every: Mapping[int, Mapping[str, str]] = unwrapped(model).levels
    kept = {stage: {s: at[s] for s in STREAMS if s in at and at[s] in chosen} for stage, at in every.items()}
    stages = {stage: at for stage, at in kept.items() if at}
    for point in (p for at in stages.values() for p in at.values()):
        if len(shapes.get(point, ())) != 4:
            raise InputError(f"stage point {point} passed {shapes.get(point, 'nothing')}, wanted a map (B, C, H, W)")
    info = {}
    for p in (p for p in probes if p in chosen and len(shapes.get(p, ())) in (2, 4)):
        low, high = (probes[p].low, probes[p].high) if probes[p].role in SATURABLE else (None, None)
        gate = probes[p].role == "gate" and probes[p].low is not None
        info[p] = PointInfo(shapes[p][1], low, high, gate, probes[p].modality, probes[p].role)
    uneven = frozenset(stage for stage, at in stages.items() if len({shapes[p][2:] for p in at.values()}) > 1)
    size = list(batch["rgb"].shape[-2:])
    grid = (max(1, size[0] // GRID_STRIDE), max(1, size[1] // GRID_STRIDE))
    return {"points": info, "stages": stages, "uneven": uneven}, grid, size


def _shapes(model: nn.Module, rgb: Tensor, x: Tensor) -> dict[str, tuple[int, ...]]:
    """Probe name -> shape of the floating tensor that passes; probes that nothing passes are left out."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, value: Tensor) -> None:
        if value.is_floating_point():
            shapes[name] = tuple(value.shape)

    def run(names: Sequence[str]) -> None:
        with listen(model, dict.fromkeys(names, note)):
            logits = model(rgb, x)
        if logits.shape[1] != len(unwrapped(model).class_names):
            raise InputError(
                f"the model names {len(unwrapped(model).class_names)} classes, its logits have {logits.shape[1]}"
            )

    names = list(probe_points(model))
    try:
        run(names)
    except InputError:  # some probes are out of this model's path; look at those that fired
        if not shapes or len(shapes) == len(names):
            raise
        run(list(shapes))
    return shapes
