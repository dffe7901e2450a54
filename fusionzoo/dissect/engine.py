"""The engine: runs a plan over data, feeding each accumulator inside the probe, and sums up.

Nothing of the data set is held but one batch and the sums: each listener reduces the live tensor at once (taps.py).

Protocol. Labels stay at their native size; logits are upsampled to it (bilinear, align_corners=False) before the arg
max. What stands for a modality that is taken away is the `absence` policy (absence.py), by default the model's declared
substitute, zeros after normalisation, that is the mean. The first pass goes through the images in one drawn order, in
which each image's neighbour lends it a modality for the perceptual score; no number depends on batches or processes
but by rounding. Concepts: statistics at each map's own resolution with masks as area fractions, set IoU on
one grid for all points, on images that no weight and no threshold was fitted to.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from fusionzoo.data import adapt, collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect import relate, summary, vectors
from fusionzoo.dissect.absence import check_policy
from fusionzoo.dissect.feed import Feeder, needs_others, normalised, unwrapped
from fusionzoo.dissect.masks import concept_data, plain_data
from fusionzoo.dissect.plan import EXTRA, METRICS, Pass, Plan, Split, make_plan
from fusionzoo.dissect.results import FEWEST, DataInfo, Dissection, ModelInfo, Protocol, write_atomic
from fusionzoo.dissect.tally import PointInfo, Settings, Tally
from fusionzoo.errors import InputError, unknown
from fusionzoo.metrics.concepts.semantic_variance import REDUCERS
from fusionzoo.probes import listen, probe_points, select

__all__ = ["chosen_images", "dissect", "evaluating", "fitted"]

TAU = 0.05
"""Chosen on a trained MobileNet v1 0.25 hybrid (16 to 256 channels) and planted data: against 0.005, the mean concept
IoU of the streams rises from 22 to 36 and semantic variance from 7 to 12 times its noise floor; both find the truth."""
RIDGE = 1e-2
"""Between 1e-3 and 1e-1 hardly a number changes."""
GRID_STRIDE = 4
SATURABLE = ("gate", "agreement")
"""Roles of probes for which values at an end of the range are a fault; ReLU, attention and masks lie there by nature.
"""
SAVE_EVERY = 50  # batches


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
    reducer: summary.Reducer = "mean_abs",
    block: int = 8,
    seed: int | None = None,
    num_workers: int = 0,
    state: str | os.PathLike[str] | None = None,
    name: str | None = None,
    source: str = "",
) -> Dissection:
    """Dissects `model` on `data`: what each modality contributes, what each stream encodes at each level.

    Args:
        model: a FusionModel; it runs in eval mode on the device where it is.
        data: a dataset of `fusionzoo.data`, a `Subset` or `ConcatDataset` of such, a list of samples, or a user's own:
            anything with a length whose items have rgb, x and label, see `fusionzoo.data.adapt`.
        points: probe names or patterns to keep to; all by default.
        metrics: some of `fusionzoo.dissect.plan.METRICS`; all of them by default (of fewer than 4 images without
            "concepts", which need two halves to learn from and held-out images); fewer metrics, less work. Beside them
            "concept_contribution": what each modality gives to the concepts at the fused points.
        batch_size: images for one forward pass.
        limit: use that many images, evenly spread over the data.
        progress: show a progress bar on standard error.
        absence: what stands for a modality that is taken away: "mean", "zero", "permute", "noise" or "blur", see
            `fusionzoo.dissect.absence`.
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
    number = None if concepts == "labels" else len(names)
    indices = chosen_images(data, limit)
    seed = int(getattr(data, "seed", 0)) if seed is None else seed
    if metrics is None and len(indices) < FEWEST:
        metrics = [m for m in METRICS if m != "concepts"]
    if absence == "permute" and len(indices) < 2:
        raise InputError('absence "permute" takes a modality from another image, here is one image only')
    with evaluating(model):
        permuted = absence != "permute" and len(indices) > 1
        plan, settings, grid, size = _prepare(model, data, indices, points, metrics, tau, ridge, permuted, number)
        split = Split.of(len(indices), block)
        tally = Tally(plan, settings)
        identity = _identity(model, data, indices, plan, settings, split, batch_size)
        identity |= {"absence": absence, "seed": seed, "concepts": names}
        job = Job(model, data, indices, split, grid, absence, seed, batch_size, num_workers, progress)
        _run(job, tally, state, identity)
    chosen = _levels(model, points)
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
            metrics=[m for m in METRICS + EXTRA if (m in METRICS if metrics is None else m in metrics)],
            passes=len(plan.passes),
            grid=list(grid) if any(t.kind == "curve" for t in plan.tasks) else None,
            block=split.block,
            concepts=concepts,
            positions=settings.positions if any(t.variant == "pix" for t in plan.tasks) else None,
        ),
        segmentation=summary.segmentation(tally),
        contribution=summary.contribution_table(tally, absence, chosen),
        matrices=relate.matrices(tally, chosen) + vectors.matrices(tally, chosen),
        concept_names=names if concepts != "labels" else [],
        **_tables(tally, model, data, points, reducer, names),
    )


def _tables(
    tally: Tally, model: nn.Module, data: Any, points: Any, reducer: summary.Reducer, names: Sequence[str]
) -> dict[str, Any]:
    rows = summary.levels(tally, _levels(model, points), reducer, names)
    planted = tally.settings.concepts is None
    return {
        "levels": rows,
        "probes": summary.health(tally, probe_points(model)),
        "planted": summary.planted_table(rows, names, data.concepts) if planted else None,
    }


# ------------------------------------------------------------------------------------------------------ before the run


def _levels(model: nn.Module, points: str | Sequence[str] | None) -> dict[int, dict[str, str]]:
    """The model's levels, kept to the chosen points; levels without any are left out."""
    chosen = probe_points(model) if points is None else select(model, [points] if isinstance(points, str) else points)
    levels: Mapping[int, Mapping[str, str]] = unwrapped(model).levels
    kept = {level: {s: p for s, p in at.items() if p in chosen} for level, at in levels.items()}
    return {level: at for level, at in kept.items() if at}


def chosen_images(data: Any, limit: int | None) -> list[int]:
    n = len(data)
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; give 1 or more, or leave it out for all images")
    if n < 1:
        raise InputError(f"{data.name}: the split {data.split!r} has no images")
    count = n if limit is None else min(limit, n)
    return [i * n // count for i in range(count)]


def fitted(model: nn.Module, data: Any) -> Any:
    """The data as a data set with names (`fusionzoo.data.adapt`); refuses what the model cannot have been made for."""
    plain = unwrapped(model)
    if not hasattr(plain, "levels") or not hasattr(plain, "preprocess"):
        raise InputError(f"{type(plain).__name__} is no FusionModel: dissect needs its levels and its preprocessing")
    kind = plain.preprocess.x_kind.replace("inverse_depth", "depth")
    data = adapt(data, class_names=plain.class_names, x_kind=kind, x_channels=plain.preprocess.x_channels)
    if len(plain.class_names) != data.num_classes:
        raise InputError(
            f"the model predicts {len(plain.class_names)} classes, {data.name} has {data.num_classes};"
            " name the data it was trained for (fusionzoo info shows it)"
        )
    kinds = [k.replace("inverse_depth", "depth") for k in (plain.preprocess.x_kind, data.x_kind)]
    if kinds[0] != kinds[1] or plain.preprocess.x_channels != data.x_channels:
        raise InputError(
            f"the model takes {plain.preprocess.x_channels}-channel {kinds[0]}, {data.name} gives"
            f" {data.x_channels}-channel {kinds[1]}; fusionzoo.data.as_kind makes HHA and grey pictures of depth"
        )
    return data


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _prepare(
    model: nn.Module,
    data: Any,
    indices: Sequence[int],
    points: str | Sequence[str] | None,
    metrics: Sequence[str] | None,
    tau: float | None,
    ridge: float,
    permuted: bool,
    concepts: int | None,
) -> tuple[Plan, Settings, tuple[int, int], list[int]]:
    """The plan, the settings, the concept grid and the image size, from one image's forward pass."""
    batch = collate([checked(plain_data(data)[indices[0]], data)])
    shapes = _shapes(model, *normalised(model, batch))
    probes = probe_points(model)
    chosen = probes if points is None else select(model, [points] if isinstance(points, str) else points)
    levels = _levels(model, points)
    for point in (p for at in levels.values() for p in at.values()):
        if len(shapes.get(point, ())) != 4:
            raise InputError(f"level point {point} passed {shapes.get(point, 'nothing')}, wanted a map (B, C, H, W)")
    measured = [p for p in chosen if len(shapes.get(p, ())) in (2, 4)]
    uneven = [level for level, at in levels.items() if len({shapes[p][2:] for p in at.values()}) > 1]
    gates = [p for p in measured if probes[p].role == "gate" and probes[p].low is not None]
    plan = make_plan(metrics, levels, measured, binarise=tau is not None, permuted=permuted, uneven=uneven, gates=gates)
    if any(t.kind == "curve" for t in plan.tasks) and len(indices) < FEWEST:
        raise InputError(
            f"concepts need at least {FEWEST} images, here are {len(indices)}; give more, or other metrics"
        )
    ends = {p: (probes[p].low, probes[p].high) if probes[p].role in SATURABLE else (None, None) for p in measured}
    info = {p: PointInfo(shapes[p][1], *ends[p], p in gates) for p in measured}
    settings = Settings(data.num_classes, info, concepts, data.ignore_index, tau, ridge)
    size = list(batch["rgb"].shape[-2:])
    grid = (max(1, size[0] // GRID_STRIDE), max(1, size[1] // GRID_STRIDE))
    return plan, settings, grid, size


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


def _identity(
    model: nn.Module,
    data: Any,
    indices: Sequence[int],
    plan: Plan,
    settings: Settings,
    split: Split,
    batch_size: int,
) -> dict[str, Any]:
    """What must be the same for a saved state to be of this run: JSON values."""
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    rank, world = _world()
    return {
        "model": digest.hexdigest(),
        "preprocess": unwrapped(model).preprocess.to_dict(),
        "data": data.describe(),
        "images": hashlib.sha256(json.dumps(list(indices)).encode()).hexdigest(),
        "plan": hashlib.sha256(json.dumps([t.key for t in plan.tasks]).encode()).hexdigest(),
        "tau": settings.tau,
        "ridge": settings.ridge,
        "block": split.block,
        "batch_size": batch_size,
        "process": f"{rank} of {world}",
    }


# ------------------------------------------------------------------------------------------------------------- the run


def _world() -> tuple[int, int]:
    dist = torch.distributed
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


@dataclass(frozen=True)
class Job:
    """What a run works on. `indices`: the images, whose places 0.. in this list decide their roles and groups."""

    model: nn.Module
    data: Any
    indices: Sequence[int]
    split: Split
    grid: tuple[int, int]
    absence: str
    seed: int
    batch_size: int
    num_workers: int
    progress: bool

    def batches(self, current: Pass) -> list[tuple[list[int], list[int]]]:
        """All batches of a pass: their places, and the places to read (one more where images lend each other)."""
        others = needs_others(current, self.absence)
        places = self.split.cycle(self.seed) if others else self.split.indices(current.roles)
        starts = range(0, len(places), self.batch_size)
        cut = [places[i : i + self.batch_size] for i in starts]
        after = [(places * 2)[min(i + self.batch_size, len(places))] for i in starts]
        return [(mine, [*mine, follower] if others else mine) for mine, follower in zip(cut, after, strict=True)]


def _run(job: Job, tally: Tally, state: str | os.PathLike[str] | None, identity: dict[str, Any]) -> None:
    """All passes, from the saved state where there is one."""
    rank, world = _world()
    path = None if state is None else Path(f"{state}.{rank}" if world > 1 else state)
    done = _load(path, tally, identity)
    work = [job.batches(each)[rank::world] for each in tally.plan.passes]
    bar = tqdm(
        total=sum(map(len, work)),
        initial=sum(map(len, work[: tally.number])) + done,
        disable=not job.progress or rank > 0,
        file=sys.stderr,
        unit="batch",
        mininterval=0.2 if sys.stderr.isatty() else 20,
    )
    with bar:
        while not tally.finished:
            bar.set_description(f"dissect, pass {tally.number + 1} of {len(work)}")
            done = _pass(job, tally, work[tally.number], done, bar, path, identity)
            _exchange(tally, world)
            tally.advance()
            done = 0
            if path is not None:
                _save(path, tally, identity, done)


def _pass(
    job: Job,
    tally: Tally,
    work: Sequence[tuple[list[int], list[int]]],
    done: int,
    bar: Any,
    path: Path | None,
    identity: dict[str, Any],
) -> int:
    """The rest of one pass; the number of its batches that are done."""
    todo = work[done:]
    if not todo:
        return done
    sampler = [[job.indices[place] for place in read] for _, read in todo]
    masked = any(task.kind in ("statistics", "curve") for task in tally.current.tasks)
    data = job.data if masked else plain_data(job.data)
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=list, num_workers=job.num_workers)
    feeder = Feeder(job.model, tally, job.split, job.grid, job.data, job.absence, job.seed)
    with feeder.listening():
        for (places, _), samples in zip(todo, loader, strict=True):
            feeder.feed(samples, places)
            done += 1
            bar.update()
            if path is not None and done % SAVE_EVERY == 0:
                _save(path, tally, identity, done)
    return done


def _exchange(tally: Tally, world: int) -> None:
    """Every process gets every other's sums of the pass; all merge them in the order of ranks, so all hold the same."""
    if world == 1:
        return
    parts: list[Any] = [None] * world
    torch.distributed.all_gather_object(parts, tally.state_dict(current_only=True))
    tally.merge_states(parts)


def _save(path: Path, tally: Tally, identity: dict[str, Any], done: int) -> None:
    from safetensors.torch import save

    note = {"identity": json.dumps(identity, sort_keys=True), "pass": str(tally.number), "batches": str(done)}
    tensors = {k: v.contiguous() for k, v in tally.state_dict().items()}
    write_atomic(path, save(tensors, note))


def _load(path: Path | None, tally: Tally, identity: dict[str, Any]) -> int:
    """Fills `tally` from the file, if there is one; the number of batches of the current pass that it holds."""
    if path is None or not path.exists():
        return 0
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            note = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}
        saved = json.loads(note["identity"])
        number, done = int(note["pass"]), int(note["batches"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path} is no saved state of a dissection ({error}); delete it, or name another file"
        ) from error
    wrong = [k for k in identity if saved.get(k) != json.loads(json.dumps(identity[k]))]
    if wrong:
        raise InputError(
            f"{path} is the state of another run ({', '.join(wrong)} differ); delete it, or name another file"
        )
    tally.load_state_dict(tensors, number)
    return done
