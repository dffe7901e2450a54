"""What gates do: how open, how sure, how much they depend on the input; and how much an exchange exchanges.

A gate g between `low` and `high` is read as u = (g - low) / (high - low). Its binary entropy H = - u log2 u -
(1 - u) log2(1 - u) is 0 bits where it decides and 1 where it halves. The variance of u over channels, images and
positions splits into three shares that add up to 1 (law of total variance): between channels (a fixed weighting, the
same for every image), between images within a channel, and between positions within an image. A gate whose last two
shares are near 0 ignores its input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import (
    Accumulator,
    MetricInfo,
    accumulates,
    at_least_one,
    check_finite,
    float_state,
    int_state,
    one_each,
    point_names,
)

__all__ = ["ExchangeRatio", "ExchangeScores", "GateScores", "GateStatistics", "MixtureScores", "MixtureStatistics"]

EDGE = 0.01  # share of the range within which a gate counts as shut or open
SLACK = 1e-3  # share of the range that rounding in half precision may exceed it by


def _places(feature: Tensor, channels: int, what: str) -> Tensor:
    """(B, C, ...) -> (B, C, n)."""
    if feature.ndim < 2 or 0 in feature.shape[1:] or feature.shape[1] != channels:
        raise InputError(f"{what} must be (B, {channels}, ...), got {tuple(feature.shape)}")
    return feature.flatten(2) if feature.ndim > 2 else feature[:, :, None]


def _one_shape(values: Sequence[Tensor], what: str) -> None:
    if len({v.shape for v in values}) > 1:
        raise InputError(f"{what} must have one shape, got {[tuple(v.shape) for v in values]}")


@dataclass(frozen=True)
class GateScores:
    """How a gate behaves; u is the gate scaled to 0 .. 1.

    Attributes:
        mean, std: of u over channels, images and positions. channel_mean: (C,) float64.
        entropy, channel_entropy: mean binary entropy in bits, 0 to 1, and (C,) that of each channel.
        shut, open: share of values within 1 % of the range from the lower and the upper bound.
        by_channel, by_image, by_position: shares of the variance of u, adding up to 1; NaN where it never varies.
        images, n: images seen, and values in each channel.
    """

    mean: float
    std: float
    channel_mean: Tensor
    entropy: float
    channel_entropy: Tensor
    shut: float
    open: float
    by_channel: float
    by_image: float
    by_position: float
    images: int
    n: int


class GateStatistics(Accumulator):
    """Accumulates the behaviour of one gate.

    Args:
        channels: C. low, high: its declared range.

    >>> gate = GateStatistics(1)
    >>> gate.update(torch.tensor([[[[0.0, 1.0, 0.5, 0.5]]]]))
    >>> scores = gate.compute()
    >>> scores.mean, scores.entropy, scores.shut, scores.open, scores.by_position
    (0.5, 0.5, 0.25, 0.25, 1.0)
    """

    info = MetricInfo(
        name="gate statistics", low=0.0, high=1.0, larger_is="",
        invariant_to=("order of images", "permutation of channels"), cost="state 6 C; O(n C)",
        source="binary entropy: Shannon 1948; law of total variance",
    )  # fmt: skip
    choices = ("channels", "low", "high")

    def __init__(self, channels: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        at_least_one(channels=channels)
        if not low < high:
            raise InputError(f"need low below high, got {low} and {high}")
        self.channels, self.low, self.high = channels, low, high
        c = (channels,)
        self._state = float_state(sum=c, squares=c, image_squares=c, entropy=c)
        self._state |= int_state(shut=c, open=c, n=(), images=())

    @accumulates
    def update(self, gate: Tensor) -> None:
        """Adds a batch (B, C, H, W), (B, C, N) or (B, C).

        Raises:
            InputError: other channels, not finite, or beyond the declared range by more than rounding.
        """
        u = (_places(gate, self.channels, "a gate").double() - self.low) / (self.high - self.low)
        if not len(u):
            return
        least, most = map(float, u.aminmax())
        if not (least >= -SLACK and most <= 1 + SLACK):  # NaN too
            least, most = (self.low + v * (self.high - self.low) for v in (least, most))
            declared = f"a gate declared within {self.low} .. {self.high}"
            raise InputError(f"{declared} has values from {least:.4g} to {most:.4g}")
        u = u.clamp(0, 1)
        state, places = self._state, u.shape[2]
        state["sum"] += u.sum((0, 2))
        state["squares"] += u.square().sum((0, 2))
        state["image_squares"] += places * u.mean(2).square().sum(0)
        state["entropy"] += (torch.special.entr(u) + torch.special.entr(1 - u)).sum((0, 2)) / math.log(2)
        state["shut"] += (u <= EDGE).sum((0, 2))
        state["open"] += (u >= 1 - EDGE).sum((0, 2))
        state["n"] += len(u) * places
        state["images"] += len(u)

    def compute(self) -> GateScores:
        """Scores of everything seen. Raises InputError when nothing was seen."""
        state, n = self._seen("gates"), int(self._state["n"])
        mean = state["sum"] / n
        whole = (state["squares"].mean() / n - mean.mean().square()).clamp(min=0)
        image = (state["image_squares"] / n - mean.square()).clamp(min=0).mean()
        channel = mean.var(unbiased=False)
        position = (whole - image - channel).clamp(min=0)
        total = float(whole) if whole > 1e-15 else math.nan
        return GateScores(
            mean=float(mean.mean()),
            std=float(whole.sqrt()),
            channel_mean=mean,
            entropy=float(state["entropy"].mean() / n),
            channel_entropy=state["entropy"] / n,
            shut=int(state["shut"].sum()) / (n * self.channels),
            open=int(state["open"].sum()) / (n * self.channels),
            by_channel=float(channel) / total,
            by_image=float(image) / total,
            by_position=float(position) / total,
            images=int(state["images"]),
            n=n,
        )


@dataclass(frozen=True)
class MixtureScores:
    """How M weights that add up to 1 are shared over `n` places.

    Attributes:
        share: (M,) float64 mean weight.
        entropy: mean of the entropy over modalities divided by log M, 0 (one has all) to 1 (equal parts).
        largest: (M,) share of places where the modality weighs most (the first of equals).
    """

    share: Tensor
    entropy: float
    largest: Tensor
    n: int


class MixtureStatistics(Accumulator):
    """Accumulates mixture weights of M modalities.

    Args:
        points: names of the modalities, or their number, at least 2.

    >>> mix = MixtureStatistics(("rgb", "x"))
    >>> w = torch.tensor([[[1.0, 0.5]]])
    >>> mix.update(w, 1 - w)
    >>> mix.compute().share.tolist(), mix.compute().entropy
    ([0.75, 0.25], 0.5)
    """

    info = MetricInfo(
        name="mixture of modalities", low=0.0, high=1.0, larger_is="",
        invariant_to=("order of images", "isotropic scaling of all weights"), cost="state 2 M + 2; O(n M)",
        source="entropy: Shannon 1948",
    )  # fmt: skip
    choices = ("points",)

    def __init__(self, points: Sequence[str] | int = 2) -> None:
        super().__init__()
        self.points = point_names(points, least=2)
        m = (len(self.points),)
        self._state = float_state(share=m, entropy=()) | int_state(largest=m, n=())

    @accumulates
    def update(self, *weights: Tensor) -> None:
        """Adds a batch: a weight tensor per modality, all of one shape (B, ...), divided by their sum at each place."""
        one_each(self.points, weights, "weights")
        _one_shape(weights, "weights")
        stacked = torch.stack([w.double().flatten() for w in weights])
        total = stacked.sum(0)
        if not bool(((stacked >= 0).all(0) & (total > 0) & torch.isfinite(total)).all()):
            raise InputError("weights must be finite, not negative, and above 0 for one modality at each place")
        share = stacked / total
        state = self._state
        state["share"] += share.sum(1)
        state["entropy"] += torch.special.entr(share).sum() / math.log(len(share))
        state["largest"] += torch.bincount(share.argmax(0), minlength=len(share))
        state["n"] += share.shape[1]

    def compute(self) -> MixtureScores:
        """Scores of everything seen. Raises InputError when nothing was seen."""
        state, n = self._seen("weights"), int(self._state["n"])
        return MixtureScores(state["share"] / n, float(state["entropy"]) / n, state["largest"].double() / n, n)


@dataclass(frozen=True)
class ExchangeScores:
    """How much an exchange, which replaces places of one stream by the other's, exchanges over `images` images.

    Attributes:
        ratio: (P,) float64 share of places of each stream that are replaced. channel_ratio: (P, C) by channel.
        std: (P,) standard deviation of that share over images: 0 for an exchange fixed by the weights.
        both: (P, P) share of places replaced in both streams at once (there the streams swap, and nothing is fused).
    """

    ratio: Tensor
    std: Tensor
    both: Tensor
    channel_ratio: Tensor
    images: int


class ExchangeRatio(Accumulator):
    """Accumulates exchange masks of P streams.

    Args:
        channels: C of the masks; 1 for tokens. points: names of the streams, or their number.
        below: a place is replaced where its mask is below this (token scores); None: where it exceeds 0.5.

    >>> exchange = ExchangeRatio(4)
    >>> exchange.update(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    >>> exchange.compute().ratio.tolist()
    [0.25, 0.5]
    """

    info = MetricInfo(
        name="exchange ratio", low=0.0, high=1.0, larger_is="more is taken from the other stream",
        invariant_to=("order of images", "permutation of channels"), cost="state P (C + P + 1); O(n P C)",
        source="counts; exchanges of Wang et al. 2020 (CEN) and 2022 (TokenFusion)",
    )  # fmt: skip
    choices = ("channels", "points", "below")

    def __init__(
        self, channels: int = 1, points: Sequence[str] | int = ("rgb", "x"), below: float | None = None
    ) -> None:
        super().__init__()
        at_least_one(channels=channels)
        self.points, self.channels, self.below = point_names(points), channels, below
        p = len(self.points)
        self._state = int_state(replaced=(p, channels), both=(p, p), places=(), images=())
        self._state |= float_state(share=(p,), squares=(p,))

    @accumulates
    def update(self, *masks: Tensor) -> None:
        """Adds a batch: one mask (B, C, ...) per stream, of one shape, bool or floating."""
        one_each(self.points, masks, "masks")
        _one_shape(masks, "masks")
        hits = []
        for mask in masks:
            check_finite(mask.sum(), "a mask has")
            # compared in the mask's own precision, as the exchange does
            chosen = mask > 0.5 if self.below is None else mask < self.below
            hits.append(_places(chosen, self.channels, "an exchange mask"))
        hit = torch.stack(hits)  # (P, B, C, n)
        state, flat = self._state, hit.flatten(1).double()
        state["replaced"] += hit.sum((1, 3))
        state["both"] += (flat @ flat.T).round().long()
        state["places"] += hit[0].numel()
        if hit.shape[1]:
            share = hit.flatten(2).double().mean(2)
            state["share"] += share.sum(1)
            state["squares"] += share.square().sum(1)
            state["images"] += hit.shape[1]

    def compute(self) -> ExchangeScores:
        """Scores of everything seen. Raises InputError when nothing was seen."""
        state = self._seen("masks", "images")
        images, places, mean = int(state["images"]), int(state["places"]), state["share"] / state["images"]
        return ExchangeScores(
            ratio=state["replaced"].sum(1).double() / places,
            std=(state["squares"] / images - mean.square()).clamp(min=0).sqrt(),
            both=state["both"].double() / places,
            channel_ratio=state["replaced"].double() / (places // self.channels),
            images=images,
        )
