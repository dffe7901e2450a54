"""Concept vectors: how the directions of a concept in several representations compare.

A concept's vector is the weight of its detector (statistics.py, net2vec.py). Two representations have no common
channels, but they have common images: the correlation of the two detectors' score maps is the cosine of the two vectors
under the covariance of the data, for any modalities, stages and sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

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

__all__ = ["AgreementScores", "ConceptAgreement"]


@dataclass(frozen=True)
class AgreementScores:
    """Correlation of concept scores between points over `n` positions: (K, P, P) float64, -1 to 1; NaN where a
    detector's score never varies (an absent concept)."""

    correlation: Tensor
    n: int


class ConceptAgreement(Accumulator):
    """Correlation, concept by concept, of the score maps of P probe points over positions of a common grid.

    Args:
        points: names of the points, or their number.
        concepts: K.

    >>> score = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> agreement = ConceptAgreement(("rgb", "x"), 1)
    >>> agreement.update(score, -2 * score)
    >>> round(float(agreement.compute().correlation[0, 0, 1]), 6)
    -1.0
    """

    info = MetricInfo(
        name="agreement of concept scores", low=-1.0, high=1.0, larger_is="more similar",
        invariant_to=("order of images", "positive scaling and shift of scores"),
        cost="state K (P^2 + P) float64; O(n K P^2)", source="Pearson correlation",
    )  # fmt: skip
    choices = ("points", "concepts")

    def __init__(self, points: Sequence[str] | int, concepts: int) -> None:
        super().__init__()
        at_least_one(concepts=concepts)
        self.points, self.concepts = point_names(points), concepts
        p = len(self.points)
        self._state = float_state(sum=(concepts, p), cross=(concepts, p, p)) | int_state(n=())

    @accumulates
    def update(self, *scores: Tensor, valid: Tensor | None = None, size: tuple[int, int] | None = None) -> None:
        """Adds a batch: P score maps (B, K, h_p, w_p) from `ConceptWeights.score`, of the same images.

        Args:
            scores: standardised, as `score` gives them, so that sums keep their digits.
            valid: (B, H, W) bool at the common grid; all of it when None.
            size: (H, W) that all maps are brought to, bilinearly; the largest of the maps' sizes when None.
        """
        one_each(self.points, scores, "score maps")
        if any(s.ndim != 4 or s.shape[1] != self.concepts or len(s) != len(scores[0]) for s in scores):
            shapes = [tuple(s.shape) for s in scores]
            raise InputError(f"score maps must be (B, {self.concepts}, h, w) of the same images, got {shapes}")
        grid = max((tuple(s.shape[2:]) for s in scores), key=lambda s: s[0] * s[1]) if size is None else tuple(size)
        if valid is not None and tuple(valid.shape) != (len(scores[0]), *grid):
            raise InputError(f"valid must be {(len(scores[0]), *grid)}, got {tuple(valid.shape)}")
        if not len(scores[0]):
            return
        fit = lambda s: functional.interpolate(s, size=grid, mode="bilinear", align_corners=False)  # noqa: E731
        fitted = [s.double() if tuple(s.shape[2:]) == grid else fit(s.double()) for s in scores]
        stacked = torch.stack([s.transpose(0, 1).flatten(1) for s in fitted], 1)  # (K, P, n)
        if valid is not None:
            stacked = stacked[:, :, valid.flatten() > 0]
        check_finite(stacked.sum(), "scores have")
        self._state["sum"] += stacked.sum(2)
        self._state["cross"] += stacked @ stacked.transpose(1, 2)
        self._state["n"] += stacked.shape[2]

    def compute(self) -> AgreementScores:
        """Correlations over everything seen."""
        state, n = {name: value.cpu() for name, value in self._state.items()}, int(self._state["n"])
        mean = state["sum"] / max(n, 1)
        covariance = state["cross"] / max(n, 1) - mean[:, :, None] * mean[:, None]
        own = covariance.diagonal(dim1=1, dim2=2)
        own = torch.where(own > 1e-12 * (1 + mean.square()), own, torch.nan).sqrt()
        return AgreementScores((covariance / (own[:, :, None] * own[:, None])).clamp(-1, 1), n)
