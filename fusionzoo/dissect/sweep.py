"""Runs over the data that fill named accumulators: the part that tracing and robustness curves share.

A `Stage` is one run over the images; what it sums up is fixed in size, whatever their number. Under `torchrun` the
processes share the batches of a stage, each image once, and exchange their sums after it, so that all go on with the
same; a state file lets a killed run go on. Scores come from per-group confusion matrices (`score`, `difference`).
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from fusionzoo.data import collate
from fusionzoo.data.validate import checked
from fusionzoo.dissect.effects import Scores, Setting
from fusionzoo.dissect.feed import predict_labels, unwrapped
from fusionzoo.dissect.plain import write_atomic
from fusionzoo.dissect.plan import Split
from fusionzoo.dissect.summary import number, numbers
from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.metrics import Accumulator, ConfusionMatrix, jackknife
from fusionzoo.metrics.segmentation.confusion import iou_from_confusion

__all__ = ["GROUPS", "Stage", "Work", "batches", "count", "difference", "matrix", "score", "sweep"]

GROUPS = 16
"""Image groups for jackknife errors."""
SAVE_EVERY = 20  # batches

Sample = dict[str, Any]


@dataclass
class Stage:
    """One run over the data: `feed(samples, places)` adds the samples, whose numbers in the run are `places`, to
    `sums`."""

    name: str
    sums: dict[str, Accumulator]
    feed: Callable[[list[Sample], list[int]], None]


@dataclass(frozen=True)
class Work:
    """What a sweep runs over, and how. `identity` says what must be the same for a saved state to be of this run."""

    data: Any
    indices: Sequence[int]
    split: Split
    batch_size: int
    num_workers: int = 0
    progress: bool = True
    state: str | os.PathLike[str] | None = None
    title: str = "sweep"

    def setting(self, model: nn.Module, name: str | None, size: Sequence[int], seed: int, seconds: float) -> Setting:
        """The part of a result that says which model on which images."""
        plain = unwrapped(model)
        return Setting(
            model=name or plain.architecture or type(plain).__name__,
            data=self.data.name,
            split=self.data.split,
            n=len(self.indices),
            class_names=list(self.data.class_names),
            size=list(size),
            modalities=list(plain.modalities),
            concepts=dict(self.data.concepts),
            seed=seed,
            block=self.split.block,
            seconds=seconds,
            versions={"torch": str(torch.__version__), "python": platform.python_version()},
        )


def sweep(model: nn.Module, stages: Sequence[Stage], work: Work, options: Mapping[str, Any]) -> None:
    """Runs the stages one after the other and leaves complete sums in each.

    Args:
        model: only named in the state file.
        options: JSON values; a state file of a run with others is refused.

    Raises:
        InputError: unusable images; a state file that cannot be read, or is of another run.
    """
    rank, world = _world()
    path = None if work.state is None else Path(f"{work.state}.{rank}" if world > 1 else work.state)
    identity = {} if path is None else _identity(model, stages, work, options)
    empty = [{name: copy.deepcopy(sums) for name, sums in stage.sums.items()} for stage in stages]
    first, done = _load(path, stages, identity)
    places = range(len(work.indices))
    mine = [list(places[i : i + work.batch_size]) for i in places[:: work.batch_size]][rank::world]
    bar = tqdm(
        total=len(mine) * len(stages),
        initial=first * len(mine) + done,
        disable=not work.progress or rank > 0,
        file=sys.stderr,
        unit="batch",
        mininterval=0.2 if sys.stderr.isatty() else 20,
    )
    with bar:
        for at in range(first, len(stages)):
            stage = stages[at]
            bar.set_description(f"{work.title}, {stage.name}")
            todo = mine[done:]
            sampler = [[work.indices[i] for i in batch] for batch in todo]
            loader = DataLoader(work.data, batch_sampler=sampler, collate_fn=list, num_workers=work.num_workers)
            for batch, samples in zip(todo, loader, strict=True):
                stage.feed(samples, batch)
                done += 1
                bar.update()
                if path is not None and done % SAVE_EVERY == 0:
                    _save(path, stages, identity, at, done)
            if world > 1:
                _exchange(stage, empty[at], world)
            done = 0
            if path is not None:
                _save(path, stages, identity, at + 1, 0)


def batches(samples: Sequence[Sample], places: Sequence[int], data: Any) -> Iterator[tuple[Sample, list[int]]]:
    """Checked and collated runs of samples of one size, with their places."""
    pairs = [(checked(sample, data), place) for sample, place in zip(samples, places, strict=True)]
    for _, same in itertools.groupby(pairs, lambda p: (p[0]["rgb"].shape, p[0]["label"].shape)):
        run = list(same)
        yield collate([s for s, _ in run]), [p for _, p in run]


# ------------------------------------------------------------------------------------------------------------- scores


def matrix(data: Any) -> ConfusionMatrix:
    """An empty confusion matrix for the data, in image groups."""
    return ConfusionMatrix(data.num_classes, data.ignore_index, GROUPS)


def count(
    sums: Accumulator, logits: Tensor, label: Tensor, places: Sequence[int], split: Split, what: str, ids: Sequence[str]
) -> None:
    """Adds predictions from logits (B, K, h, w) against labels (B, H, W) to a matrix that `matrix` made.

    Raises:
        CheckFailed: logits that are not finite.
    """
    low, high = logits.aminmax()  # which NaN passes through
    if not bool(torch.isfinite(low) & torch.isfinite(high)):
        some = ", ".join(map(str, ids[:3])) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
        raise CheckFailed(f"the model's output ({what}) is not finite for {some}")
    assert isinstance(sums, ConfusionMatrix)
    for i, place in enumerate(places):
        prediction = predict_labels(logits[i : i + 1], label.shape[-2:])
        sums.update(prediction, label[i : i + 1], split.group(place, GROUPS))


def score(counts: Tensor) -> Scores:
    """Scores and their jackknife errors from (G, K, K) counts, integer or weighted."""
    value, error = jackknife(_both, [counts])
    return Scores(number(value[0]), number(error[0]), numbers(value[1:]), numbers(error[1:]))


def difference(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """(1 + K,) scores of `first` minus those of `second`, mIoU and then each class, and the jackknife error of it.

    Both are (G, K, K) counts over the same image groups, which are left out of both at once.
    """
    return jackknife(lambda a, b: _both(a) - _both(b), [first, second])


def _both(counts: Tensor) -> Tensor:
    """(1 + K,): mIoU, IoU of each class."""
    iou = iou_from_confusion(counts)
    return torch.cat([iou.nanmean()[None], iou])


# ------------------------------------------------------------------------------------------------- processes and state


def _world() -> tuple[int, int]:
    dist = torch.distributed
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def _exchange(stage: Stage, empty: Mapping[str, Accumulator], world: int) -> None:
    """Every process merges the sums of all, in the order of ranks, so that all hold the same."""
    parts: list[Any] = [None] * world
    own = {name: sums.state_dict() for name, sums in stage.sums.items()}
    torch.distributed.all_gather_object(parts, own)
    for name, blank in empty.items():
        joined = copy.deepcopy(blank)
        for part in parts:
            one = copy.deepcopy(blank)
            one.load_state_dict(part[name])
            joined.merge(one)
        stage.sums[name].load_state_dict(joined.state_dict())


def _identity(model: nn.Module, stages: Sequence[Stage], work: Work, options: Mapping[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for key, value in model.state_dict().items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    rank, world = _world()
    names = [[stage.name, *stage.sums] for stage in stages]
    return {
        "model": digest.hexdigest(),
        "preprocess": unwrapped(model).preprocess.to_dict(),
        "data": work.data.describe(),
        "images": hashlib.sha256(json.dumps(list(work.indices)).encode()).hexdigest(),
        "sums": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
        "options": dict(options),
        "block": work.split.block,
        "batch_size": work.batch_size,
        "process": f"{rank} of {world}",
    }


def _save(path: Path, stages: Sequence[Stage], identity: Mapping[str, Any], at: int, done: int) -> None:
    from safetensors.torch import save

    note = {"identity": json.dumps(identity, sort_keys=True), "stage": str(at), "batches": str(done)}
    tensors = {
        f"{i}|{name}|{key}": value.contiguous()
        for i, stage in enumerate(stages)
        for name, sums in stage.sums.items()
        for key, value in sums.state_dict().items()
    }
    write_atomic(path, save(tensors, note))


def _load(path: Path | None, stages: Sequence[Stage], identity: Mapping[str, Any]) -> tuple[int, int]:
    """Fills the sums from the file, if there is one; the stage to go on with, and how many of its batches are done."""
    if path is None or not path.exists():
        return 0, 0
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            note = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}
        saved = json.loads(note["identity"])
        at, done = int(note["stage"]), int(note["batches"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is no saved state of a run ({error}); delete it, or name another file") from error
    wrong = [k for k in identity if saved.get(k) != json.loads(json.dumps(identity[k]))]
    if wrong:
        raise InputError(
            f"{path} is the state of another run ({', '.join(wrong)} differ); delete it, or name another file"
        )
    for i, stage in enumerate(stages):
        for name, sums in stage.sums.items():
            prefix = f"{i}|{name}|"
            sums.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    return at, done
