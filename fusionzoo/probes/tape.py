"""Listening at probes: `probe` keeps values on a Tape, `listen` hands the live tensor to reducers.

Order. Whatever is attached to one probe, in whatever order the contexts were entered, runs as: all edits, outermost
context first; then all listeners and tapes, outermost context first. So a tape always holds what the rest of the
model receives. Leaving a context removes what that context attached and nothing else, also when contexts end out of
order or by an error.

Compiled models. By default a compiled model runs its eager code while something is attached (the `force_eager` stance
of torch.compiler, in force for the whole process until the last context ends), whether it was compiled before or
after. So values are the eager ones, any number of different sets of probes costs no compilation, a reducer may be any
Python, and afterwards the compiled graph is used again as it was. With `trace=True` the taps are traced into the
graph instead, `fullgraph` included: for training with captured values at compiled speed. Each new set of probes then
compiles once, and torch raises at its recompile limit (8 by default), so choose the set once.

Export. A model with something attached refuses to be exported; `assert_untapped(model)` says so beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError, check_known, unknown
from fusionzoo.probes.point import Probe, select

__all__ = ["Hook", "Listener", "Tape", "attached", "eager", "exporting", "listen", "probe"]

Listener = Callable[[str, Tensor], object]
"""Called with the probe's name and the live tensor (B, C, ...); its result is ignored. Must not change the tensor."""


class Hook(Protocol):
    """One thing that one context attached to one probe. `fired` becomes true at the first call."""

    name: str
    fired: bool

    def __call__(self, value: Tensor) -> Tensor | None: ...


def exporting() -> bool:
    """`torch.compiler.is_exporting()`, which a graph compiled by an older torch takes for true: the flag behind it."""
    flag = getattr(torch.compiler, "_is_exporting_flag", None)
    return torch.compiler.is_exporting() if flag is None else bool(flag)


class _Tap:
    """What hangs on `Probe.tap` while at least one context has a hook there."""

    def __init__(self) -> None:
        self.edits: list[Hook] = []
        self.listeners: list[Hook] = []

    def __call__(self, value: Tensor) -> Tensor:
        if exporting():
            raise InputError("a probe has something attached; leave probe(), listen() or intervene() before exporting")
        for edit in self.edits:
            value = edit(value)  # type: ignore[assignment]
        watched = not torch.compiler.is_compiling() and not value.is_inference()
        version = value._version if watched else 0
        for listener in self.listeners:
            listener(value)
            if watched and value._version != version:
                raise InputError(f"a listener at {listener.name!r} changed the tensor in place; edit with intervene()")
        return value


class _Eager:
    """The `force_eager` stance, counted: set by the first context that asks, undone when the last one ends."""

    def __init__(self) -> None:
        self.users = 0
        self.stance = ExitStack()

    @contextmanager
    def held(self) -> Iterator[None]:
        if self.users == 0:
            self.stance.enter_context(torch.compiler.set_stance("force_eager"))
        self.users += 1
        try:
            yield
        finally:
            self.users -= 1
            if self.users == 0:
                self.stance.close()


eager = _Eager()
"""`eager.held()` is the context in which compiled models run their eager code."""


@contextmanager
def attached(
    points: Mapping[str, Probe], kind: Literal["edits", "listeners"], hooks: Sequence[Hook], trace: bool
) -> Iterator[None]:
    """Attaches each hook to the probe of its name for the time of the context; afterwards every hook must have fired.

    Raises:
        InputError: on leaving without another error, when a hook did not fire.
    """
    stance: AbstractContextManager[None] = nullcontext() if trace else eager.held()
    with stance:
        try:
            for hook in hooks:
                point = points[hook.name]
                if point.tap is None:
                    point.tap = _Tap()
                elif not isinstance(point.tap, _Tap):
                    raise InputError(f"probe {hook.name!r} holds a tap that was attached by hand; remove it first")
                getattr(point.tap, kind).append(hook)
            yield
        finally:
            for hook in hooks:
                _detach(points[hook.name], hook)
    silent = list(dict.fromkeys(hook.name for hook in hooks if not hook.fired))
    if silent:
        names = ", ".join(silent[:5]) + (f" and {len(silent) - 5} more" if len(silent) > 5 else "")
        if len(silent) == len({hook.name for hook in hooks}):
            raise InputError(f"no forward pass reached {names}; call the model inside the context")
        raise InputError(f"the forward pass did not reach {names}; leave them out, or feed what they need")


def _detach(point: Probe, hook: Hook) -> None:
    tap = point.tap
    if isinstance(tap, _Tap):
        tap.edits = [h for h in tap.edits if h is not hook]
        tap.listeners = [h for h in tap.listeners if h is not hook]
        if tap.edits or tap.listeners:
            return
        if torch.compiler.is_compiling():  # the context is part of the graph
            point.tap = None  # which replays what is set, but not that it is deleted again
        else:
            del point.tap  # back to the class attribute, so that a compiled graph without taps is valid again


class _Slot:
    """Keeps what passes one probe. One attribute a probe, no shared dict: a traced write to it needs no guard."""

    fired = False
    value: Tensor | None = None

    def __init__(self, name: str, detach: bool, clone: bool, keep_all: bool) -> None:
        self.name = name
        self.detach = detach
        self.clone = clone
        self.keep_all = keep_all
        self.passed: list[Tensor] = []

    def __call__(self, value: Tensor) -> None:
        kept = value.detach() if self.detach else value
        kept = kept.clone() if self.clone else kept
        self.fired = True
        self.value = kept
        if self.keep_all:
            self.passed.append(kept)


class _Heard:
    """Hands what passes one probe to a listener."""

    fired = False

    def __init__(self, name: str, listener: Listener) -> None:
        self.name = name
        self.listener = listener

    def __call__(self, value: Tensor) -> None:
        self.fired = True
        self.listener(self.name, value)


class Tape(Mapping[str, Tensor]):
    """Probe name -> the last tensor that passed, in model order; holds only probes that have fired.

    `tape.all(name)` gives every tensor that passed, in order, when made with `keep="all"`.
    """

    def __init__(self, slots: Mapping[str, _Slot]) -> None:
        self._slots = dict(slots)

    def __getitem__(self, name: str) -> Tensor:
        check_known("probe on this tape", name, self._slots)
        value = self._slots[name].value
        if value is None:
            raise unknown("fired probe", name, (), "call the model inside the context")
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name, slot in self._slots.items() if slot.value is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def all(self, name: str) -> list[Tensor]:
        """Every tensor that passed `name`, in order. InputError unless the tape was made with `keep="all"`."""
        self[name]
        if not self._slots[name].keep_all:
            raise InputError('this tape keeps the last value only; make it with probe(..., keep="all")')
        return list(self._slots[name].passed)

    def __repr__(self) -> str:
        return f"Tape({', '.join(f'{name}: {tuple(value.shape)}' for name, value in self.items())})"


@contextmanager
def probe(
    model: nn.Module,
    *patterns: str,
    detach: bool = True,
    clone: bool = True,
    keep: Literal["last", "all"] = "last",
    trace: bool = False,
) -> Iterator[Tape]:
    """Captures what passes the probes that match `patterns` (all of them when none is given) on a Tape.

    What listens hangs on the model: passes of other threads through the same model are heard too, so give each thread
    that probes a copy.

    Args:
        model: a module with probes, compiled or not.
        patterns: probe names or fnmatch patterns; `*` also matches dots.
        detach: cut the captured tensor from the graph. With `detach=False` losses on it reach the parameters; for the
            gradient *at* the probe (`autograd.grad(loss, tape[name])`) take `clone=False` too, eager only.
        clone: copy; without it a later in-place operation of the model changes the captured tensor.
        keep: "last" value of each probe, or "all" of them (`tape.all(name)`), one for each forward pass.
        trace: trace the taps into the graph of a compiled model, see the module's text.

    Yields:
        Tape: probe name -> Tensor, as it passed: (B, C, H, W) at most probes.

    Raises:
        UnknownNameError: a pattern matches no probe; the text names the closest.
        InputError: the model has no probes; on leaving, a chosen probe never fired.

    >>> model = nn.Sequential(nn.Conv2d(3, 4, 1), Probe(4), nn.ReLU(inplace=True))
    >>> with probe(model, "1") as tape:
    ...     _ = model(torch.zeros(2, 3, 5, 5))
    >>> tape
    Tape(1: (2, 4, 5, 5))
    """
    if keep not in ("last", "all"):
        raise InputError(f'keep={keep!r} is not one of "last", "all"')
    if trace and keep == "all":
        raise InputError('keep="all" grows a list, which a traced graph cannot; use trace=False')
    points = select(model, patterns or ("*",))
    slots = {name: _Slot(name, detach, clone, keep == "all") for name in points}
    with attached(points, "listeners", list(slots.values()), trace):
        yield Tape(slots)


@contextmanager
def listen(model: nn.Module, listeners: Mapping[str, Listener]) -> Iterator[list[str]]:
    """Calls each listener with (name, live tensor) whenever a probe that matches its pattern fires; keeps nothing.

    The tensor is the model's own, with its gradient history: a listener reduces it at once and must not change it
    (noticed and refused outside inference mode). Several patterns may match one probe; their listeners run in the
    mapping's order.

    Args:
        model: a module with probes, compiled or not.
        listeners: probe name or fnmatch pattern -> callable(name, tensor).

    Yields:
        list[str]: names of the probes that are listened at, in model order.

    Raises:
        UnknownNameError: a pattern matches no probe; the text names the closest.
        InputError: no listener, or the model has no probes; on leaving, a chosen probe never fired.

    >>> total = {}
    >>> model = nn.Sequential(Probe(3), nn.ReLU())
    >>> with listen(model, {"*": lambda name, value: total.update({name: float(value.sum())})}):
    ...     _ = model(torch.ones(1, 3, 2, 2))
    >>> total
    {'0': 12.0}
    """
    if not listeners:
        raise InputError("listen() was given no listener")
    points = select(model, tuple(listeners))
    hooks = [_Heard(name, heard) for pattern, heard in listeners.items() for name in select(model, (pattern,))]
    with attached(points, "listeners", hooks, trace=False):
        yield list(points)
