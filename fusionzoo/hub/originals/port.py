"""A module of ours behind the original's call, whose inner values are shown as the original lays them out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.hub.originals.keys import Arguments, Constants
from fusionzoo.probes import Probe, probe

__all__ = ["Block", "Layout", "Make", "MapSize", "Port", "Sized", "View", "as_tokens", "channels_last", "direct",
           "inferred_size"]  # fmt: skip

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


def direct(module: nn.Module, *inputs: Tensor) -> Any:
    """The call of originals that take what ours takes and return what ours returns."""
    return module(*inputs)


class View(NamedTuple):
    """An inner value of the original: which probe of ours holds it, and how to lay it out as the original does."""

    probe: str
    layout: Layout = same


class Block(NamedTuple):
    """An original's block: ours, official keys to ours, how it is called, what is shown of it, see `Port`.

    `reshape` is that of `fusionzoo.hub.originals.keys.load_mapped`, `constants` that of `without_constants` there.
    """

    module: nn.Module
    table: Mapping[str, str]
    call: Callable[..., Any] = direct
    views: Mapping[str, View] = MappingProxyType({})
    reshape: bool = False
    constants: Constants = MappingProxyType({})


Make = Callable[[Arguments], Block]
"""Constructor arguments of the original -> its block."""


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


class MapSize:
    """The size of the map that tokens are of: the constructor's H and W, else inferred."""

    def __init__(self, ctor: Mapping[str, Any]) -> None:
        self.size = (int(ctor["H"]), int(ctor["W"])) if "H" in ctor and "W" in ctor else None
        self.multiple = int(ctor.get("sr_ratio", 1))

    def of(self, tokens: Tensor) -> tuple[int, int]:
        """(H, W) of tokens (B, N, C)."""
        return self.size or inferred_size(tokens.shape[1], self.multiple)


class Sized(MapSize):
    """Calls a module of (rgb, x, size, ...) with tokens alone."""

    def __call__(self, module: nn.Module, x0: Tensor, x1: Tensor, *extra: Tensor) -> Any:
        return module(x0, x1, self.of(x0), *extra)


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
        points = {view.probe for view in watched.values()}
        hearing: AbstractContextManager[Mapping[str, Tensor]] = nullcontext({})
        if points:
            hearing = probe(self.module, *points, detach=False)
        with hearing as tape:
            first = out = self._call(self.module, *inputs)
        for name, view in watched.items():
            self._shown[name](view.layout(tape[view.probe]))
        while isinstance(first, (tuple, list)):
            first = first[0]
        self.out(first)
        return out
