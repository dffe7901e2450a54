"""The one loop: passes over the data that fill named accumulators; processes, state file, progress.

Under `torchrun` the processes share the batches of a pass, each image once, and exchange their sums after it, so that
all go on with the same; a state file lets a killed run go on to the same numbers.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from fusionzoo.dissect.conditions import unwrapped
from fusionzoo.dissect.effects import Setting
from fusionzoo.dissect.split import Split
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write
from fusionzoo.tasks import data_task

__all__ = ["Pass", "Work", "batches", "joined", "run", "setting_of", "state_digest"]

SAVE_EVERY = 20  # batches

Sums = Any  # an Accumulator, or a Grouped of them: both merge and go through state_dict
Feed = Callable[[list[dict[str, Any]], list[int]], None]
Batches = list[tuple[list[int], list[int]]]


@dataclass
class Pass:
    """One run over the data.

    Args:
        name: for the progress bar.
        begin: the pass's empty accumulators by name, unique in a run, made when the passes before it are complete.
        open: a context that gives `feed(samples, places)`, which adds samples whose numbers in the run are `places`.
        batches: (places, places to read) of every batch, see `batches`.
        data: what is read.
    """

    name: str
    begin: Callable[[], Mapping[str, Sums]]
    open: Callable[[], AbstractContextManager[Feed]]
    batches: Batches
    data: Any


@dataclass(frozen=True)
class Work:
    """What a run works on, and how.

    Args:
        indices: the images, whose places 0.. in this list decide their roles and groups.
        state: a file to save sums in. title: for the progress bar.
        options: JSON values; a state file of a run with others is refused.
    """

    model: nn.Module
    data: Any
    indices: Sequence[int]
    split: Split
    batch_size: int
    num_workers: int = 0
    progress: bool = True
    state: str | os.PathLike[str] | None = None
    title: str = "run"
    options: Mapping[str, Any] = field(default_factory=dict)


def batches(places: Sequence[int], size: int, follower: bool = False) -> Batches:
    """Places in batches; with `follower` each batch also reads the place after its last, the last batch the first.

    >>> batches([3, 1, 2], 2, follower=True)
    [([3, 1], [3, 1, 2]), ([2], [2, 3])]
    """
    cut = [list(places[i : i + size]) for i in range(0, len(places), size)]
    after = [*(mine[0] for mine in cut[1:]), *places[:1]]
    return [(mine, [*mine, next_] if follower else mine) for mine, next_ in zip(cut, after, strict=True)]


def run(passes: Sequence[Pass], work: Work) -> None:
    """Runs the passes one after the other and leaves complete sums in the accumulators that they began with.

    Raises:
        InputError: unusable images; a state file that cannot be read, or is of another run.
    """
    rank, world = _world()
    path = None if work.state is None else Path(f"{work.state}.{rank}" if world > 1 else work.state)
    state = _State(path, {} if path is None else _identity(work))
    first, done = state.load(passes)
    todo = [each.batches[rank::world] for each in passes]
    bar = tqdm(
        total=sum(map(len, todo)),
        initial=sum(map(len, todo[:first])) + done,
        disable=not work.progress or rank > 0,
        file=sys.stderr,
        unit="batch",
        mininterval=0.2 if sys.stderr.isatty() else 20,
    )
    with bar:
        for at in range(first, len(passes)):
            each = passes[at]
            bar.set_description(f"{work.title}, {each.name}")
            if at not in state.begun:
                state.begin(at, each)
            rest = todo[at][done:]
            if rest:
                done = _read(each, rest, work, bar, done, partial(state.save, at))
            if world > 1:
                _exchange(state.begun[at], state.empty[at], world)
            done = 0
            state.save(at + 1, 0)


def setting_of(work: Work, name: str | None, size: Sequence[int], seed: int, seconds: float) -> Setting:
    """The part of a result that says which model on which images."""
    plain, data = unwrapped(work.model), work.data
    return Setting(
        model=name or plain.architecture or type(plain).__name__,
        data=data.name,
        split=data.split,
        n=len(work.indices),
        class_names=list(data.class_names),
        size=list(size),
        modalities=list(plain.modalities),
        concepts=dict(data.concepts),
        seed=seed,
        block=work.split.block,
        seconds=seconds,
        versions={"torch": str(torch.__version__), "python": platform.python_version()},
        task=data_task(data),
    )


def _read(each: Pass, rest: Batches, work: Work, bar: Any, done: int, save: Callable[[int], None]) -> int:
    """Feeds the batches of a pass that are left; how many of its batches are done then."""
    sampler = [[work.indices[place] for place in read] for _, read in rest]
    loader = DataLoader(each.data, batch_sampler=sampler, collate_fn=list, num_workers=work.num_workers)
    with each.open() as feed:
        for (places, _), samples in zip(rest, loader, strict=True):
            feed(samples, places)
            done += 1
            bar.update()
            if done % SAVE_EVERY == 0:
                save(done)
    return done


# ------------------------------------------------------------------------------------------------- processes and state


def _world() -> tuple[int, int]:
    dist = torch.distributed
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def joined(empty: Sums, parts: Sequence[Mapping[str, torch.Tensor]]) -> Sums:
    """An accumulator like `empty` that holds the states `parts` of several processes, merged in their order."""
    whole: Any = None
    for part in parts:
        one = copy.deepcopy(empty)
        one.load_state_dict(dict(part))
        whole = one if whole is None else whole.merge(one)
    return whole


def _exchange(sums: Mapping[str, Sums], empty: Mapping[str, Sums], world: int) -> None:
    """Every process merges the sums of all, in the order of ranks, so that all hold the same."""
    parts: list[Any] = [None] * world
    torch.distributed.all_gather_object(parts, {name: own.state_dict() for name, own in sums.items()})
    for name, own in sums.items():
        own.load_state_dict(joined(empty[name], [part[name] for part in parts]).state_dict())


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names and the bytes of tensors, in their order."""
    digest = hashlib.sha256()
    for key, value in state.items():
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _identity(work: Work) -> dict[str, Any]:
    """What must be the same for a saved state to be of this run: JSON values."""
    rank, world = _world()
    return {
        "model": state_digest(work.model.state_dict()),
        "preprocess": unwrapped(work.model).preprocess.to_dict(),
        "data": work.data.describe(),
        "images": hashlib.sha256(json.dumps(list(work.indices)).encode()).hexdigest(),
        "batch_size": work.batch_size,
        "block": work.split.block,
        "process": f"{rank} of {world}",
        **work.options,
    }


class _State:
    """The sums of all passes so far, and the file that holds them. Without a path nothing is saved."""

    def __init__(self, path: Path | None, identity: Mapping[str, Any]) -> None:
        self.path, self.identity = path, json.loads(json.dumps(identity))
        self.begun: dict[int, dict[str, Sums]] = {}
        self.empty: dict[int, dict[str, Sums]] = {}

    def begin(self, at: int, each: Pass) -> None:
        """Makes the accumulators of a pass; other processes' sums are read into copies of the empty ones."""
        self.begun[at] = dict(each.begin())
        self.empty[at] = copy.deepcopy(self.begun[at]) if _world()[1] > 1 else {}

    def save(self, at: int, done: int) -> None:
        """Writes all sums: pass `at` is under way, `done` of its batches are in it."""
        if self.path is None:
            return
        from safetensors.torch import save

        note = {"identity": json.dumps(self.identity, sort_keys=True), "pass": str(at), "batches": str(done)}
        tensors = {
            f"{name}|{key}": value.contiguous()
            for sums in self.begun.values()
            for name, own in sums.items()
            for key, value in own.state_dict().items()
        }
        atomic_write(self.path, save(tensors, note))

    def load(self, passes: Sequence[Pass]) -> tuple[int, int]:
        """Fills the sums from the file, if there is one; the pass to go on with, and its batches that are done."""
        if self.path is None or not self.path.exists():
            return 0, 0
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                note = file.metadata() or {}
                tensors = {k: file.get_tensor(k) for k in file.keys()}
            saved = json.loads(note["identity"])
            number, done = int(note["pass"]), int(note["batches"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            text = f"{self.path} is no saved state of a run ({error})"
            raise InputError(f"{text}; delete it, or name another file") from error
        wrong = [k for k in self.identity if saved.get(k) != self.identity[k]]
        if wrong or not 0 <= number <= len(passes):
            differ = f"{', '.join(wrong) or 'passes'} differ"
            raise InputError(f"{self.path} is the state of another run ({differ}); delete it, or name another file")
        begun = min(number + 1, len(passes)) if done else number
        for at in range(begun):  # a pass begins from the complete ones before
            self.begin(at, passes[at])
            for name, own in self.begun[at].items():
                prefix = f"{name}|"
                own.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        return number, done
