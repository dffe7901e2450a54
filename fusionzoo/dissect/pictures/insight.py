"""What a dissection learned that helps to look inside the streams of one image: colours of features, concept detectors.

It comes of sums that the measures keep anyway, and costs no pass: directions of most variance from the second moments
of similarity, detectors from the concept statistics. It is held in memory only, for
`fusionzoo.dissect.pictures.examples`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fusionzoo.dissect.measures.base import STREAMS, Done
from fusionzoo.dissect.measures.concepts import FULL, Curve
from fusionzoo.dissect.measures.similarity import StageMoments
from fusionzoo.metrics.concepts import ConceptWeights
from fusionzoo.metrics.similarity import CentredMoments

__all__ = ["Detector", "Insight", "Palette", "insight", "palettes", "shown_stages"]

REACH = 2.0
"""Standard deviations of a component from the middle of its colour to either end."""


@dataclass(frozen=True)
class Palette:
    """Features of some points as colours: their first three principal components as red, green and blue.

    The points, of equally many channels, are one set: each about its mean and scaled to unit variance over all
    channels, so that none drowns another and that like features of two points have like colours.

    Attributes:
        mean: point -> (C,). scale: point -> standard deviation over all channels, 1 where it does not vary.
        directions: (C, 3) orthonormal, by falling variance, the largest entry positive; 0 where there are fewer.
        spread: (3,) standard deviation along each. held: share of the variance that the three hold.
    """

    mean: dict[str, Tensor]
    scale: dict[str, float]
    directions: Tensor
    spread: Tensor
    held: float

    def colours(self, point: str, maps: Tensor) -> Tensor:
        """(C, h, w) features -> (h, w, 3) uint8; the mean is the middle grey."""
        device = maps.device
        about = (maps.double().movedim(0, 2) - self.mean[point].to(device)) / self.scale[point]  # (h, w, C)
        shade = about @ self.directions.to(device) / (2 * REACH * self.spread.to(device))
        return ((shade + 0.5).clamp(0, 1) * 255).round().byte()


@dataclass(frozen=True)
class Detector:
    """The concept detectors of a point, and from which score on each says yes, (K,); NaN where it was not trained."""

    weights: ConceptWeights
    threshold: Tensor


@dataclass(frozen=True)
class Insight:
    """`stages`: stage -> stream -> point, as measured. `passed`: the probes that a forward pass goes through.
    `palettes`: point -> how to colour it. `detectors`: point -> of all concepts."""

    stages: dict[int, dict[str, str]]
    passed: frozenset[str] = frozenset()
    palettes: dict[str, Palette] = field(default_factory=dict)
    detectors: dict[str, Detector] = field(default_factory=dict)


def insight(done: Done) -> Insight:
    """What the complete sums of a dissection tell; what was not measured is left out."""
    setup = done.setup
    found = Insight(
        {stage: dict(at) for stage, at in setup.stages.items()}, frozenset({*setup.points, *setup.mixtures})
    )
    for stage in shown_stages(found.stages):
        points = tuple(setup.stages[stage][s] for s in STREAMS if s in setup.stages[stage])
        sums = done.get(StageMoments(points, variant="pix"))
        if sums is not None:
            whole = sums.parts[0] if len(sums.parts) == 1 else sums.merged()  # one that is too wide to be copied
            found.palettes.update(palettes(whole.centred(), points))
    for point in setup.stage_points():
        curve = Curve((point,), variant=FULL, binary=setup.tau is not None)
        scored = done.get(curve)
        if scored is not None:
            found.detectors[point] = Detector(done.prepared[curve.key], scored.compute().threshold)
    return found


def shown_stages(stages: Mapping[int, object]) -> list[int]:
    """The stages to look into: the first, and the two deepest.

    >>> shown_stages({1: {}, 2: {}, 3: {}, 4: {}}), shown_stages({5: {}})
    ([1, 3, 4], [5])
    """
    ranked = sorted(stages)
    return sorted({*ranked[:1], *ranked[-2:]})


def palettes(moments: CentredMoments, points: Sequence[str]) -> dict[str, Palette]:
    """Point -> palette; points of equally many channels share one.

    Args:
        moments: of the points, in this order.
    """
    width = [s.stop - s.start for s in moments.slices]
    found: dict[str, Palette] = {}
    for channels in dict.fromkeys(width):
        mine = [i for i, w in enumerate(width) if w == channels]
        blocks = [moments.block(i, i).cpu() / moments.n for i in mine]
        scale = [float(b.trace()) ** 0.5 or 1.0 for b in blocks]
        joint = torch.stack([b / s**2 for b, s in zip(blocks, scale, strict=True)]).mean(0)
        values, vectors = torch.linalg.eigh(joint)
        kept = min(3, channels)
        directions, spread = torch.zeros(channels, 3, dtype=joint.dtype), torch.ones(3, dtype=joint.dtype)
        directions[:, :kept] = vectors[:, channels - kept :].flip(1)
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        directions = torch.where(largest < 0, -directions, directions)
        variance = values[channels - kept :].flip(0).clamp(min=0)
        spread[:kept] = torch.where(variance > 1e-12, variance, 1.0).sqrt()
        held = float(variance.sum() / values.sum().clamp(min=1e-12))
        made = Palette(
            {points[i]: moments.mean[moments.slices[i]].cpu() for i in mine},
            {points[i]: s for i, s in zip(mine, scale, strict=True)}, directions, spread, held,
        )  # fmt: skip
        found.update(dict.fromkeys((points[i] for i in mine), made))
    return found
