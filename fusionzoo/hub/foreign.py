"""The weights in a file or folder of others: found where there is one set, listed where there are several.

What people download holds its weights under `state_dict`, `model`, `net`, `ema`, ..., with prefixes that wrappers
leave (`module.`, `_orig_mod.`, Lightning's `model.`), in one file or in shards, pickled or as safetensors.
`read_weights` looks through all of it for mappings of names to tensors, and takes the one set that fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from fusionzoo.errors import InputError, unknown
from fusionzoo.files import inside, read_json
from fusionzoo.hub.kinds import is_safetensors, refuse_other_kinds
from fusionzoo.hub.layout import PICKLES, read_header
from fusionzoo.hub.unpickle import as_tensor, is_module, kind_of, load_inert, save_state_of

__all__ = ["Weights", "read_weights", "weight_files"]

Fits = Callable[[Mapping[str, Tensor]], bool]

WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of names that torch.compile, FSDP and activation checkpointing put anywhere into a key."""

MODULES = (*WRAPPERS, "module")
"""Those, and what DataParallel leaves round a part of a model."""

_TOP = "the file itself"
_DEPTH = 4
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.[a-z]+)")


@dataclass(frozen=True)
class Weights:
    """One set of weights: names -> tensors, and the name of its place in the file ("" where there was no choice)."""

    state: dict[str, Tensor]
    place: str = ""
    aside: int = 0
    """Tensors of the same mapping that lie outside the prefix that was taken."""

    def note(self, path: Path) -> str:
        """Where the values come from, for the record."""
        place = f" ({self.place})" if self.place else ""
        aside = f"; {self.aside} tensors beside them left out" if self.aside else ""
        return f"from {path.name}{place}, values unchanged{aside}"


def read_weights(path: Path, fits: Fits, key: str | None = None) -> Weights:
    """The set of weights in `path` that `fits`, without the prefixes of wrappers.

    Args:
        path: a `torch.save` file, a safetensors file, or a folder that holds one or the shards of one.
        fits: whether a set, by its names, is what is wanted. The only set of a file is taken even if it does not fit,
            so that the caller can say what is missing.
        key: name of the set to take, as the error for several lists it.

    Raises:
        InputError: no weights, several sets that fit, or another kind of file, which is named.
        UnknownNameError: `key` is none of the sets.
    """
    loaded = _read(path)
    groups = dict(_groups(loaded, "", 0))
    if not groups:
        raise InputError(f"{path} holds no state dict (names -> tensors): {_contents(loaded, path)}")
    if key is not None:
        return _by_name(path, groups, key, fits)
    found = [weights for name, state in groups.items() for weights in _variants(name, state, fits)]
    if len(found) == 1:
        return found[0] if len(groups) > 1 or found[0].aside else Weights(found[0].state)
    if not found and len(groups) == 1:
        return Weights(_unwrapped(next(iter(groups.values()))))
    named = {w.place: len(w.state) for w in found} or {name: len(state) for name, state in groups.items()}
    listed = ", ".join(f"{name} ({count} tensors)" for name, count in named.items())
    what = "several sets of weights" if found else "several sets of tensors, none of which fits as it is"
    last = list(named)[-1]
    raise InputError(f"{path} holds {what}: {listed}; choose one, for example: --key {last}")


def _by_name(path: Path, groups: dict[str, dict[str, Tensor]], key: str, fits: Fits) -> Weights:
    """The set called `key`: a mapping's name, its last part, or a prefix of names (Lightning's `ema_model`)."""
    names = [key] if key in groups else [name for name in groups if name.rpartition(".")[2] == key]
    if len(names) == 1:
        fitting = list(_variants(names[0], groups[names[0]], fits))
        return fitting[0] if len(fitting) == 1 else Weights(_unwrapped(groups[names[0]]), names[0])
    by_prefix: dict[str, tuple[dict[str, Tensor], int]] = {}
    for name, state in groups.items():
        for prefix in _prefixes(state):
            part = _below(state, prefix)
            by_prefix[_place(name, prefix)] = by_prefix[prefix.rstrip(".")] = (part, len(state) - len(part))
    if key.rstrip(".") in by_prefix:
        part, aside = by_prefix[key.rstrip(".")]
        return Weights(_unwrapped(part), key, aside)
    raise unknown(f"set of weights in {path}:", key, [*groups, *by_prefix], f"it holds {', '.join(groups)}")


# ------------------------------------------------------------------------------------------------ finding the sets


def _groups(value: Any, name: str, depth: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping of names to tensors in nested dicts; what an optimiser keeps is not one."""
    if not isinstance(value, Mapping) or depth > _DEPTH or "param_groups" in value:
        return
    named = {k: v for k, v in value.items() if isinstance(k, str)}
    tensors = {k: t for k, v in named.items() if (t := as_tensor(v)) is not None}
    if tensors:
        yield name or _TOP, tensors
    for k, v in named.items():
        yield from _groups(v, f"{name}.{k}" if name else k, depth + 1)


def _variants(name: str, state: dict[str, Tensor], fits: Fits) -> Iterator[Weights]:
    """The set itself if it fits; else each part below a prefix that does."""
    for whole in (state, _unwrapped(state), _without(state, MODULES)):
        if fits(whole):
            yield Weights(whole, name)
            return
    taken: set[frozenset[str]] = set()
    for prefix in _prefixes(state):
        part = _below(state, prefix)
        for inner in (part, _unwrapped(part), _without(part, MODULES)):
            if fits(inner):
                if (keys := frozenset(k for k in state if k.startswith(prefix))) not in taken:
                    taken.add(keys)
                    yield Weights(inner, _place(name, prefix), len(state) - len(part))
                break


def _prefixes(state: Mapping[str, Tensor]) -> list[str]:
    """Every prefix of the names, up to three parts deep, short ones first."""
    found = dict.fromkeys(
        ".".join(parts[:n]) + "." for key in state for parts in [key.split(".")] for n in range(1, min(len(parts), 4))
    )
    return sorted(found, key=lambda prefix: prefix.count("."))


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _place(name: str, prefix: str) -> str:
    return prefix.rstrip(".") if name == _TOP else f"{name}.{prefix.rstrip('.')}"


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the names of wrappers, and without `module.` where every name begins with it."""
    out = _without(state, WRAPPERS)
    while out and all(key.startswith("module.") for key in out):
        out = _below(out, "module.")
    return out


def _without(state: Mapping[str, Tensor], parts: Sequence[str]) -> dict[str, Tensor]:
    """Without these parts of names; as it is where two names would become one."""
    out = {".".join(p for p in key.split(".") if p not in parts): value for key, value in state.items()}
    return out if len(out) == len(state) else dict(state)


def _contents(loaded: Any, path: Path) -> str:
    """What is there instead of a state dict."""
    if is_module(loaded):
        return f"it holds {save_state_of(loaded, path)}"
    if not isinstance(loaded, Mapping):
        return f"it holds one {kind_of(loaded)}"
    for name, value in loaded.items():
        if is_module(value):
            return f"it holds {save_state_of(value, path, str(name))}"
    parts = [f"{str(k)[:40]} ({kind_of(v)})" for k, v in list(loaded.items())[:8]]
    return f"it has {', '.join(parts) or 'nothing'}{', ...' if len(loaded) > 8 else ''}"


# ------------------------------------------------------------------------------------------------ files and folders


def _read(path: Path) -> Any:
    if path.is_dir():
        files = weight_files(path)
        if len(files) == 1:
            return _read(files[0])
        return _merged(files, path)
    shard = _SHARD.fullmatch(path.name)
    if shard is not None and int(shard[3]) > 1:
        raise InputError(
            f"{path} is part {int(shard[2])} of {int(shard[3])} of a checkpoint; give the folder with all of them"
        )
    refuse_other_kinds(path)
    with open(path, "rb") as handle:
        head = handle.read(16)
    if not is_safetensors(head, path.stat().st_size):
        return load_inert(path)
    read_header(path)
    state: dict[str, Tensor] = load_file(path)
    return state


def _merged(files: list[Path], folder: Path) -> dict[str, Tensor]:
    """The tensors of several shards, each name once."""
    out: dict[str, Tensor] = {}
    for file in files:
        shard = load_file(file) if file.suffix == ".safetensors" else load_inert(file)
        if not isinstance(shard, Mapping):
            raise InputError(f"{file} holds no state dict (names -> tensors): {_contents(shard, file)}")
        tensors = {str(k): t for k, v in shard.items() if (t := as_tensor(v)) is not None}
        if twice := sorted(set(tensors) & set(out)):
            raise InputError(
                f"{folder}: {twice[0]!r} is in two of its files; remove the one that does not belong to it"
            )
        out |= tensors
    return out


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder that hold its one set of weights: one file, or all its shards.

    Raises:
        InputError: none, several that are no shards of one, a shard that is missing, or a folder of another kind.
    """
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    _refuse_other_folders(folder, names)
    indexes = [n for n in names if n.endswith(".index.json")]
    if len(indexes) == 1:
        return _indexed(folder, indexes[0])
    weights = [n for n in names if n.endswith((".safetensors", *PICKLES))]
    shards = [m for n in weights if (m := _SHARD.fullmatch(n))]
    if shards and len(shards) == len(weights) and len({(m[1], m[3], m[4]) for m in shards}) == 1:
        wanted = {f"{i:05d}" for i in range(1, int(shards[0][3]) + 1)}
        if missing := sorted(wanted - {m[2] for m in shards}):
            raise InputError(f"{folder}: part {int(missing[0])} of {len(wanted)} is missing; download it too")
        return [folder / n for n in weights]
    if len(weights) == 1:
        return [folder / weights[0]]
    kinds = ", ".join((".safetensors", *PICKLES))
    if not weights:
        shown = f"it holds {', '.join(names[:5])}" if names else "it holds no files"
        raise InputError(f"{folder} is a folder without a file of the kinds {kinds}: {shown}; give the file of weights")
    raise InputError(
        f"{folder} holds {len(weights)} files of the kinds {kinds}; name the one to convert: {', '.join(weights[:5])}"
    )


def _indexed(folder: Path, index: str) -> list[Path]:
    table = read_json(folder / index, 64 << 20).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise InputError(f"{folder / index} has no weight_map: it is not the index of a checkpoint in several files")
    files = [inside(folder, name) for name in dict.fromkeys(table.values())]
    for file in files:
        if not file.is_file():
            raise InputError(f"{folder}: {file.name}, one of the {len(files)} files that {index} names, is missing")
    return files


def _refuse_other_folders(folder: Path, names: list[str]) -> None:
    if any(n.endswith(".distcp") for n in names):
        raise InputError(
            f"{folder} is a distributed checkpoint (.distcp); make one file of it:"
            f" python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pth"
        )
    if "data.pkl" in names and (folder / "data").is_dir():
        raise InputError(
            f"{folder} is a torch.save file that a program has unpacked; pack it again:"
            f" cd {folder.parent} && zip -0 -r weights.pth {folder.name}"
        )
    if "saved_model.pb" in names:
        raise InputError(f"{folder} is a TensorFlow SavedModel; only weights of PyTorch are read")
