"""Representation health of one probe point: dead and saturated units, spread, effective rank.

Effective rank (Roy and Vetterli 2007) of the channel covariance with eigenvalues l_i: exp(-sum p_i log p_i),
p_i = l_i / sum l. 1 when all positions lie on a line, the number of channels when variance is spread evenly. The
participation ratio (sum l)^2 / sum l^2 has the same ends and weighs the large eigenvalues more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import (
    Accumulator,
    MetricInfo,
    accumulates,
    as_samples,
    at_least_one,
    check_finite,
    float_state,
    int_state,
)
from fusionzoo.metrics.stats.eigen import symmetric_eigen

__all__ = ["ChannelHealth", "ChannelMean", "HealthScores", "effective_rank", "participation_ratio"]

SATURATED = 0.95  # share of a channel's values at a bound from which it is saturated


@dataclass(frozen=True)
class HealthScores:
    """Health of a probe point.

    Attributes:
        channels: C.
        dead: channels with one and the same value at every position. dead_channels: their indices.
        mean, std: of all values of all channels (std of the population). channel_mean, channel_std: (C,) float64.
        effective_rank, participation: 1 to C; NaN when every channel is dead.
        saturated: share of values within 1 % of the range from a declared bound. saturated_channels: those with 95 %
            of their values there. Both None where none is declared.
        low, high: smallest and largest value seen.
        n: positions seen.
        silent: share of values that are exactly 0. channel_silent: (C,) by channel; 1 for a dead ReLU unit.
    """

    channels: int
    dead: int
    dead_channels: tuple[int, ...]
    mean: float
    std: float
    channel_mean: Tensor
    channel_std: Tensor
    effective_rank: float
    saturated: float | None
    low: float
    high: float
    n: int
    saturated_channels: tuple[int, ...] | None = None
    silent: float = float("nan")
    channel_silent: Tensor | None = None
    participation: float = float("nan")


def participation_ratio(covariance: Tensor) -> float:
    """(sum l)^2 / sum l^2 of the eigenvalues of a (C, C) covariance; NaN when it is zero.

    >>> participation_ratio(torch.diag(torch.tensor([2.0, 2.0, 0.0])))
    2.0
    """
    values = covariance.double()
    squares = float(values.square().sum())  # of a symmetric matrix: the sum of squared eigenvalues
    return float(values.diagonal().sum()) ** 2 / squares if squares > 0 else float("nan")


def effective_rank(covariance: Tensor) -> float:
    """exp(entropy) of the normalised eigenvalues of a (C, C) covariance; NaN when it is zero.

    >>> round(effective_rank(torch.diag(torch.tensor([2.0, 2.0, 0.0]))), 6)
    2.0
    """
    values = symmetric_eigen(covariance.double())[0].clamp(min=0)
    total = values.sum()
    if not float(total) > 0:
        return float("nan")
    p = values / total
    return float(torch.special.entr(p).sum().exp())


class ChannelHealth(Accumulator):
    """Accumulates the health of one probe point.

    Args:
        channels: C.
        low, high: declared closed range of the values (a gate: 0 and 1); None where unbounded.

    >>> health = ChannelHealth(2, low=0.0, high=1.0)
    >>> health.update(torch.tensor([[[[0.0, 0.5, 1.0]], [[0.2, 0.2, 0.2]]]]))
    >>> health.compute().dead_channels, round(health.compute().saturated, 4)
    ((1,), 0.3333)
    """

    info = MetricInfo(
        name="channel health", low=None, high=None, larger_is="",
        invariant_to=("order of images", "permutation of channels"), cost="state C^2 float64; O(n C^2)",
        source="effective rank: Roy and Vetterli 2007",
    )  # fmt: skip
    choices = ("channels", "low", "high")

    def __init__(self, channels: int, low: float | None = None, high: float | None = None) -> None:
        super().__init__()
        at_least_one(channels=channels)
        if low is not None and high is not None and not low < high:
            raise InputError(f"low must be below high, got {low} and {high}")
        self.channels, self.low, self.high = channels, low, high
        c = (channels,)
        self._state = int_state(n=(), saturated=c, silent=c) | float_state(shift=c, sum=c, gram=(channels, channels))
        self._state["min"] = torch.full(c, torch.inf, dtype=torch.float64)
        self._state["max"] = -self._state["min"]

    @accumulates
    def update(self, values: Tensor) -> None:
        """Adds a batch (B, C, H, W) or (N, C). Raises InputError for other channels or values that are not finite."""
        rows = as_samples(values, "pix")
        if rows.shape[1] != self.channels:
            raise InputError(f"expected {self.channels} channels, got {rows.shape[1]}")
        if not len(rows):
            return
        low, high = rows.amin(0), rows.amax(0)
        check_finite(low + high)
        state = self._state
        if int(state["n"]) == 0:
            state["shift"] = rows.mean(0)
        state["min"] = torch.minimum(state["min"], low)
        state["max"] = torch.maximum(state["max"], high)
        margin = 0.01 * (self.high - self.low) if self.low is not None and self.high is not None else 1e-6
        if self.low is not None or self.high is not None:
            hit = torch.zeros_like(rows, dtype=torch.bool)
            if self.low is not None:
                hit |= rows <= self.low + margin
            if self.high is not None:
                hit |= rows >= self.high - margin
            state["saturated"] += hit.sum(0)
        state["silent"] += (rows == 0).sum(0)
        rows = rows - state["shift"]
        state["n"] += len(rows)
        state["sum"] += rows.sum(0)
        state["gram"] += rows.T @ rows

    def _merge(self, other: dict[str, Tensor]) -> None:
        if int(other["n"]) == 0:
            return
        state = self._state
        if int(state["n"]) == 0:
            self._state = {name: value.clone() for name, value in other.items()}
            return
        n, s, d = other["n"].double(), other["sum"], other["shift"] - state["shift"]
        outer = torch.outer(s, d)
        state["sum"] = state["sum"] + s + n * d
        state["gram"] = state["gram"] + other["gram"] + outer + outer.T + n * torch.outer(d, d)
        state["min"] = torch.minimum(state["min"], other["min"])
        state["max"] = torch.maximum(state["max"], other["max"])
        for name in ("n", "saturated", "silent"):
            state[name] = state[name] + other[name]

    def covariance(self) -> Tensor:
        """(C, C) float64 population covariance over all positions seen."""
        n = int(self._state["n"])
        mean = self._state["sum"] / n
        return self._state["gram"] / n - torch.outer(mean, mean)

    def compute(self) -> HealthScores:
        """Scores of everything seen. Raises InputError when nothing was seen."""
        state, n = self._seen(), int(self._state["n"])
        covariance = self.covariance().cpu()
        alive = state["max"] > state["min"]
        covariance = torch.where(torch.outer(alive, alive), covariance, 0.0)
        mean = state["shift"] + state["sum"] / n
        variance = covariance.diagonal().clamp(min=0)
        spread = (variance.mean() + mean.var(unbiased=False)).sqrt()
        declared = self.low is not None or self.high is not None
        full = (state["saturated"] >= SATURATED * n).nonzero().flatten().tolist()
        return HealthScores(
            channels=self.channels,
            dead=int((~alive).sum()),
            dead_channels=tuple((~alive).nonzero().flatten().tolist()),
            mean=float(mean.mean()),
            std=float(spread),
            channel_mean=mean,
            channel_std=variance.sqrt(),
            effective_rank=effective_rank(covariance),
            saturated=int(state["saturated"].sum()) / (n * self.channels) if declared else None,
            low=float(state["min"].min()),
            high=float(state["max"].max()),
            n=n,
            saturated_channels=tuple(full) if declared else None,
            silent=int(state["silent"].sum()) / (n * self.channels),
            channel_silent=state["silent"].double() / n,
            participation=participation_ratio(covariance),
        )


class ChannelMean(Accumulator):
    """Mean of each channel over images and positions.

    >>> mean = ChannelMean(1)
    >>> mean.update(torch.tensor([[[1.0, 3.0]], [[5.0, 7.0]]]))
    >>> mean.compute()
    tensor([4.], dtype=torch.float64)
    """

    info = MetricInfo("channel mean", None, None, "larger values", ("order of images",), "state C + 1; O(values)",
                      "arithmetic mean")  # fmt: skip
    choices = ("channels",)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self._state = float_state(sum=(channels,)) | int_state(count=())

    @accumulates
    def update(self, value: Tensor) -> None:
        """Adds (B, C, ...)."""
        self._state["sum"] += value.double().transpose(0, 1).flatten(1).sum(1)
        self._state["count"] += value.numel() // self.channels

    def compute(self) -> Tensor:
        """(C,) float64."""
        return (self._state["sum"] / self._state["count"]).cpu()
