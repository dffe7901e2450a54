"""Similarity of all pairs of P feature sets from the second moments of one pass (moments.py).

With X, Y centred, Sxx = X'X, Sxy = X'Y, |.|_* the sum of singular values:

* CKA: see cka.py.
* Orthogonal Procrustes (Ding et al. 2021): |X|^2 + |Y|^2 - 2 |Sxy|_*; normalised (both scaled to unit Frobenius norm)
  2 - 2 c with c = |Sxy|_* / (|X| |Y|); angular arccos c, a metric (Williams et al. 2021).
* CCA: correlations rho = singular values of Sxx^-1/2 Sxy Syy^-1/2. SVCCA (Raghu et al. 2017) first keeps the principal
  directions that hold 99 % of the variance, then takes the mean of rho. PWCCA (Morcos et al. 2018) weighs rho_i by
  sum_j |<h_i, x_j>|, h_i the canonical variates of X. Regularised CCA adds a share of the mean eigenvalue to Sxx, Syy.
* Linear predictivity: R2 of the ridge regression of Y on X, over all features of Y together.

Matrices are (P, P), row first argument, column second, float64, NaN where undefined. CCA is undefined (all ones by
construction) unless samples outnumber the kept directions of both sets together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError, check_known
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.similarity.cka import cka_from_hsic, constant, hsic
from fusionzoo.metrics.similarity.moments import CentredMoments
from fusionzoo.metrics.stats.eigen import symmetric_eigen

__all__ = [
    "cca",
    "cca_matrices",
    "cka_matrices",
    "procrustes_matrices",
    "r2_matrix",
    "ridge_explained",
    "ridge_r2",
    "similarity_matrices",
]

_ROTATION = ("rotation", "isotropic scaling", "translation", "permutation of channels")
_SECOND = ("rotation of the second set", "isotropic scaling", "translation", "permutation of channels")
_COST = "O(P^2 C^3) after one pass; state D^2"

INFO: dict[str, MetricInfo] = {
    "cka": MetricInfo(
        "linear CKA", -1.0, 1.0, "more similar", _ROTATION, _COST, "Song et al. 2012; Nguyen et al. 2020"
    ),
    "cka_biased": MetricInfo("linear CKA, biased", 0.0, 1.0, "more similar", _ROTATION, _COST, "Kornblith et al. 2019"),
    "procrustes": MetricInfo(
        "orthogonal Procrustes distance (normalised)", 0.0, 2.0, "more different", _ROTATION, _COST, "Ding et al. 2021"
    ),
    "angular": MetricInfo(
        "angular Procrustes distance", 0.0, torch.pi / 2, "more different", _ROTATION, _COST, "Williams et al. 2021"
    ),
    "svcca": MetricInfo("SVCCA", 0.0, 1.0, "more similar", _ROTATION, _COST, "Raghu et al. 2017"),
    "pwcca": MetricInfo("PWCCA", 0.0, 1.0, "more similar", _SECOND, _COST, "Morcos et al. 2018"),
    "rcca": MetricInfo("regularised CCA", 0.0, 1.0, "more similar", _ROTATION, _COST, "Vinod 1976"),
    "r2": MetricInfo(
        "linear predictivity R2", 0.0, 1.0, "better predicted",
        ("rotation of either set", "translation", "isotropic scaling"), _COST, "ridge regression",
    ),
}  # fmt: skip


def _hidden(moments: CentredMoments, values: Tensor) -> Tensor:
    """NaN in the rows and columns of constant feature sets."""
    bad = constant(moments)
    return torch.where(bad[:, None] | bad[None, :], torch.nan, values)


def cka_matrices(moments: CentredMoments) -> tuple[Tensor, Tensor]:
    """Unbiased and biased linear CKA of all pairs, (P, P) each, not clamped."""
    unbiased, biased = hsic(moments)
    return _hidden(moments, cka_from_hsic(unbiased)), _hidden(moments, cka_from_hsic(biased))


def procrustes_matrices(moments: CentredMoments) -> tuple[Tensor, Tensor, Tensor]:
    """Orthogonal Procrustes distances of all pairs, (P, P) each: plain per sample, normalised (0 to 2), angular (0 to
    pi/2). Sets of different widths compare as if the narrower were padded with zeros."""
    count = len(moments.points)
    nuclear = moments.gram.new_zeros(count, count)
    for p in range(count):
        for q in range(p + 1):
            nuclear[p, q] = nuclear[q, p] = torch.linalg.svdvals(moments.block(p, q)).sum()
    nuclear.fill_diagonal_(0).add_(torch.diag(moments.norm))  # |X'X|_* is the squared norm
    plain = (moments.norm[:, None] + moments.norm[None, :] - 2 * nuclear).clamp(min=0) / moments.n
    cosine = nuclear / torch.outer(moments.norm, moments.norm).sqrt()
    cosine = _hidden(moments, cosine).clamp(max=1)
    return plain, 2 - 2 * cosine, torch.arccos(cosine)


Eigen = tuple[Tensor, Tensor]  # eigenvalues (k,), falling, and eigenvectors (C, k)


def _eigen(moments: CentredMoments, p: int | str) -> Eigen:
    values, vectors = symmetric_eigen(moments.block(p, p))
    return values.flip(0).clamp(min=0), vectors.flip(1)


def _cut(eigen: Eigen, keep: float) -> Eigen:
    """The first of them, that hold the share `keep` of the variance."""
    values, vectors = eigen
    number = int((values.cumsum(0) < (keep - 1e-12) * values.sum()).sum()) + 1
    number = min(number, int((values > 1e-10 * values[0]).sum()))
    return values[:number], vectors[:, :number]


def _check_cca(keep: float, ridge: float) -> None:
    if not 0 < keep <= 1 or ridge < 0:
        raise InputError(f"keep must lie in (0, 1] and ridge must not be negative, got {keep} and {ridge}")


def cca(
    moments: CentredMoments, p: int | str, q: int | str, keep: float = 1.0, ridge: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Canonical correlations of two sets, and the projection weights of the first.

    Args:
        keep: share of each set's variance whose principal directions are kept.
        ridge: added to the eigenvalues, in units of their mean.

    Returns:
        (k,) correlations, falling, and (k,) weights that sum to 1 (Morcos et al. 2018), k the smaller dimension. NaN
        when, without a ridge, samples do not outnumber the kept directions of both sets together.
    """
    _check_cca(keep, ridge)
    if bool(constant(moments)[[moments.index(p), moments.index(q)]].any()):
        nan = torch.full((1,), torch.nan).double()
        return nan, nan
    one, two = (_cut(_eigen(moments, s), keep) for s in (p, q))
    u, rho, _ = torch.linalg.svd(_whitened(moments, p, q, one, two, ridge), full_matrices=False)
    return _checked_rho(moments, rho, one, two, ridge), _projection_weights(u, one, ridge)


def _whitened(moments: CentredMoments, p: int | str, q: int | str, one: Eigen, two: Eigen, ridge: float) -> Tensor:
    """(k, l) cross-covariance of the whitened principal directions; its singular values are the correlations."""
    (lx, vx), (ly, vy) = one, two
    wx, wy = (lx + ridge * lx.mean()).rsqrt(), (ly + ridge * ly.mean()).rsqrt()
    return wx[:, None] * (vx.T @ moments.block(p, q) @ vy) * wy


def _checked_rho(moments: CentredMoments, rho: Tensor, one: Eigen, two: Eigen, ridge: float) -> Tensor:
    if ridge == 0 and moments.n <= len(one[0]) + len(two[0]):
        return torch.full_like(rho, torch.nan)
    return rho.clamp(max=1)


def _projection_weights(u: Tensor, eigen: Eigen, ridge: float = 0.0) -> Tensor:
    """(k,) weights of the canonical variates with coefficients u (m, k) on whitened directions; they sum to 1."""
    values, vectors = eigen
    w = (values + ridge * values.mean()).rsqrt()
    # canonical variates h = X V diag(w) u have unit norm; h'X = u' diag(w) V' Sxx
    weights = (u.T @ (w * values)[:, None].mul(vectors.T)).abs().sum(1)
    return weights / weights.sum()


def cca_matrices(moments: CentredMoments, keep: float = 0.99, ridge: float = 0.1) -> dict[str, Tensor]:
    """SVCCA, PWCCA and regularised CCA (mean correlation) of all pairs; `keep` and `ridge` as in `similarity_matrices`.

    Returns:
        "svcca", "pwcca" (not symmetric: rows are the set whose variates weigh), "rcca", each (P, P).
    """
    count = len(moments.points)
    result = {name: moments.gram.new_full((count, count), torch.nan) for name in ("svcca", "pwcca", "rcca")}
    _check_cca(keep, ridge)
    good = (~constant(moments)).nonzero().flatten().tolist()
    eigen = {p: _eigen(moments, p) for p in good}  # one decomposition per set, not per pair
    kept, whole = ({p: _cut(e, share) for p, e in eigen.items()} for share in (keep, 1.0))
    for p in good:
        for q in (q for q in good if q <= p):
            u, rho, vh = torch.linalg.svd(_whitened(moments, p, q, kept[p], kept[q], 0.0), full_matrices=False)
            rho = _checked_rho(moments, rho, kept[p], kept[q], 0.0)
            result["svcca"][p, q] = result["svcca"][q, p] = rho.mean()
            result["pwcca"][p, q] = (rho * _projection_weights(u, kept[p])).sum()
            result["pwcca"][q, p] = (rho * _projection_weights(vh.T, kept[q])).sum()
            rho = torch.linalg.svdvals(_whitened(moments, p, q, whole[p], whole[q], ridge))
            rho = _checked_rho(moments, rho, whole[p], whole[q], ridge)
            result["rcca"][p, q] = result["rcca"][q, p] = rho.mean()
    return result


def ridge_r2(sxx: Tensor, sxy: Tensor, total: float | Tensor, ridge: float = 1e-4) -> Tensor:
    """Share of the total variance of Y that a ridge regression on X explains in sample.

    Args:
        sxx: (p, p) centred X'X. sxy: (p, q) centred X'Y. total: trace of centred Y'Y.
        ridge: added to the diagonal of the correlation matrix of X; constant features are left out.
    """
    return ridge_explained(sxx, sxy, ridge).sum() / total


def ridge_explained(sxx: Tensor, sxy: Tensor, ridge: float) -> Tensor:
    """(q,) sum of squares of each feature of Y that a ridge regression on X explains in sample; see `ridge_r2`."""
    variance = sxx.diagonal()
    scale = torch.where(variance > 1e-12 * variance.mean(), variance.clamp(min=1e-300).rsqrt(), 0.0)
    eye = torch.eye(len(sxx), dtype=sxx.dtype, device=sxx.device)
    correlation = sxx * torch.outer(scale, scale)
    right = scale[:, None] * sxy
    beta = torch.linalg.solve(correlation + max(ridge, 1e-10) * eye, right)
    return 2 * (beta * right).sum(0) - (beta * (correlation @ beta)).sum(0)


def r2_matrix(moments: CentredMoments, ridge: float = 1e-4) -> Tensor:
    """(P, P) R2 of the column's set from the row's set: one factorisation per row, all targets at once."""
    count = len(moments.points)
    result = moments.gram.new_full((count, count), torch.nan)
    for p in range(count):
        rows = moments.gram[moments.slices[p]]
        if moments.n <= len(rows) + 1:
            continue
        explained = ridge_explained(moments.block(p, p), rows, ridge)
        result[p] = torch.stack([explained[s].sum() for s in moments.slices]) / moments.norm
    return _hidden(moments, result)


def similarity_matrices(
    moments: CentredMoments, measures: Sequence[str] | None = None, *, keep: float = 0.99, ridge: float = 0.1
) -> dict[str, Tensor]:
    """Every similarity that second moments give, between all pairs of points at once.

    Args:
        measures: names of INFO; all of them when None.
        keep: share of variance that SVCCA and PWCCA keep.
        ridge: of the regularised CCA, which keeps all directions, in units of the mean eigenvalue.

    Returns:
        Name -> (P, P) float64; "r2" is of the column's set from the row's set.

    Raises:
        UnknownNameError: an unknown measure.

    >>> from fusionzoo.metrics.similarity.moments import Moments
    >>> moments = Moments(("rgb", "x"))
    >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> moments.update(x, x.flip(1) * 2)
    >>> found = similarity_matrices(moments.centred(), ["cka", "angular"])
    >>> {name: round(float(m[0, 1]), 4) for name, m in found.items()}
    {'cka': 1.0, 'angular': 0.0}
    """
    wanted = list(INFO) if measures is None else list(measures)
    for name in wanted:
        check_known("similarity from moments", name, INFO)
    made: dict[str, Tensor] = {}
    if {"cka", "cka_biased"} & set(wanted):
        made["cka"], made["cka_biased"] = cka_matrices(moments)
    if {"procrustes", "angular"} & set(wanted):
        _, made["procrustes"], made["angular"] = procrustes_matrices(moments)
    if {"svcca", "pwcca", "rcca"} & set(wanted):
        made |= cca_matrices(moments, keep, ridge)
    if "r2" in wanted:
        made["r2"] = r2_matrix(moments)
    return {name: made[name] for name in wanted}
