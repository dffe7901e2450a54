"""Measures that need the samples themselves (RSA, mutual nearest neighbours), and a fixed-size sample that merges.

`RowSample` keeps the pooled features of at most `limit` samples, those whose keys hash lowest: which samples are kept
depends on the keys alone, not on the order of batches or on how the data set was split over processes.

* RSA (Kriegeskorte et al. 2008): Spearman correlation of the two representational dissimilarity matrices, 1 - Pearson.
* Mutual k nearest neighbours (Huh et al. 2024): mean share of the k neighbours that a sample has in both spaces, itself
  left out, by cosine similarity; k / (n - 1) by chance.
* RBF CKA (Kornblith et al. 2019) of all kept samples at once, from unbiased HSIC; batch by batch: minibatch.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import (
    Accumulator,
    MetricInfo,
    accumulates,
    as_samples,
    at_least_one,
    int_state,
    one_each,
    point_names,
)
from fusionzoo.metrics.similarity.cka import cka_from_hsic
from fusionzoo.metrics.similarity.minibatch import batch_hsic, rbf_kernel
from fusionzoo.metrics.stats.ranks import ranks

__all__ = ["RowSample", "knn_matrix", "mutual_knn", "rbf_cka", "rbf_cka_matrix", "rsa", "rsa_matrix"]

INFO: dict[str, MetricInfo] = {
    "rsa": MetricInfo(
        "RSA", -1.0, 1.0, "more similar", ("isotropic scaling", "permutation of channels"),
        "O(n^2 (p + q) + n^2 log n)", "Kriegeskorte et al. 2008",
    ),
    "mutual_knn": MetricInfo(
        "mutual k-NN", 0.0, 1.0, "more similar", ("rotation", "isotropic scaling", "permutation of channels"),
        "O(n^2 (p + q))", "Huh et al. 2024",
    ),
    "rbf_cka": MetricInfo(
        "RBF CKA", -1.0, 1.0, "more similar",
        ("rotation", "isotropic scaling", "translation", "permutation of channels"),
        "O(n^2 (p + q))", "Kornblith et al. 2019; unbiased: Nguyen et al. 2020",
    ),
}  # fmt: skip


def dissimilarity_ranks(rows: Tensor) -> Tensor | None:
    """Ranks of 1 - Pearson of all pairs of rows (n, p), about their mean; None where undefined."""
    if len(rows) < 3 or rows.shape[1] < 2:
        return None
    rows = rows - rows.mean(1, keepdim=True)
    norm = rows.norm(dim=1)
    if bool((norm == 0).any()):
        return None
    rows = rows / norm[:, None]
    upper = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    ranked = ranks(1 - (rows @ rows.T)[upper[0], upper[1]])
    return ranked - ranked.mean()


def rsa(a: Tensor, b: Tensor) -> float:
    """RSA of rows (n, p) and (n, q) of the same samples, n >= 3, p and q >= 2: Spearman correlation of the
    dissimilarities (1 - Pearson across channels) of all pairs of samples.

    >>> x = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))
    >>> round(rsa(x, 2 * x), 6)
    1.0
    """
    return float(rsa_matrix([a, b])[0, 1])


def rsa_matrix(rows: Sequence[Tensor]) -> Tensor:
    """RSA of all pairs of P representations (n, C_p) of the same samples, (P, P) float64; NaN where undefined.

    >>> x = torch.randn(10, 5, generator=torch.Generator().manual_seed(0))
    >>> rsa_matrix([x, 2 * x, x + 1]).round(decimals=6).unique()
    tensor([1.], dtype=torch.float64)
    """
    ranked = [dissimilarity_ranks(r) for r in same_samples(rows)]
    like = next((r for r in ranked if r is not None), torch.zeros(1, dtype=torch.float64))
    stacked = torch.stack([torch.full_like(like, torch.nan) if r is None else r for r in ranked])
    stacked = stacked / stacked.norm(dim=1, keepdim=True)  # NaN where all dissimilarities are equal
    return (stacked @ stacked.T).cpu()


def same_samples(rows: Sequence[Tensor]) -> list[Tensor]:
    if not rows or any(r.ndim != 2 for r in rows) or len({len(r) for r in rows}) > 1:
        raise InputError(f"need rows (n, C) of the same samples, got {[tuple(r.shape) for r in rows]}")
    return [r.double() for r in rows]


def neighbours(rows: Tensor, k: int) -> Tensor:
    """(n, n) bool, the k nearest of each row by cosine, itself left out."""
    n = len(rows)
    rows = torch.nn.functional.normalize(rows, dim=1)
    near = (rows @ rows.T).fill_diagonal_(float("-inf")).topk(k, dim=1).indices
    return torch.zeros(n, n, dtype=torch.bool, device=rows.device).scatter_(1, near, True)


def mutual_knn(a: Tensor, b: Tensor, k: int = 10) -> float:
    """Mean share of k nearest neighbours (cosine) that are the same for rows (n, p) and (n, q) of the same samples.

    >>> x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    >>> mutual_knn(x, 3 * x, k=4)
    1.0
    """
    return float(knn_matrix([a, b], k)[0, 1])


def knn_matrix(rows: Sequence[Tensor], k: int = 10) -> Tensor:
    """Mutual k nearest neighbours of all pairs of P representations (n, C_p) of the same samples, (P, P) float64.

    >>> x = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))
    >>> knn_matrix([x, 3 * x], k=4)[0, 1]
    tensor(1., dtype=torch.float64)
    """
    rows = same_samples(rows)
    n = len(rows[0])
    if not 1 <= k < n:
        raise InputError(f"k must lie between 1 and n - 1 = {n - 1}, got {k}")
    member = [neighbours(r, k) for r in rows]
    shared = [[int((one & two).sum()) for two in member] for one in member]
    return torch.tensor(shared, dtype=torch.float64) / (n * k)


def rbf_cka(a: Tensor, b: Tensor, bandwidth: float = 0.5) -> float:
    """CKA with Gaussian kernels, unbiased, -1 to 1, of rows (n, p) and (n, q) of the same samples.

    Args:
        bandwidth: standard deviation of each kernel as a fraction of the set's median distance.

    NaN where a set is constant or n is below 4.

    >>> x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    >>> round(rbf_cka(x, 2 * x + 1), 6)
    1.0
    """
    return float(rbf_cka_matrix([a, b], bandwidth)[0, 1])


def centred_gram(rows: Tensor) -> Tensor:
    """(n, n) products of rows (n, C) about their mean; NaN where they are all alike."""
    size, rows = rows.mean(0).square().sum(), rows - rows.mean(0)
    gram = rows @ rows.T
    return torch.where(gram.diagonal().mean() <= 1e-24 * size, torch.nan, gram)


def rbf_cka_matrix(rows: Sequence[Tensor], bandwidth: float = 0.5) -> Tensor:
    """RBF CKA of all pairs of P representations (n, C_p) of the same samples, (P, P) float64; see `rbf_cka`.

    >>> x = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    >>> rbf_cka_matrix([x, 2 * x + 1]).round(decimals=6).unique()
    tensor([1.], dtype=torch.float64)
    """
    rows = same_samples(rows)
    if not bandwidth > 0:
        raise InputError(f"bandwidth must be positive, got {bandwidth}")
    if len(rows[0]) < 4:
        return torch.full((len(rows), len(rows)), torch.nan, dtype=torch.float64)
    kernels = [rbf_kernel(centred_gram(row), bandwidth) for row in rows]
    return cka_from_hsic(batch_hsic(torch.stack(kernels))).cpu()


class RowSample(Accumulator):
    """Pooled features (view `gap`) of at most `limit` samples, for the measures that need samples.

    Args:
        points: names of the feature sets, or their number.
        limit: samples kept.

    >>> sample = RowSample(1, limit=3)
    >>> sample.update(torch.arange(8), torch.arange(8.0)[:, None])
    >>> len(sample.compute()["0"])
    3
    """

    info = MetricInfo(
        name="sample of pooled features", low=None, high=None, larger_is="", invariant_to=("order of samples",),
        cost="state limit x D float64", source="bottom-k sampling: Cohen and Kaplan 2007",
    )  # fmt: skip
    choices = ("points", "limit")

    def __init__(self, points: Sequence[str] | int = 2, limit: int = 2000) -> None:
        super().__init__()
        at_least_one(limit=limit)
        self.points, self.limit = point_names(points), limit
        self._state = int_state(keys=(0,), seen=())

    @accumulates
    def update(self, keys: Tensor, *features: Tensor) -> None:
        """Adds samples: keys (B,) integers that name them (the index in the data set), and P features of them."""
        one_each(self.points, features)
        rows = {f"rows.{name}": as_samples(f, "gap") for name, f in zip(self.points, features, strict=True)}
        if keys.ndim != 1 or any(len(r) != len(keys) for r in rows.values()):
            lengths = [len(r) for r in rows.values()]
            raise InputError(f"one key per sample: got {tuple(keys.shape)} keys, {lengths} rows")
        device = next(iter(rows.values())).device
        seen = torch.tensor(len(keys), device=device)
        self._merge({"keys": keys.long().to(device), "seen": seen, **rows})

    def _merge(self, other: dict[str, Tensor]) -> None:
        if not len(other["keys"]):
            return
        state = self._state
        seen = state["seen"] + other["seen"]
        if len(state["keys"]):
            other = {name: torch.cat([state[name], value]) for name, value in other.items() if name != "seen"}
        keys = other["keys"]
        order = _hash(keys).argsort(stable=True)[: self.limit]
        self._state = {name: value[order] for name, value in other.items() if name != "seen"} | {"seen": seen}

    def _check_state(self, state: dict[str, Tensor]) -> None:
        full = {"keys", "seen", *(f"rows.{name}" for name in self.points)}
        if set(state) not in ({"keys", "seen"}, full):
            raise InputError(f"state of RowSample needs {sorted(full)}, got {sorted(state)}")

    @property
    def keys(self) -> Tensor:
        """(n,) keys of the kept samples, in the order of their rows."""
        return self._state["keys"]

    def compute(self) -> dict[str, Tensor]:
        """Point -> (n, C) float64 rows of the kept samples, in the order of their hashes."""
        return {name: self._state.get(f"rows.{name}", torch.zeros(0, 0).double()) for name in self.points}


def _hash(keys: Tensor) -> Tensor:
    """A fixed scrambling of 64-bit integers (the finaliser of MurmurHash3, shifts made logical)."""
    for shift, factor in ((33, -49064778989728563), (33, -4265267296055464877), (33, 1)):
        keys = keys ^ ((keys >> shift) & ((1 << (64 - shift)) - 1))
        keys = keys * factor
    return keys
