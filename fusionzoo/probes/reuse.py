"""Forward passes that run only what has changed: a module that is given what it was given before is not run again.

For many passes on the same images that differ by an edit at a probe, or by one modality: what comes before the edit,
and the other stream beside it, stays as it was in a pass that was kept. No model needs to know of it: what has changed
is seen from the values that its modules are given.

A module is taken for a function of what it is given, which holds in eval mode for every module that keeps nothing from
one call to the next. One within which something is attached to a probe is always run. Kept are what modules were given
and what they made: of those that hold a chosen probe, of those beside them, and, where one is given several tensors (a
decoder: some of them may be as they were), of those within. What is changed in place meanwhile is not used any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from fusionzoo.errors import InputError
from fusionzoo.probes.point import Probe, bare, probe_points
from fusionzoo.probes.tape import eager

__all__ = ["Reuse"]

LIMIT = 2 * 2**30
"""Bytes that are kept at most, unless told otherwise."""
_PLAIN = (bool, int, float, str, type(None), torch.Size, torch.dtype, torch.device)


class _Kept:
    """A tensor and its version: torch counts what is written into it."""

    def __init__(self, value: Tensor, version: int) -> None:
        self.value, self.version = value, version

    def intact(self) -> bool:
        return self.value._version == self.version

    def equals(self, other: Any) -> bool:
        value = self.value
        if not isinstance(other, Tensor) or not self.intact():
            return False
        if other is value:
            return True
        alike = other.shape == value.shape and other.dtype == value.dtype and other.device == value.device
        return alike and torch.equal(other, value)


@dataclass(frozen=True)
class _Call:
    """What a module was given and what it made, each as leaves of a tree."""

    given: list[Any]
    given_as: TreeSpec
    made: list[Any]
    made_as: TreeSpec

    def storages(self) -> Iterator[tuple[int, int]]:
        """(address, bytes) of each tensor."""
        for kept in (*self.given, *self.made):
            if isinstance(kept, _Kept):
                storage = kept.value.untyped_storage()
                yield storage.data_ptr(), storage.nbytes()

    def answers(self, given: list[Any], given_as: TreeSpec) -> bool:
        if given_as != self.given_as or not all(not isinstance(v, _Kept) or v.intact() for v in self.made):
            return False
        return all(
            kept.equals(value) if isinstance(kept, _Kept) else type(kept) is type(value) and kept == value
            for kept, value in zip(self.given, given, strict=True)
        )


class Reuse:
    """A context in which `model`, in eval mode and without gradients, runs only what has changed since a kept pass.

    Args:
        model: a module with probes, compiled or not (it runs its eager code meanwhile).
        points: names of the probes that will be edited.
        limit: bytes that are kept at most; what comes after that is run each time.

    Attributes:
        used: calls of modules that were answered from what was kept.
        needed: bytes that would have been kept at most since everything was forgotten, were there no limit.

    Raises:
        InputError: on entering, a model in training mode.

    >>> from fusionzoo.probes import Probe, intervene, zero
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), Probe(4), nn.ReLU()).eval()
    >>> image = torch.ones(1, 3, 8, 8)
    >>> with torch.no_grad(), Reuse(model, ["1"]) as reuse:
    ...     with reuse.keeping("clean"):
    ...         _ = model(image)
    ...     with intervene(model, {"1": zero()}):
    ...         float(model(image).sum()), reuse.used  # the convolution was not run again
    (0.0, 1)
    """

    def __init__(self, model: nn.Module, points: Collection[str], limit: int = LIMIT) -> None:
        self.model, self.limit = bare(model), limit
        self.used, self.needed = 0, 0
        chosen = {point for name, point in probe_points(model).items() if name in points}
        self._inner = {
            module: [inner for inner in module.modules() if isinstance(inner, Probe)]
            for module in self.model.modules()
            if module is not self.model and not isinstance(module, Probe | torch.jit.ScriptModule)
        }
        self._open = {module for module, probes in self._inner.items() if not chosen.isdisjoint(probes)}
        self._layers: dict[str, dict[nn.Module, list[_Call]]] = {}
        self._storages: dict[int, int] = {}
        """Of what is kept: address -> bytes."""
        self._refused: dict[str, int] = {}
        self._into: str | None = None
        self._closed = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.model.training:
            raise InputError("a model in training mode is no function of its inputs; call eval() first")
        self._stack.enter_context(eager.held())
        for module in self._inner:
            self._stack.enter_context(_forward(module, partial(self._run, module, module.forward)))
        return self

    def __exit__(self, *error: object) -> None:
        self.forget()
        self._stack.close()

    @contextmanager
    def keeping(self, name: str, *, instead: bool = False) -> Iterator[None]:
        """Keeps what the modules are given and make in the passes within, until `forget(name)`.

        Args:
            instead: of what was kept under this name before, which the passes within still use.
        """
        self._into = f"{name}, new" if instead else name
        try:
            yield
        finally:
            self._into = None
            if instead:
                kept = self._layers.pop(f"{name}, new", {})
                self.forget(name, f"{name}, new")
                self._layers[name] = kept
                self._count()

    def forget(self, *names: str) -> None:
        """Lets go of what was kept under the names; under none is named, of everything."""
        for name in names or list(self._layers):
            self._layers.pop(name, None)
            self._refused.pop(name, None)
        if not names:
            self._refused.clear()
            self.needed = 0
        self._count()

    def _count(self) -> None:
        calls = (call for layer in self._layers.values() for of_module in layer.values() for call in of_module)
        self._storages = {address: size for call in calls for address, size in call.storages()}

    def _run(self, module: nn.Module, forward: Any, *args: Any, **options: Any) -> Any:
        if self._closed or any(point.tap is not None for point in self._inner[module]):
            return self._inside(module, forward, args, options)
        given, given_as = tree_flatten((args, options))
        for name, layer in reversed(self._layers.items()):
            for call in layer.get(module, ()):
                if call.answers(given, given_as):
                    self.used += 1
                    if self._into == f"{name}, new":
                        self._keep(self._into, module, call)
                    return tree_unflatten([v.value if isinstance(v, _Kept) else v for v in call.made], call.made_as)
        into = self._into
        if into is None:
            return self._inside(module, forward, args, options)
        before = _held(given)
        out = self._inside(module, forward, args, options)
        made, made_as = tree_flatten(out)
        after = _held(made)
        if before is not None and after is not None:
            self._keep(into, module, _Call(before, given_as, after, made_as))
        return out

    def _inside(self, module: nn.Module, forward: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Runs the module; what is within it is looked at where a part of it may be as it was."""
        if self._closed:
            return forward(*args, **options)
        several = sum(isinstance(v, Tensor) for v in tree_flatten((args, options))[0]) > 1
        self._closed = not several and module not in self._open
        in_place = getattr(module, "inplace", False) is True  # would overwrite what is kept
        if in_place:
            module.inplace = False  # type: ignore[assignment]
        try:
            return forward(*args, **options)
        finally:
            self._closed = False
            if in_place:
                module.inplace = True  # type: ignore[assignment]

    def _keep(self, name: str, module: nn.Module, call: _Call) -> None:
        new = {address: size for address, size in call.storages() if address not in self._storages}
        kept, more = sum(self._storages.values()), sum(new.values())
        self.needed = max(self.needed, kept + more + sum(self._refused.values()))
        if kept + more > self.limit:
            self._refused[name] = self._refused.get(name, 0) + more
            return
        self._layers.setdefault(name, {}).setdefault(module, []).append(call)
        self._storages |= new


def _held(leaves: list[Any]) -> list[Any] | None:
    """The leaves, each tensor with its version; None where one cannot be compared later: has no version, or is neither
    a tensor nor plain."""
    if not all(isinstance(v, (Tensor, *_PLAIN)) and not (isinstance(v, Tensor) and v.is_inference()) for v in leaves):
        return None
    return [_Kept(v, v._version) if isinstance(v, Tensor) else v for v in leaves]


@contextmanager
def _forward(module: nn.Module, forward: Any) -> Iterator[None]:
    """Another `forward` for the time of the context."""
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = own
