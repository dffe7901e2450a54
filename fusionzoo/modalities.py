"""Kinds of x, and several of them in one: "depth+thermal+event" is x with the channels of all three, in that order.

So a sample with any number of modalities stays rgb and x, and whatever resizes, crops, caches or stacks x does it to
all of them alike. Where one modality is meant, `split` cuts it out by its channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusionzoo.errors import InputError, unknown

__all__ = ["METRIC", "X_CHANNELS", "X_KINDS", "Part", "check_kind", "inputs_of", "names_of", "parts_of", "split"]

X_KINDS = ("depth", "inverse_depth", "grey", "hha", "thermal", "event", "lidar")
"""`depth` metres; `inverse_depth` given metres, fed as 1/metres; all others 0..255: `hha`, `thermal`, `event`, `lidar`
(events and LiDAR points drawn in three channels), `grey` (depth stretched from the nearest to the farthest pixel)."""
X_CHANNELS = {"depth": 1, "inverse_depth": 1, "grey": 1, "hha": 3, "thermal": 1, "event": 3, "lidar": 3}
"""Channels of each kind of x; where several are joined, each has exactly these."""
METRIC = ("depth", "inverse_depth")
"""The kinds that are metres, with 0 for missing."""


@dataclass(frozen=True)
class Part:
    """One modality of x: its name, its kind, and its channels `start` to `stop`."""

    name: str
    kind: str
    start: int
    stop: int

    def of(self, x: Any) -> Any:
        """Its channels of a tensor or an array (..., Cx, H, W)."""
        return x[..., self.start : self.stop, :, :]


def check_kind(x_kind: str) -> None:
    """InputError unless `x_kind` is a kind, or different kinds joined by "+".

    >>> check_kind("depth+thermal")
    >>> check_kind("depth+termal")
    Traceback (most recent call last):
        ...
    fusionzoo.errors.UnknownNameError: unknown x_kind 'termal'; did you mean 'thermal'?
    """
    kinds = x_kind.split("+")
    for kind in kinds:
        if kind not in X_KINDS:
            if len(kinds) > 1:
                raise unknown("x_kind", kind, X_KINDS)
            raise InputError(f"x_kind {x_kind!r} is not one of {', '.join(X_KINDS)}, or several joined by +")
    twice = next((name for name in names_of(x_kind) if names_of(x_kind).count(name) > 1), None)
    if twice is not None:
        raise InputError(f"x_kind {x_kind!r} has {twice} twice; name each modality once")


def names_of(x_kind: str) -> tuple[str, ...]:
    """Names of the modalities beside rgb, in order.

    >>> names_of("inverse_depth"), names_of("hha+event")
    (('depth',), ('hha', 'event'))
    """
    return tuple("depth" if kind == "inverse_depth" else kind for kind in x_kind.split("+"))


def inputs_of(x_kind: str) -> tuple[str, ...]:
    """What can be taken away from a model: rgb and x, or rgb and each of several modalities by its name.

    >>> inputs_of("depth"), inputs_of("depth+thermal")
    (('rgb', 'x'), ('rgb', 'depth', 'thermal'))
    """
    names = names_of(x_kind)
    return ("rgb", *names) if len(names) > 1 else ("rgb", "x")


def parts_of(x_kind: str, channels: int | None = None) -> tuple[Part, ...]:
    """The modalities of x with their channels; `channels`: those of all together, which one kind alone may choose.

    >>> [(p.name, p.start, p.stop) for p in parts_of("depth+hha+thermal")]
    [('depth', 0, 1), ('hha', 1, 4), ('thermal', 4, 5)]

    Raises:
        InputError: several kinds whose channels are not so many together.
    """
    kinds, at = x_kind.split("+"), 0
    if len(kinds) == 1:
        return (Part(names_of(x_kind)[0], x_kind, 0, X_CHANNELS[x_kind] if channels is None else channels),)
    found = []
    for name, kind in zip(names_of(x_kind), kinds, strict=True):
        found.append(Part(name, kind, at, at + X_CHANNELS[kind]))
        at += X_CHANNELS[kind]
    if channels not in (None, at):
        told = ", ".join(f"{p.name} {p.stop - p.start}" for p in found)
        raise InputError(f"{x_kind} has {at} channels ({told}), not {channels}")
    return tuple(found)


def split(x: Any, x_kind: str) -> list[tuple[Part, Any]]:
    """Each modality of x (..., Cx, H, W) with its channels; x itself where it is one."""
    if "+" not in x_kind:
        return [(Part(names_of(x_kind)[0], x_kind, 0, x.shape[-3]), x)]
    return [(part, part.of(x)) for part in parts_of(x_kind, x.shape[-3])]
