"""Exchange ratio and mixture weights: what a fusion block takes from each modality by masks and weights of its own.

* An exchange (TokenFusion's tokens, CEN's channels) replaces places of one stream by the other's; its two masks say
  where. Its ratio is the share of places replaced. Where both streams are replaced at once they swap: nothing is fused.
* A mixture (softmax over modalities) weighs them; the weights add up to 1 at each place.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from fusionzoo.dissect.measures.base import Batch, Done, Measure, Metric, Setup, number
from fusionzoo.metrics import ExchangeRatio, MixtureStatistics

__all__ = ["METRIC", "Exchange", "Masks", "Weights", "mask_pairs"]

MODALITIES = ("rgb", "x")


@dataclass(frozen=True)
class Masks(Measure):
    """The two masks of an exchange, that of rgb first."""

    kind: ClassVar[str] = "exchange"

    def make(self, done: Done) -> ExchangeRatio:
        info = done.setup.points[self.points[0]]
        return ExchangeRatio(info.channels, MODALITIES, info.replaced_below)

    def hear(self, sums: ExchangeRatio, batch: Batch, point: str, value: Tensor) -> None:
        batch.shared[self.key, point] = value.clone()  # the model may go on with it in place

    def finish(self, sums: ExchangeRatio, batch: Batch) -> None:
        sums.update(*(batch.shared[self.key, point] for point in self.points))


@dataclass(frozen=True)
class Weights(Measure):
    """The weights of a mixture of the two modalities, in one tensor."""

    kind: ClassVar[str] = "mixture"

    def make(self, done: Done) -> MixtureStatistics:
        return MixtureStatistics(MODALITIES)

    def hear(self, sums: MixtureStatistics, batch: Batch, point: str, value: Tensor) -> None:
        mixture = batch.done.setup.mixtures[point]
        parts = value.unbind(mixture.dim)
        sums.update(*(parts if mixture.rgb_first else parts[::-1]))


@dataclass
class Replaced:
    """An exchange; `name`: of its masks, without the modality.

    Attributes:
        rgb, x: share of the places of that stream that are replaced by the other's.
        rgb_std, x_std: standard deviation of that share over images: 0 for an exchange that the weights alone decide.
        both: share of places replaced in both streams at once.
    """

    name: str
    rgb: float | None
    x: float | None
    rgb_std: float | None
    x_std: float | None
    both: float | None


@dataclass
class Mixed:
    """A mixture; `name`: of the probe.

    Attributes:
        rgb, x: mean weight of each modality over places; they add up to 1.
        entropy: mean over places, 0 (one modality has all) to 1 (equal parts).
        mostly_rgb: share of places where rgb weighs at least as much as x.
    """

    name: str
    rgb: float | None
    x: float | None
    entropy: float | None
    mostly_rgb: float | None


@dataclass
class Exchange:
    """What the fusion blocks take from each modality by their own masks and weights, in model order."""

    masks: list[Replaced] = field(default_factory=list)
    weights: list[Mixed] = field(default_factory=list)


def mask_pairs(setup: Setup) -> dict[str, tuple[str, str]]:
    """Name of an exchange -> the probes of its masks, rgb's and x's: "fusion.mask" of "fusion.mask_rgb" and "..._x"."""
    found: dict[str, dict[str, str]] = {}
    for name, info in setup.points.items():
        if info.role == "exchange" or info.replaced_below is not None:
            found.setdefault(re.sub(r"[._](rgb|x)$", "", name), {})[info.modality] = name
    return {name: (at["rgb"], at["x"]) for name, at in found.items() if set(MODALITIES) <= set(at)}


def plan(setup: Setup, wanted: Collection[str]) -> Sequence[Measure]:
    if "health" not in wanted:
        return []
    return [*(Masks(pair) for pair in mask_pairs(setup).values()), *(Weights((point,)) for point in setup.mixtures)]


def compute(done: Done, results: Mapping[str, Any]) -> Exchange | None:
    pairs = {name: done.get(Masks(pair)) for name, pair in mask_pairs(done.setup).items()}
    mixtures = {point: done.get(Weights((point,))) for point in done.setup.mixtures}
    found = Exchange()
    for name, s in ((name, sums.compute()) for name, sums in pairs.items() if sums is not None):
        found.masks.append(Replaced(name, *map(number, (*s.ratio, *s.std, s.both[0, 1]))))
    for point, s in ((point, sums.compute()) for point, sums in mixtures.items() if sums is not None):
        found.weights.append(Mixed(point, *map(number, (*s.share, s.entropy, s.largest[0]))))
    return found if found.masks or found.weights else None


METRIC = Metric("exchange", (), Exchange, plan, compute)
