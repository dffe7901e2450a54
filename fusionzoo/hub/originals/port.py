"""The machinery of the ports: key tables, strict loading, and a module that is called as the original is.

A key table maps official names to ours, one line a layer: `{"atten_rgb.1": "excite_rgb"}` maps `atten_rgb.1.weight`
to `excite_rgb.weight`. Every key of ours must be covered by the table and every official key must be used: what is left
over on either side is an error that lists it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fusionzoo.errors import CheckFailed, InputError
from fusionzoo.models import FusionModel, create_model
from fusionzoo.probes.point import Probe

__all__ = [
    "Layout",
    "Port",
    "View",
    "as_tokens",
    "blank",
    "channels_last",
    "expand_table",
    "inferred_size",
    "load_mapped",
    "same",
    "take",
    "without_aliases",
]

Layout = Callable[[Tensor], Tensor]


def same(value: Tensor) -> Tensor:
    """The layout that changes nothing."""
    return value


def as_tokens(value: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, HW, C)."""
    return value.flatten(2).transpose(1, 2)


def channels_last(value: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H, W, C)."""
    return value.permute(0, 2, 3, 1)


class View(NamedTuple):
    """An inner value of the original: which probe of ours holds it, and how to lay it out as the original does."""

    probe: str
    layout: Layout = same


def expand_table(table: Mapping[str, str], module: nn.Module) -> dict[str, str]:
    """Official key -> our key for every entry of our state dict, by the longest matching prefix of ours.

    Raises:
        ValueError: one of our keys is not covered, or two official keys would coincide (a mistake in the table).
    """
    full: dict[str, str] = {}
    by_ours = {ours: official for official, ours in table.items()}
    if len(by_ours) != len(table):
        raise ValueError("two official names lead to one of ours in the key table")
    for key in module.state_dict():
        parts = key.split(".")
        for n in range(len(parts), 0, -1):
            prefix = ".".join(parts[:n])
            if prefix in by_ours:
                official = ".".join([by_ours[prefix], *parts[n:]])
                break
        else:
            raise ValueError(f"the key table does not cover {key!r}")
        if official in full:
            raise ValueError(f"the key table uses {official!r} twice")
        full[official] = key
    return full


def load_mapped(
    module: nn.Module, state: Mapping[str, Tensor], table: Mapping[str, str], *, what: str, reshape: bool = False
) -> dict[str, str]:
    """Loads the official `state` into `module`, strictly, through `table`.

    Args:
        module: ours, already of the right sizes.
        state: official key -> tensor.
        table: official prefix -> our prefix (see `expand_table`).
        what: the kind, for the message.
        reshape: let a linear layer's (O, I) stand for a 1x1 convolution's (O, I, 1, 1), and the reverse.

    Returns:
        Official key -> our key, complete.

    Raises:
        CheckFailed: official keys without a place, places without an official key, or shapes that differ; all listed.
    """
    full = expand_table(table, module)
    ours = module.state_dict()
    trouble = []
    if unmapped := sorted(set(state) - set(full)):
        trouble.append(f"{len(unmapped)} unmapped: {', '.join(unmapped)}")
    if missing := sorted(set(full) - set(state)):
        trouble.append(f"{len(missing)} missing: {', '.join(missing)}")
    values: dict[str, Tensor] = {}
    for official, key in full.items():
        if official not in state:
            continue
        value, want = state[official], ours[key].shape
        if reshape and _squeezed(value.shape) == _squeezed(want):
            value = value.reshape(want)
        if value.shape != want:
            trouble.append(f"{official} is {tuple(value.shape)}, wanted {tuple(want)}")
        values[key] = value
    if trouble:
        raise CheckFailed(f"{what}: this is not a checkpoint of these sizes; {'; '.join(trouble)}")
    module.load_state_dict(values, strict=True)
    return full


def _squeezed(shape: torch.Size) -> tuple[int, ...]:
    sizes = list(shape)
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def inferred_size(tokens: int, multiple: int = 1) -> tuple[int, int]:
    """(H, W) with H W = tokens, H <= W, both multiples of `multiple`, as square as can be.

    For originals that were given the size beside their tokens; where the constructor arguments name it, that counts.

    Raises:
        InputError: no such pair.

    >>> inferred_size(384, 8)
    (16, 24)
    """
    for height in range(int(tokens**0.5), 0, -1):
        if tokens % height == 0 and height % multiple == 0 and (tokens // height) % multiple == 0:
            return height, tokens // height
    raise InputError(f"{tokens} tokens are no H x W with both sides multiples of {multiple}; name 'H' and 'W'")


class Sized:
    """Calls a module of (rgb, x, size, ...) with tokens alone: the size is the constructor's H and W, else inferred."""

    def __init__(self, ctor: Mapping[str, Any]) -> None:
        self.size = (int(ctor["H"]), int(ctor["W"])) if "H" in ctor and "W" in ctor else None
        self.multiple = int(ctor.get("sr_ratio", 1))

    def __call__(self, module: nn.Module, x0: Tensor, x1: Tensor, *extra: Tensor) -> Any:
        return module(x0, x1, self.size or inferred_size(x0.shape[1], self.multiple), *extra)


def blank(name: str, **args: Any) -> FusionModel:
    """The published architecture `name` with memory but no values: what is loaded into it fills every one."""
    with torch.device("meta"):
        model = create_model(name, **args)
    return model.to_empty(device="cpu")


def without_aliases(state: Mapping[str, Tensor], first_name: Callable[[str], str]) -> dict[str, Tensor]:
    """`state` without the second names of shared tensors.

    Args:
        state: the original's, in which one tensor may appear under two names.
        first_name: key -> the name that it shares a tensor with; itself for all others.

    Raises:
        CheckFailed: a second name without its first, or with other values; all listed.
    """
    out: dict[str, Tensor] = {}
    trouble = []
    for key, value in state.items():
        first = first_name(key)
        if first == key:
            out[key] = value
        elif first not in state or not torch.equal(state[first], value):
            trouble.append(f"{key} is not {first}")
    if trouble:
        raise CheckFailed(f"names that should share one tensor differ: {'; '.join(sorted(trouble))}")
    return out


_MISSING = object()


def take(ctor: Mapping[str, Any], *names: str, default: Any = _MISSING) -> Any:
    """The first of `names` that the constructor arguments hold.

    Raises:
        InputError: none is there and no default was given.
    """
    for name in names:
        if name in ctor:
            return ctor[name]
    if default is _MISSING:
        raise InputError(f"the constructor arguments lack {' or '.join(map(repr, names))}; given: {dict(ctor)}")
    return default


class Port(nn.Module):
    """Our module behind the original's call: its inputs in its order, its outputs in its order.

    Args:
        module: ours, loaded.
        call: `call(module, *inputs)` -> a tensor or a tuple of tensors.
        views: official submodule path -> View. Each appears as a probe `original.<path>` that shows the value in the
            original's layout. It shows only: an edit made there is without effect, edit our own probe for that.
        keys: official key -> our key in `module`.

    The module's own probes stay reachable under `module.`; the probe `out` shows the first tensor that is returned.
    """

    def __init__(
        self, module: nn.Module, call: Callable[..., Any], views: Mapping[str, View], keys: Mapping[str, str]
    ) -> None:
        super().__init__()
        self.module = module
        self.keys = dict(keys)
        self._call = call
        self._views = dict(views)
        self.original = nn.Module()
        self.out = Probe(None, role="view", meaning="the first tensor that the original returns")
        self._shown: dict[str, Probe] = {}
        for name in sorted(self._views):  # parents before children
            source = module.get_submodule(self._views[name].probe)
            assert isinstance(source, Probe)
            shown = Probe(
                None, role="view", modality=source.modality, meaning=f"as the original's {name}: {source.meaning}"
            )
            parent: nn.Module = self.original
            *path, leaf = name.split(".")
            for part in path:
                if part not in parent._modules:
                    parent.add_module(part, nn.Module())
                parent = parent.get_submodule(part)
            parent.add_module(leaf, shown)
            self._shown[name] = shown

    def forward(self, *inputs: Tensor) -> Any:
        watched = {n: v for n, v in self._views.items() if self._shown[n].tap is not None}
        out = self._watch(watched, inputs) if watched else self._call(self.module, *inputs)
        first = out
        while isinstance(first, (tuple, list)):
            first = first[0]
        self.out(first)
        return out

    def _watch(self, watched: Mapping[str, View], inputs: tuple[Tensor, ...]) -> Any:
        seen: dict[str, Tensor] = {}
        sources = {v.probe: self.module.get_submodule(v.probe) for v in watched.values()}
        before = {name: probe.tap for name, probe in sources.items() if isinstance(probe, Probe)}

        def keep(name: str) -> Layout:
            inner = before[name]

            def tap(value: Tensor) -> Tensor:
                value = value if inner is None else inner(value)  # edits first, then what passed on
                seen[name] = value
                return value

            return tap

        try:
            for name in before:
                sources[name].tap = keep(name)  # type: ignore[assignment]
            out = self._call(self.module, *inputs)
        finally:
            for name, tap in before.items():
                sources[name].tap = tap  # type: ignore[assignment]
        for name, view in watched.items():
            self._shown[name](view.layout(seen[view.probe]))
        return out


def port(
    module: nn.Module,
    state: Mapping[str, Tensor],
    table: Mapping[str, str],
    call: Callable[..., Any],
    views: Mapping[str, View] | None = None,
    *,
    what: str,
    reshape: bool = False,
) -> Port:
    """Loads `state` into `module` through `table` (see `load_mapped`) and puts the original's call round it."""
    return Port(module, call, views or {}, load_mapped(module, state, table, what=what, reshape=reshape))
