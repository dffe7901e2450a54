"""Concept vectors: the direction of a concept in a representation, and how directions compare.

A concept's vector is the weight of its detector (concepts.py, net2vec.py). Three comparisons, by what the two
representations share:

* the same channels (one probe point with two detectors, modalities or checkpoints; a fused feature and the streams it
  adds up): `concept_cosine`, the cosine of the two weights. Between channels that are not the same it means nothing.
* the same images: `ConceptAgreement`, the correlation of the two detectors' score maps. It is the cosine of the two
  vectors under the covariance of the data, so it needs no common channels: any modalities, levels and sizes compare.
* the same concepts: `geometry_similarity`, the rank correlation of the two K x K tables of cosines between concepts:
  whether concepts that are close in one representation are close in the other. It needs no common images either.
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
    float_state,
    int_state,
    one_each,
    point_names,
)
from fusionzoo.metrics.stats.ranks import spearman

__all__ = [
    "INFO",
    "AgreementScores",
    "ConceptAgreement",
    "concept_cosine",
    "concept_geometry",
    "geometry_similarity",
]

INFO: dict[str, MetricInfo] = {
    "concept_cosine": MetricInfo(
        "cosine of concept vectors",
        -1.0,
        1.0,
        "more similar",
        ("isotropic scaling", "permutation of both sets' channels alike", "rotation of both sets alike"),
        "O(K C)",
        "Fong and Vedaldi 2018 (Net2Vec), concept embeddings",
    ),
    "geometry_similarity": MetricInfo(
        "similarity of concept geometries",
        -1.0,
        1.0,
        "more similar",
        ("rotation", "isotropic scaling", "permutation of channels"),
        "O(K^2 C)",
        "second-order isomorphism: Kriegeskorte et al. 2008; on concept vectors: ours",
    ),
}


def _weights(*weights: Tensor) -> list[Tensor]:
    if any(w.ndim != 2 for w in weights) or len({len(w) for w in weights}) > 1:
        raise InputError(f"one vector per concept: need (K, C), got {[tuple(w.shape) for w in weights]}")
    return [w.detach().double() for w in weights]


def _unit(weight: Tensor) -> Tensor:
    """Rows of unit length; NaN where a vector is zero or NaN (an absent concept)."""
    norm = weight.norm(dim=1, keepdim=True)
    return weight / torch.where(norm > 0, norm, torch.nan)


def concept_cosine(u: Tensor, v: Tensor) -> Tensor:
    """Cosine of the vectors of every concept in two representations with the same channels.

    Args:
        u, v: (K, C) weights, `ConceptWeights.weight`.

    Returns:
        (K,) float64; NaN for concepts that are absent from either.

    Raises:
        InputError: the shapes differ.

    >>> concept_cosine(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [-1.0, 1.0]])).tolist()
    [1.0, 0.0]
    """
    u, v = _weights(u, v)
    if u.shape != v.shape:
        raise InputError(
            f"vectors of {u.shape[1]} and {v.shape[1]} channels have no cosine: use ConceptAgreement (same images) "
            "or geometry_similarity (same concepts)"
        )
    return (_unit(u) * _unit(v)).sum(1).clamp(-1, 1)


def concept_geometry(weight: Tensor, covariance: Tensor | None = None) -> Tensor:
    """Cosines between the vectors of all concepts of one representation.

    Args:
        weight: (K, C).
        covariance: (C, C) of the channels; the cosine is then the correlation of the two concepts' scores, free of the
            channels' scales. Plain cosines when None.

    Returns:
        (K, K) float64; NaN for absent concepts.

    >>> concept_geometry(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))[0, 1].square().round(decimals=6).item()
    0.5
    """
    (w,) = _weights(weight)
    inner = w @ w.T if covariance is None else w @ covariance.double() @ w.T
    own = inner.diagonal()
    own = torch.where(own > 0, own, torch.nan).sqrt()
    return (inner / torch.outer(own, own)).clamp(-1, 1)


def geometry_similarity(u: Tensor, v: Tensor) -> float:
    """Spearman correlation of two K x K tables of cosines, above the diagonal; NaN with fewer than 3 common concepts.

    Args:
        u, v: (K, K) of `concept_geometry`, of representations of any width.

    >>> u = concept_geometry(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)))
    >>> geometry_similarity(u, u)
    1.0
    """
    if u.ndim != 2 or u.shape[0] != u.shape[1] or u.shape != v.shape:
        raise InputError(f"need two (K, K) tables of the same concepts, got {tuple(u.shape)} and {tuple(v.shape)}")
    upper = torch.triu_indices(len(u), len(u), 1)
    one, two = u[upper[0], upper[1]], v[upper[0], upper[1]]
    if int((~(one.isnan() | two.isnan())).sum()) < 3:
        return float("nan")
    return spearman(one, two)


@dataclass(frozen=True)
class AgreementScores:
    """Correlation of concept scores between points.

    Attributes:
        correlation: (K, P, P) float64, -1 to 1; NaN where a detector's score never varies (an absent concept).
        n: positions.
    """

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
        name="agreement of concept scores",
        low=-1.0,
        high=1.0,
        larger_is="more similar",
        invariant_to=("order of images", "positive scaling and shift of scores"),
        cost="state K (P^2 + P) float64; O(n K P^2)",
        source="Pearson correlation",
    )

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
        rows = []
        for s in scores:
            s = s.double()
            if tuple(s.shape[2:]) != grid:
                s = functional.interpolate(s, size=grid, mode="bilinear", align_corners=False)
            rows.append(s.transpose(0, 1).flatten(1))
        stacked = torch.stack(rows, 1)  # (K, P, n)
        if valid is not None:
            stacked = stacked[:, :, valid.flatten() > 0]
        if not bool(torch.isfinite(stacked.sum())):
            raise InputError("scores have values that are not finite (NaN or infinity)")
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
