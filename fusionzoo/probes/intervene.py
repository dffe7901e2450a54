"""Changing what passes a probe: zero, mean-ablate, swap between samples, patch in another value, project out a
direction, any of these in chosen channels only, or any function.

Edits run before anything that listens at the same probe (see `fusionzoo.probes.tape` for the order, compiled models and
export), so `with intervene(...), probe(...)` captures the edited value, in either order of nesting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.probes.point import select
from fusionzoo.probes.tape import attached

__all__ = ["Edit", "edit", "intervene", "mean_ablate", "only", "patch", "project_out", "swap", "zero"]


@dataclass(frozen=True, eq=False)
class Edit:
    """What `intervene` does to a value: `function` maps (B, C, ...) to the same shape, dtype and device."""

    label: str
    function: Callable[[Tensor], Tensor]

    def __repr__(self) -> str:
        return self.label


def zero() -> Edit:
    """Zeros instead of the value."""
    return Edit("zero()", torch.zeros_like)


def mean_ablate(mean: Tensor | None = None) -> Edit:
    """Each channel's mean instead of the value: what the channel says about this input is gone, its usual level stays.

    Args:
        mean: (C,), say from a pass over a data set; None takes the mean over batch and positions of the value itself.

    >>> mean_ablate().function(torch.tensor([[[1.0, 3.0]]]))
    tensor([[[2., 2.]]])
    """
    if mean is not None and mean.ndim != 1:
        raise InputError(f"mean_ablate: mean has shape {tuple(mean.shape)}, wanted one number for each channel, (C,)")

    def ablate(value: Tensor) -> Tensor:
        if value.ndim < 2:
            raise InputError(f"mean_ablate needs channels in dimension 1; this probe passes shape {tuple(value.shape)}")
        if mean is None:
            axes = [axis for axis in range(value.ndim) if axis != 1]
            return value.mean(axes, keepdim=True).expand_as(value).clone()
        if mean.shape[0] != value.shape[1]:
            raise InputError(f"mean_ablate: mean has {mean.shape[0]} numbers for a probe of {value.shape[1]} channels")
        column = mean.to(device=value.device, dtype=value.dtype)
        return column.reshape(1, -1, *[1] * (value.ndim - 2)).expand_as(value).clone()

    return Edit("mean_ablate()" if mean is None else "mean_ablate(mean)", ablate)


def swap(order: Sequence[int] | Tensor | None = None) -> Edit:
    """Values of other samples of the batch: sample i receives what sample `order[i]` had.

    Args:
        order: a permutation of 0 .. B-1; None moves every sample by one (B >= 2), so that none keeps its own.

    >>> swap([1, 0]).function(torch.tensor([[1.0], [2.0]])).flatten()
    tensor([2., 1.])
    """
    wanted = None if order is None else [int(i) for i in order]
    if wanted is not None and sorted(wanted) != list(range(len(wanted))):
        raise InputError(f"swap: {wanted} is not a permutation of 0 .. {len(wanted) - 1}")

    def exchange(value: Tensor) -> Tensor:
        batch = value.shape[0]
        if batch < 2:
            raise InputError("swap needs at least 2 samples in the batch, this one has 1")
        if wanted is None:
            return value.roll(1, dims=0)
        if len(wanted) != batch:
            raise InputError(f"swap: the order has {len(wanted)} entries but the batch has {batch} samples")
        return value[torch.tensor(wanted, device=value.device)]

    return Edit("swap()" if wanted is None else f"swap({wanted})", exchange)


def patch(value: Tensor) -> Edit:
    """Another value instead, say what the same probe passed for another input (activation patching, Meng et al. 2022).

    Args:
        value: of the shape, dtype and device of what passes; it is copied each time, so it stays as it is.

    >>> patch(torch.tensor([[5.0]])).function(torch.tensor([[1.0]]))
    tensor([[5.]])
    """
    if not isinstance(value, Tensor):
        raise InputError(f"patch: wanted a tensor, got {type(value).__name__}")
    return Edit("patch()", lambda _: value.clone())


def only(change: Edit, channels: Sequence[int]) -> Edit:
    """`change` in the given channels (dimension 1); the others pass as they are.

    Args:
        change: any Edit; it sees the whole value, and its result is taken in `channels`.
        channels: indices, each once.

    >>> only(zero(), [1]).function(torch.tensor([[3.0, 4.0, 5.0]]))
    tensor([[3., 0., 5.]])
    """
    chosen = [int(c) for c in channels]
    if not chosen or min(chosen) < 0 or len(set(chosen)) != len(chosen):
        raise InputError(f"only: {chosen} is not a list of channels; give each index once, from 0 on")

    def changed(value: Tensor) -> Tensor:
        if value.ndim < 2 or max(chosen) >= value.shape[1]:
            raise InputError(f"only: channel {max(chosen)} does not exist in a value of shape {tuple(value.shape)}")
        index = torch.tensor(chosen, device=value.device)
        return value.index_copy(1, index, change.function(value).index_select(1, index))

    return Edit(f"only({change!r}, {_short(chosen)})", changed)


def project_out(direction: Tensor, mean: Tensor | None = None, along: Tensor | None = None) -> Edit:
    """Removes what varies along a direction of channel space: v - a (w . (v - mean)) / (w . a) at every position.

    w is `direction`, a is `along`. With a = w it is the orthogonal projection: nothing of w is left in v - mean. With
    w a concept's linear detector on the data (covariance^-1 c) and a = c, the covariance of channels and concept, it is
    least-squares concept erasure (Belrose et al. 2023, LEACE, for one concept): afterwards no channel covaries with the
    concept any more, so that no linear detector does better than a constant.

    Args:
        direction: (C,), not zero.
        mean: (C,), each channel's mean, which stays; zeros by default.
        along: (C,), not orthogonal to `direction`; by default `direction`.

    >>> project_out(torch.tensor([1.0, 1.0])).function(torch.tensor([[3.0, 1.0]]))
    tensor([[ 1., -1.]])
    """
    along = direction if along is None else along
    mean = torch.zeros_like(direction) if mean is None else mean
    for name, vector in (("direction", direction), ("mean", mean), ("along", along)):
        if vector.ndim != 1 or vector.shape != direction.shape:
            raise InputError(
                f"project_out: {name} has shape {tuple(vector.shape)}, wanted one number for each channel, (C,)"
            )
    w, a, centre = direction.double(), along.double(), mean.double()
    scale = float(w @ a)
    if abs(scale) <= 1e-12 * float(w.norm() * a.norm()):
        raise InputError("project_out: the direction is zero, or orthogonal to what is to be removed along it")

    def removed(value: Tensor) -> Tensor:
        if value.ndim < 2 or value.shape[1] != len(w):
            raise InputError(f"project_out: {len(w)} channels, but a value of shape {tuple(value.shape)}")
        own, step, shift = (v.to(value.device, value.dtype) for v in (w, a / scale, centre))
        column = (1, -1, *[1] * (value.ndim - 2))
        amount = torch.einsum("bc...,c->b...", value - shift.reshape(column), own)
        return value - amount.unsqueeze(1) * step.reshape(column)

    return Edit("project_out(direction)", removed)


def _short(channels: Sequence[int]) -> str:
    """`first:end` for a run of channels, else the list."""
    run = list(channels) == list(range(channels[0], channels[0] + len(channels)))
    return f"{channels[0]}:{channels[0] + len(channels)}" if run else str(list(channels))


def edit(function: Callable[[Tensor], Tensor]) -> Edit:
    """Any function of the value; it must return a tensor of the same shape, dtype and device.

    It is given a copy, and what it returns is copied: it may write into the one and return a tensor that is needed
    elsewhere (a value captured from another input, to patch it in), whatever the model does in place afterwards.

    >>> edit(torch.neg).function(torch.ones(1, 2))
    tensor([[-1., -1.]])
    """

    def changed(value: Tensor) -> Tensor:
        out = function(value.clone())
        return out.clone() if isinstance(out, Tensor) else out

    return Edit(f"edit({getattr(function, '__name__', type(function).__name__)})", changed)


class _Edited:
    """Applies an Edit at one probe and checks what comes back."""

    fired = False

    def __init__(self, name: str, change: Edit) -> None:
        self.name = name
        self.change = change

    def __call__(self, value: Tensor) -> Tensor:
        self.fired = True
        changed = self.change.function(value)
        if not isinstance(changed, Tensor):
            raise InputError(f"{self.change!r} at {self.name!r} returned {type(changed).__name__}, wanted a tensor")
        if changed.shape != value.shape or changed.dtype != value.dtype or changed.device != value.device:
            raise InputError(
                f"{self.change!r} at {self.name!r} returned {tuple(changed.shape)} {changed.dtype} on {changed.device},"
                f" wanted {tuple(value.shape)} {value.dtype} on {value.device}"
            )
        return changed


@contextmanager
def intervene(model: nn.Module, edits: Mapping[str, Edit], *, trace: bool = False) -> Iterator[list[str]]:
    """Edits what passes the probes that match, for the time of the context.

    Where edits meet at one probe they run one after the other: outer contexts first, then in the mapping's order.

    Args:
        model: a module with probes, compiled or not.
        edits: probe name or fnmatch pattern -> Edit.
        trace: trace the edits into the graph of a compiled model instead of running it in eager mode.

    Yields:
        list[str]: names of the edited probes, in model order.

    Raises:
        UnknownNameError: a pattern matches no probe; the text names the closest.
        InputError: not an Edit; no edit; the model has no probes; an edit that returns another shape, dtype or device,
            or does not fit the batch or the channels; on leaving, a chosen probe never fired.

    >>> from fusionzoo.probes import Probe
    >>> model = nn.Sequential(Probe(3), nn.ReLU())
    >>> with intervene(model, {"0": zero()}):
    ...     float(model(torch.ones(1, 3, 2, 2)).sum())
    0.0
    """
    if not edits:
        raise InputError("intervene() was given no edit")
    for pattern, change in edits.items():
        if not isinstance(change, Edit):
            raise InputError(
                f"intervene: {pattern!r} maps to {type(change).__name__};"
                " use zero(), mean_ablate(), swap() or edit(function)"
            )
    points = select(model, tuple(edits))
    hooks = [_Edited(name, change) for pattern, change in edits.items() for name in select(model, (pattern,))]
    with attached(points, "edits", hooks, trace):
        yield list(points)
