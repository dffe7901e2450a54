"""Per-channel quantiles in one pass from a fixed-size histogram that merges exactly.

Bins are 2^k wide and start at multiples of 2^k; k is the smallest for which the values seen fit in the bins. When the
range grows, neighbouring bins join: the counts are the same for any order of batches and any merging. The error of a
quantile is at most one bin, about 2 / bins of the channel's range.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates, check_finite, few_above, int_state

__all__ = ["Quantiles"]

FINEST = -126  # smallest normal exponent of a float32; 2^126 is finite too, so a channel of zeros gives no 0 * inf
MANTISSA = 24
SPARSE = 0.2  # share of values above the floors up to which they are picked out
CHUNK = 1 << 16  # values placed at once


class Quantiles(Accumulator):
    """Upper quantile of each channel over all images and positions: P(value > threshold) = tau.

    Args:
        channels: C.
        tau: upper share, between 0 and 1.
        bins: bins per channel; state is C x bins integers.
        expected: values per channel in the whole data set (images x positions), where known: then values that can no
            longer matter are passed over, which costs a quarter. More values than that are refused.

    >>> sketch = Quantiles(1, tau=0.25)
    >>> sketch.update(torch.arange(1000.0).view(1, 1, 20, 50))
    >>> abs(float(sketch.compute()) - 750) <= 1
    True
    """

    info = MetricInfo(
        name="upper quantile", low=None, high=None, larger_is="",
        invariant_to=("order of images", "spatial permutation"), cost="state C x bins integers; O(n C)",
        source="threshold of Net2Vec (Fong and Vedaldi 2018), tau = 0.005; sketch of ours",
    )  # fmt: skip
    choices = ("channels", "tau", "bins", "expected")

    def __init__(self, channels: int, tau: float = 0.005, bins: int = 2048, expected: int | None = None) -> None:
        super().__init__()
        if channels < 1 or bins < 2:
            raise InputError(f"channels must be at least 1 and bins at least 2, got {channels} and {bins}")
        if not 0 < tau < 1:
            raise InputError(f"tau must lie between 0 and 1, got {tau}")
        self.channels, self.tau, self.bins, self.expected = channels, tau, bins, expected
        self._state = int_state(counts=(channels, bins), n=(), exponent=(channels,), first=(channels,), next=())
        self._state["exponent"] += FINEST
        for name, value in (("min", torch.inf), ("max", -torch.inf), ("floor", -torch.inf)):
            self._state[name] = torch.full((channels,), value, dtype=torch.float64)

    @accumulates
    def update(self, maps: Tensor) -> None:
        """Adds a batch (B, C, h, w) or (N, C), floating point.

        Raises:
            InputError: another number of channels, more values than expected, or values that are not finite.
        """
        if maps.ndim not in (2, 4) or maps.shape[1] != self.channels or not maps.is_floating_point():
            wanted = f"floating (B, {self.channels}, h, w) or (N, {self.channels})"
            raise InputError(f"maps must be {wanted}, got {maps.dtype} {tuple(maps.shape)}")
        if maps.numel() == 0:
            return
        if maps.dtype in (torch.float16, torch.bfloat16):
            maps = maps.float()
        n = maps.numel() // self.channels
        self._check_expected(n)
        if not self._count_above_floor(maps):
            self._count(maps)
        self._state["n"] += n
        if self.expected is not None and int(self._state["n"]) >= int(self._state["next"]):
            self._raise_floor()

    def _check_expected(self, more: int) -> None:
        total = int(self._state["n"]) + more
        if self.expected is not None and total > self.expected:
            raise InputError(f"{total} values per channel, but {self.expected} were expected in the whole data set")

    def _count(self, maps: Tensor) -> None:
        """Counts all values."""
        dims = [d for d in range(maps.ndim) if d != 1]
        low, high = maps.amin(dims), maps.amax(dims)
        check_finite(low + high, "maps have")
        self._widen(low.double(), high.double())
        state, bins = self._state, self.bins
        scale = torch.exp2(-state["exponent"].double()).to(maps.dtype)
        negative = (low < 0).tolist()
        step = max(1, CHUNK * self.channels // maps.numel())  # channels at a time, to stay in the processor's cache
        row = torch.arange(self.channels, device=maps.device) % step * bins - state["first"]
        row = row.int()[:, None]
        for c in range(0, self.channels, step):
            part = slice(c, c + step)
            place = maps[:, part].transpose(0, 1).flatten(1) * scale[part, None]
            if any(negative[part]):  # the others are rounded down by the change to integers
                place = place.floor_()
            place = place.int().add_(row[part])
            counts = torch.bincount(place.flatten(), minlength=len(place) * bins)
            state["counts"][part] += counts.view(-1, bins)

    def _count_above_floor(self, maps: Tensor) -> bool:
        """Counts only what lies above the floors; False, and nothing done, where that is not little."""
        state, bins = self._state, self.bins
        if not bool(torch.isfinite(state["floor"]).all()):
            return False
        maps = (maps.flatten(2) if maps.ndim == 4 else maps[:, :, None]).contiguous()
        above = few_above(maps, state["floor"].to(maps.dtype), SPARSE)
        if above is None:
            return False
        if not bool(torch.isfinite(maps.sum())):  # their sum may overflow
            check_finite(maps, "maps have")
        channel, value = above[0] // maps.shape[2] % self.channels, above[1].double()
        high = torch.full_like(state["max"], float("-inf")).scatter_reduce_(0, channel, value, "amax")
        self._widen(state["min"], high)
        place = torch.floor(value * torch.exp2(-state["exponent"].double())[channel]).long()
        place = (place - state["first"][channel]).clamp_(0, bins - 1) + channel * bins
        state["counts"] += torch.bincount(place, minlength=self.channels * bins).view(-1, bins)
        return True

    def _raise_floor(self) -> None:
        """So many values were seen at or above the floor already that the quantile cannot lie below it."""
        state, n = self._state, int(self._state["n"])
        assert self.expected is not None
        above = state["counts"].flip(1).cumsum(1)
        bins_below = (above < self.tau * self.expected).sum(1)
        edge = (state["first"] + self.bins - 1 - bins_below).double() * torch.exp2(state["exponent"].double())
        state["floor"] = torch.where(bins_below < self.bins, torch.maximum(state["floor"], edge), state["floor"])
        state["next"].fill_(2 * n)

    def _widen(self, low: Tensor, high: Tensor) -> None:
        """Makes room for values from `low` to `high`, both (C,)."""
        state = self._state
        low, high = torch.minimum(low, state["min"]), torch.maximum(high, state["max"])
        exponent, first = _placement(low, high, self.bins)
        moved = ((exponent != state["exponent"]) | (first != state["first"])).nonzero().flatten()
        if int(state["n"]) and len(moved):
            old = (state["exponent"][moved], state["first"][moved])
            state["counts"][moved] = _rebin(state["counts"][moved], *old, exponent[moved], first[moved])
        state["min"], state["max"], state["exponent"], state["first"] = low, high, exponent, first

    def _merge(self, other: dict[str, Tensor]) -> None:
        if int(other["n"]) == 0:
            return
        self._check_expected(int(other["n"]))
        self._widen(other["min"], other["max"])
        state = self._state
        state["floor"] = torch.maximum(state["floor"], other["floor"])
        moved = _rebin(other["counts"], other["exponent"], other["first"], state["exponent"], state["first"])
        state["counts"] = state["counts"] + moved
        state["n"] = state["n"] + other["n"]

    def compute(self) -> Tensor:
        """(C,) float64 thresholds. Raises InputError when nothing was seen.

        A channel whose values are all equal gets that value, so that nothing lies above it.
        """
        state, n = self._seen(), int(self._state["n"])
        counts = state["counts"].double()
        above = counts.flip(1).cumsum(1)  # values in the top bins, from the top
        target = self.tau * n
        position = (above < target).sum(1).clamp(max=self.bins - 1)  # bins from the top before the one that holds it
        inside = counts.flip(1).gather(1, position[:, None])[:, 0]
        before = above.gather(1, position[:, None])[:, 0] - inside
        width = torch.exp2(state["exponent"].double())
        upper = (state["first"] + self.bins - position).double() * width
        threshold = upper - width * (target - before) / inside
        # too few above the floor: the rest of the share lies on it
        threshold = torch.where(above[:, -1] < target, state["floor"], torch.maximum(threshold, state["floor"]))
        return threshold.clamp(min=state["min"], max=state["max"])


def _placement(low: Tensor, high: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Smallest bin exponent for which [low, high] fits in `bins` bins, and the index of the bin that holds `low`."""
    largest = torch.maximum(low.abs(), high.abs())
    size = torch.where(largest > 0, torch.frexp(largest).exponent.long() - MANTISSA, FINEST)
    span = torch.where(high > low, torch.frexp((high - low) / bins).exponent.long() - 2, FINEST)
    exponent = torch.maximum(size, span).clamp(min=FINEST)
    while True:
        width = torch.exp2(exponent.double())
        first, last = torch.floor(low / width), torch.floor(high / width)
        tight = last - first >= bins
        if not bool(tight.any()):
            return exponent, first.long()
        exponent = exponent + tight.long()


def _rebin(counts: Tensor, exponent: Tensor, first: Tensor, to_exponent: Tensor, to_first: Tensor) -> Tensor:
    bins = counts.shape[1]
    place = first[:, None] + torch.arange(bins, device=counts.device)
    # arithmetic shift right is floor division by a power of two, for negative indices too
    place = (place >> (to_exponent - exponent)[:, None].clamp(max=62)) - to_first[:, None]
    return torch.zeros_like(counts).scatter_add_(1, place.clamp(0, bins - 1), counts)
