"""Error bars from per-group sums, in one pass: block jackknife and block bootstrap over groups of images.

Images are dealt into groups (contiguous blocks where neighbours are alike, as video frames are), whose sums are kept.

* Jackknife: se = sqrt((g - 1) / g * sum_i (theta_i - mean theta)^2), theta_i without group i (Tukey 1958; Efron and
  Stein 1981).
* Bootstrap: theta of g groups drawn with replacement, many times; se their standard deviation, interval their
  percentiles (Efron 1979).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator

__all__ = ["Grouped", "Interval", "bootstrap", "jackknife"]

A = TypeVar("A", bound=Accumulator)


def image_groups(group: int | Tensor, images: int, groups: int, device: torch.device) -> Tensor:
    """(B,) int64 group of each image of a batch; InputError for one that is not 0 .. groups-1.

    Args:
        group: of all images, or (B,) integers.
    """
    found = torch.as_tensor(group, dtype=torch.int64, device=device).expand(images)
    if bool(((found < 0) | (found >= groups)).any()):
        raise InputError(f"group out of range: this accumulator keeps {groups} groups (0 .. {groups - 1})")
    return found


def _spread(without: Tensor) -> Tensor:
    g = len(without)
    return ((g - 1) / g * (without - without.mean(0)).square().sum(0)).sqrt()


def jackknife(statistic: Callable[..., Tensor], tallies: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Value and standard error of a statistic of sums.

    Args:
        statistic: takes the sums over groups, one per tally, and returns a tensor of any shape.
        tallies: each (G, ...), dim 0 the group. Groups whose tallies are all zero are left out.

    Returns:
        The statistic of all groups, and its standard error of the same shape; NaN with fewer than two groups.

    >>> x = torch.tensor([1., 2., 3., 4.], dtype=torch.float64)
    >>> mean, se = jackknife(lambda s, n: s / n, [x, torch.ones(4, dtype=torch.float64)])
    >>> round(float(mean), 4), round(float(se), 4)  # the usual standard error of a mean
    (2.5, 0.6455)
    """
    totals = [t.sum(0) for t in tallies]
    value = statistic(*totals)
    used = torch.stack([t.reshape(len(t), -1).ne(0).any(1) for t in tallies]).any(0).nonzero().flatten().tolist()
    if len(used) < 2:
        return value, torch.full_like(value, float("nan"))
    without = [statistic(*(total - t[i] for total, t in zip(totals, tallies, strict=True))) for i in used]
    return value, _spread(torch.stack(without))


@dataclass(frozen=True)
class Interval:
    """A value with its error, each shaped like the statistic.

    Attributes:
        value: of all groups. groups: how many of them hold anything.
        se: standard error; NaN with fewer than two groups that hold anything.
        low, high: bounds of the interval at `level`.
        method: "jackknife" (value +- z se) or "bootstrap" (percentiles).
    """

    value: Tensor
    se: Tensor
    low: Tensor
    high: Tensor
    level: float
    groups: int
    method: str


def bootstrap(
    statistic: Callable[..., Tensor],
    tallies: Sequence[Tensor],
    times: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a statistic of sums: groups drawn with replacement, the same ones for all tallies.

    Args:
        statistic, tallies: as for `jackknife`.
        times: draws.

    Draws in which the statistic is NaN (a class in none of the groups drawn) are left out element by element.

    >>> x = torch.arange(8, dtype=torch.float64)
    >>> error = bootstrap(lambda s, n: s / n, [x, torch.ones(8, dtype=torch.float64)])
    >>> float(error.value), error.groups, bool(error.low < 3.5 < error.high)
    (3.5, 8, True)
    """
    if times < 2 or not 0 < level < 1:
        raise InputError(f"times must be at least 2 and level lie within 0 and 1, got {times} and {level}")
    value = statistic(*(t.sum(0) for t in tallies))
    used = torch.stack([t.reshape(len(t), -1).ne(0).any(1) for t in tallies]).any(0).nonzero().flatten()
    if len(used) < 2:
        nan = torch.full_like(value, torch.nan)
        return Interval(value, nan, nan, nan, level, len(used), "bootstrap")
    draws = torch.randint(len(used), (times, len(used)), generator=torch.Generator().manual_seed(seed))
    values = torch.stack([statistic(*(t[used[draw]].sum(0) for t in tallies)) for draw in draws])
    known = (~values.isnan()).sum(0)
    se = ((values - values.nanmean(0)).square().nansum(0) / (known - 1).clamp(min=1)).sqrt()
    se = torch.where((known > 1) & ~value.isnan(), se, torch.nan)
    low, high = (values.nanquantile(q, dim=0) for q in ((1 - level) / 2, (1 + level) / 2))
    return Interval(value, se, low, high, level, len(used), "bootstrap")


class Grouped(Generic[A]):
    """One accumulator per group of images, for error bars of anything computed from a merged accumulator.

    Args:
        make: builds an empty accumulator.
        groups: their number; memory is that of so many accumulators.

    >>> from fusionzoo.metrics.similarity.cka import LinearCKA
    >>> x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    >>> grouped = Grouped(LinearCKA, 8)
    >>> for i in range(8):
    ...     grouped.update(x[5 * i : 5 * i + 5], x[5 * i : 5 * i + 5].square(), group=i)
    >>> error = grouped.jackknife(lambda merged: merged.compute().unbiased)
    >>> error.groups, 0 < float(error.se) < 1
    (8, True)
    """

    def __init__(self, make: Callable[[], A], groups: int) -> None:
        if groups < 1:
            raise InputError(f"groups must be at least 1, got {groups}")
        self.make = make
        self.parts = [make() for _ in range(groups)]
        self._used = [False] * groups

    def update(self, *args: Any, group: int, **kwargs: Any) -> None:
        """Adds a batch to one group, 0 .. groups-1."""
        if not 0 <= group < len(self.parts):
            raise InputError(f"group {group} is out of range 0 .. {len(self.parts) - 1}")
        self.parts[group].update(*args, **kwargs)  # type: ignore[attr-defined]
        self._used[group] = True

    def merge(self, other: Grouped[A]) -> Grouped[A]:
        """Adds the groups of `other` to those of the same number. Returns self."""
        if len(self.parts) != len(other.parts):
            raise InputError(f"cannot merge: {len(self.parts)} groups here, {len(other.parts)} there")
        for mine, theirs in zip(self.parts, other.parts, strict=True):
            mine.merge(theirs)
        self._used = [a or b for a, b in zip(self._used, other._used, strict=True)]
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """States of all groups, `group.name`, and which groups hold anything."""
        state = {f"{i}.{name}": value for i, p in enumerate(self.parts) for name, value in p.state_dict().items()}
        return {**state, "used": torch.tensor(self._used)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Replaces all states."""
        if "used" not in state or len(state["used"]) != len(self.parts):
            raise InputError(f"state of Grouped needs {len(self.parts)} groups")
        for i, part in enumerate(self.parts):
            part.load_state_dict({k.partition(".")[2]: v for k, v in state.items() if k.startswith(f"{i}.")})
        self._used = state["used"].tolist()

    def merged(self, chosen: Sequence[int] | None = None) -> A:
        """The merged accumulator of all groups, or of the chosen ones, repeats counting again."""
        whole = self.make()
        for i in range(len(self.parts)) if chosen is None else chosen:
            whole.merge(self.parts[i])
        return whole

    @property
    def used(self) -> list[int]:
        """Groups that hold anything."""
        return [i for i, used in enumerate(self._used) if used]

    def jackknife(self, statistic: Callable[[A], Tensor | float], level: float = 0.95) -> Interval:
        """Delete-one-group jackknife of a statistic of the merged accumulator, in about 3 groups merges."""
        used, value = self.used, _tensor(statistic(self.merged()))
        if len(used) < 2:
            nan = torch.full_like(value, torch.nan)
            return Interval(value, nan, nan, nan, level, len(used), "jackknife")
        after = [self.make()]  # after[j]: all but the first g - j groups
        for i in reversed(used[1:]):
            after.append(copy.deepcopy(after[-1]).merge(self.parts[i]))
        before, without = self.make(), []
        for j, i in enumerate(used):
            rest = copy.deepcopy(before).merge(after[len(used) - 1 - j])
            without.append(_tensor(statistic(rest)))
            before.merge(self.parts[i])
        se = _spread(torch.stack(without))
        z = float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.float64)))
        return Interval(value, se, value - z * se, value + z * se, level, len(used), "jackknife")

    def bootstrap(
        self, statistic: Callable[[A], Tensor | float], times: int = 200, level: float = 0.95, seed: int = 0
    ) -> Interval:
        """Percentile bootstrap over groups of a statistic of the merged accumulator."""
        used, value = self.used, _tensor(statistic(self.merged()))
        if len(used) < 2 or times < 2:
            nan = torch.full_like(value, torch.nan)
            return Interval(value, nan, nan, nan, level, len(used), "bootstrap")
        generator = torch.Generator().manual_seed(seed)
        draws = torch.randint(len(used), (times, len(used)), generator=generator).tolist()
        values = torch.stack([_tensor(statistic(self.merged([used[i] for i in draw]))) for draw in draws])
        low, high = (values.nanquantile(q, dim=0) for q in ((1 - level) / 2, (1 + level) / 2))
        return Interval(value, values.std(0), low, high, level, len(used), "bootstrap")


def _tensor(value: Tensor | float) -> Tensor:
    return torch.as_tensor(value, dtype=torch.float64)
