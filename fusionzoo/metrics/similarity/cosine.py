"""Cosine of two features at the same position, for features whose channels mean the same.

cos_i = <a_i, b_i> / (|a_i| |b_i|) for position (view `pix`) or image (view `gap`) i; the mean over all of them, all
pairs of P points at once. Unlike the measures of similarity.py it compares channel with channel: it is defined only for
points of one width, and it means something only where channels are comparable: before and after a fusion block, one
probe point with and without a modality, or streams that share weights. For two streams trained apart it says nothing.
Positions where either feature is zero have no direction: they are left out and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import VIEWS, Accumulator, MetricInfo, accumulates, as_samples

__all__ = ["CosineScores", "PositionCosine"]

CHUNK = 1 << 20  # float64 numbers of normalised features held at once, per point


@dataclass(frozen=True)
class CosineScores:
    """Cosines of all pairs of points.

    Attributes:
        mean: (P, P) float64, -1 to 1; NaN where every position was left out.
        std: (P, P) of the population of positions.
        n: (P, P) int64 positions that counted.
        left_out: (P, P) int64 positions where one of the two features is zero.
        view: "gap" or "pix".
    """

    mean: Tensor
    std: Tensor
    n: Tensor
    left_out: Tensor
    view: str


class PositionCosine(Accumulator):
    """Mean cosine per position of all pairs of P points with the same channels.

    Args:
        points: names of the points, or their number.
        view: "pix" (positions of maps of one size) or "gap" (images, by their spatial means).

    >>> x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> score = PositionCosine(2)
    >>> score.update(x, -2 * x)
    >>> round(float(score.compute().mean[0, 1]), 6), int(score.compute().n[0, 1])
    (-1.0, 32)
    """

    info = MetricInfo(
        name="cosine per position",
        low=-1.0,
        high=1.0,
        larger_is="more similar",
        invariant_to=("isotropic scaling", "rotation of both sets alike", "permutation of both sets' channels alike"),
        cost="state 3 P^2; O(n P^2 C)",
        source="inner product",
    )

    def __init__(self, points: Sequence[str] | int = 2, view: str = "pix") -> None:
        super().__init__()
        self.points = tuple(str(i) for i in range(points)) if isinstance(points, int) else tuple(points)
        if not self.points or len(set(self.points)) != len(self.points):
            raise InputError(f"points must be one or more different names, got {self.points}")
        if view not in VIEWS:
            raise InputError(f"unknown view {view!r}: use one of {', '.join(VIEWS)}")
        self.view = view
        shape = (len(self.points), len(self.points))
        self._state = {
            "sum": torch.zeros(shape, dtype=torch.float64),
            "squares": torch.zeros(shape, dtype=torch.float64),
            "n": torch.zeros(shape, dtype=torch.int64),
            "seen": torch.zeros((), dtype=torch.int64),
        }

    def _config(self) -> dict[str, object]:
        return {"points": self.points, "view": self.view}

    @accumulates
    def update(self, *features: Tensor) -> None:
        """Adds a batch: P features (B, C, H, W) or (N, C) with the same channels, of the same samples.

        Raises:
            InputError: another number of features, channels or (view "pix") sizes that differ, values not finite.
        """
        if len(features) != len(self.points):
            raise InputError(f"expected {len(self.points)} features ({', '.join(self.points)}), got {len(features)}")
        rows = [as_samples(f, self.view) for f in features]
        if len({r.shape for r in rows}) > 1 or (self.view == "pix" and len({f.shape for f in features}) > 1):
            shapes = [tuple(f.shape) for f in features]
            raise InputError(f"a cosine per position needs the same channels and positions, got {shapes}")
        for start in range(0, len(rows[0]), max(1, CHUNK // rows[0].shape[1])):
            part = torch.stack([r[start : start + max(1, CHUNK // r.shape[1])] for r in rows], 1)  # (N, P, C)
            norm = part.norm(dim=2)
            if not bool(torch.isfinite(norm.sum())):
                raise InputError("a feature has values that are not finite (NaN or infinity)")
            has = norm > 0
            unit = part / norm.clamp(min=1e-300)[:, :, None]
            cosine = (unit @ unit.transpose(1, 2)).clamp(-1, 1)
            self._state["sum"] += cosine.sum(0)
            self._state["squares"] += cosine.square().sum(0)
            self._state["n"] += (has[:, :, None] & has[:, None]).sum(0)
            self._state["seen"] += len(part)

    def compute(self) -> CosineScores:
        """Scores of everything seen; NaN where nothing counted."""
        state = {name: value.cpu() for name, value in self._state.items()}
        count = torch.where(state["n"] > 0, state["n"].double(), torch.nan)
        mean = state["sum"] / count
        return CosineScores(
            mean=mean,
            std=(state["squares"] / count - mean.square()).clamp(min=0).sqrt(),
            n=state["n"],
            left_out=state["seen"] - state["n"],
            view=self.view,
        )
