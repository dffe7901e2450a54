"""What all metrics share: the self-description, and the accumulator whose fixed-size states merge.

A metric is a pure function of sufficient statistics, which an accumulator keeps: batches, processes and machines merge
to the number of one pass. An empty batch adds nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from fusionzoo.errors import InputError

__all__ = [
    "VIEWS",
    "Accumulator",
    "MetricInfo",
    "accumulates",
    "as_samples",
    "at_least_one",
    "check_finite",
    "few_above",
    "float_state",
    "int_state",
    "one_each",
    "point_names",
]

VIEWS = ("gap", "pix")

A = TypeVar("A", bound="Accumulator")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class MetricInfo:
    """How to read a metric.

    Attributes:
        name: as results name it.
        low, high: closed range of the values; None where unbounded.
        larger_is: what a larger value means, in one or two words ("more similar", "better", ...).
        invariant_to: transformations of either input that leave the value unchanged.
        cost: state size and work, n samples, p and q channels, K concepts.
        source: where the definition comes from.
    """

    name: str
    low: float | None
    high: float | None
    larger_is: str
    invariant_to: tuple[str, ...] = ()
    cost: str = ""
    source: str = ""


def accumulates(update: F) -> F:
    """Decorator of `update`: no gradient, no autocast, no inference tensors, states on the input's device."""

    @functools.wraps(update)
    def run(self: Accumulator, *args: Any, **kwargs: Any) -> Any:
        devices = (v.device for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
        device = next(devices, torch.device("cpu"))
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            self.to(device)
            return update(self, *args, **kwargs)

    return run  # type: ignore[return-value]


class Accumulator:
    """Base of all accumulators: named fixed-size states that merge by addition.

    Subclasses fill `self._state` and name the constructor's choices (attributes) in `choices`; states that are not sums
    need their own `_merge`.
    """

    info: ClassVar[MetricInfo]
    choices: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self._state: dict[str, Tensor] = {}

    def _config(self) -> dict[str, Any]:
        """The choices that two accumulators must share before they can be merged."""
        values = {name: getattr(self, name) for name in self.choices}
        return {k: tuple(v.flatten().tolist()) if isinstance(v, Tensor) else v for k, v in values.items()}

    def _seen(self, what: str = "samples", counter: str = "n") -> dict[str, Tensor]:
        """The states on the CPU; InputError while nothing was counted."""
        if not int(self._state[counter]):
            raise InputError(f"no {what} yet: call update first")
        return {name: value.cpu() for name, value in self._state.items()}

    def _merge(self, other: dict[str, Tensor]) -> None:
        for name, value in other.items():
            self._state[name] = self._state[name] + value

    def to(self: A, device: torch.device | str) -> A:
        """Moves the states to `device`, in place."""
        device = torch.device(device)
        if any(value.device != device for value in self._state.values()):
            self._state = {name: value.to(device) for name, value in self._state.items()}
        return self

    def merge(self: A, other: A) -> A:
        """Adds the statistics of `other`, as if its samples had been seen here. Returns self.

        Raises:
            InputError: another class, or other constructor choices.
        """
        if type(self) is not type(other):
            raise InputError(f"cannot merge {type(other).__name__} into {type(self).__name__}: classes differ")
        mine, theirs = self._config(), other._config()
        wrong = [key for key in mine if mine[key] != theirs.get(key)]
        if wrong:
            differ = f"{wrong[0]} is {mine[wrong[0]]!r} here and {theirs.get(wrong[0])!r} there"
            raise InputError(f"cannot merge two {type(self).__name__}: {differ}")
        device = next((value.device for value in self._state.values()), torch.device("cpu"))
        with torch.inference_mode(False), torch.no_grad():
            self._merge({name: value.to(device) for name, value in other._state.items()})
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """CPU copies of all states, enough to go on with `load_state_dict` in an accumulator built the same way."""
        return {name: value.detach().to("cpu", copy=True) for name, value in self._state.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replaces all states. Raises InputError when names, shapes or dtypes are not those of this accumulator."""
        self._check_state(state)
        self._state = {name: value.detach().clone() for name, value in state.items()}

    def _check_state(self, state: dict[str, Tensor]) -> None:
        if set(state) != set(self._state):
            raise InputError(f"state of {type(self).__name__} needs {sorted(self._state)}, got {sorted(state)}")
        for name, value in self._state.items():
            if state[name].shape != value.shape or state[name].dtype != value.dtype:
                got, wanted = (f"{v.dtype} {tuple(v.shape)}" for v in (state[name], value))
                what = f"state {name!r} of {type(self).__name__} is {got}, needed {wanted}"
                raise InputError(f"{what}: build it with the same choices first")

    def nbytes(self) -> int:
        """Memory of all states in bytes."""
        return sum(value.numel() * value.element_size() for value in self._state.values())


def float_state(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Name -> zeros, float64."""
    return {name: torch.zeros(shape, dtype=torch.float64) for name, shape in shapes.items()}


def int_state(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Name -> zeros, int64."""
    return {name: torch.zeros(shape, dtype=torch.int64) for name, shape in shapes.items()}


def at_least_one(**numbers: int) -> None:
    """Raises InputError unless all of the named numbers are 1 or more."""
    if min(numbers.values()) < 1:
        raise InputError(f"{', '.join(numbers)} must be at least 1, got {', '.join(map(str, numbers.values()))}")


def check_finite(values: Tensor, what: str = "a feature has") -> None:
    """Raises InputError where a number is NaN or infinite; of many numbers their sum, or their extremes, will do."""
    if not bool(torch.isfinite(values).all()):
        raise InputError(f"{what} values that are not finite (NaN or infinity)")


def point_names(points: Sequence[str] | int, least: int = 1) -> tuple[str, ...]:
    """Names of feature sets: those given, or so many numbers.

    Raises:
        InputError: fewer than `least`, or a name twice.

    >>> point_names(2), point_names(["rgb", "x"])
    (('0', '1'), ('rgb', 'x'))
    """
    names = tuple(map(str, range(points))) if isinstance(points, int) else tuple(points)
    if len(names) < least or len(set(names)) != len(names):
        raise InputError(f"points must be {('one', 'two')[least - 1]} or more different names, got {names}")
    return names


def one_each(points: Sequence[str], values: Sequence[Tensor], what: str = "features") -> None:
    """Raises InputError unless there is one value for each of the named points."""
    if len(values) != len(points):
        raise InputError(f"expected {len(points)} {what} ({', '.join(points)}), got {len(values)}")


def as_samples(feature: Tensor, view: str) -> Tensor:
    """A feature as rows of samples, float64.

    Args:
        feature: (B, C, H, W) map, or (N, C) rows that are samples already.
        view: "gap" (a sample is an image, its features the spatial means) or "pix" (a sample is a position of a map).

    Returns:
        (B, C) or (B H W, C) float64.

    Raises:
        InputError: unknown view, another number of dimensions, no channels or positions, or not floating point.

    >>> as_samples(torch.ones(2, 3, 4, 5), "gap").shape, as_samples(torch.ones(2, 3, 4, 5), "pix").shape
    (torch.Size([2, 3]), torch.Size([40, 3]))
    """
    if view not in VIEWS:
        raise InputError(f"unknown view {view!r}: use one of {', '.join(VIEWS)}")
    if feature.ndim not in (2, 4):
        raise InputError(f"a feature must be (B, C, H, W) or (N, C), got {tuple(feature.shape)}")
    if not feature.is_floating_point():
        raise InputError(f"a feature must be floating point, got {feature.dtype}")
    if 0 in feature.shape[1:]:
        raise InputError(f"a feature must not be empty, got {tuple(feature.shape)}")
    if feature.ndim == 2:
        return feature.double()
    if view == "gap":
        return feature.double().mean((2, 3))
    return feature.permute(0, 2, 3, 1).reshape(-1, feature.shape[1]).double()


def few_above(maps: Tensor, thresholds: Tensor | None, limit: float) -> tuple[Tensor, Tensor] | None:
    """The values above their channel's threshold, where these are few.

    Args:
        maps: (B, C, n), contiguous; bool where there are no thresholds.
        thresholds: (C,), or None: the true values.
        limit: largest share of the values.

    Returns:
        Their indices into `maps.flatten()`, rising, and the values; None when they are more than `limit` of all.

    >>> few_above(torch.tensor([[[1.0, 3.0], [5.0, 6.0]]]), torch.tensor([2.0, 5.5]), 0.5)
    (tensor([1, 3]), tensor([3., 6.]))
    """
    empty = torch.zeros(0, dtype=torch.int64, device=maps.device)
    size, count, found, values = maps.shape[1] * maps.shape[2], 0, [empty], [maps.flatten()[:0]]
    step = 1 if maps.device.type == "cpu" else max(1, len(maps))  # an image at a time stays in the processor's cache
    for i in range(0, len(maps), step):
        part = maps[i : i + step]
        index = _true(part if thresholds is None else part > thresholds[:, None])
        count += len(index)
        if count > limit * maps.numel():
            return None
        found.append(index + i * size)
        values.append(part.flatten()[index])
    return torch.cat(found), torch.cat(values)


def _true(values: Tensor) -> Tensor:
    """Flat indices of the true values."""
    flat = values.flatten()
    if flat.numel() % 8 or flat.storage_offset() % 8:
        return flat.nonzero()[:, 0]
    word = flat.view(torch.int64).nonzero()[:, 0]  # eight at a time: most are false
    row, byte = flat.view(-1, 8)[word].nonzero(as_tuple=True)
    return word[row] * 8 + byte
