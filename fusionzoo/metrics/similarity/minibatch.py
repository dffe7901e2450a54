"""CKA of whole maps (view `flat`: a sample is an image, its features all C H W values), batch by batch.

HSIC1 (unbiased, cka.py) is computed within each batch from its n x n Gram matrices and averaged over batches before the
ratio is taken (Nguyen et al. 2020): CKA = sum_b HSIC1(K, L) / sqrt(sum_b HSIC1(K, K) sum_b HSIC1(L, L)). A batch of n
samples carries weight n, so batches of equal size count equally; one of fewer than 4 has no HSIC1: it is left out and
counted in `skipped`. The value depends on the batch size, which belongs to the result.

Grams are summed over slices of the features, in float32 within a slice and float64 across slices: no copy of a map is
made. HSIC1 is invariant to the origin; where the samples are far from zero beside their distances, the products are
taken about the first sample, since a large mean costs digits (a slice is copied for that), else as they are.

With `permutations`, every batch is also compared after shuffling the samples of the second set within it. A batch's
shuffles come from its own numbers, so the null does not depend on the order of batches or on which process saw them.

Kernels: "linear", or "rbf" exp(-|x - y|^2 / (2 s^2)), s = bandwidth x the batch's median distance (Kornblith
et al. 2019).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import (
    Accumulator,
    MetricInfo,
    accumulates,
    check_finite,
    float_state,
    int_state,
    one_each,
    point_names,
)
from fusionzoo.metrics.similarity.cka import cka_from_hsic

__all__ = ["MinibatchCKA", "MinibatchScores", "batch_hsic", "rbf_kernel", "shifted_gram", "u_centred"]

SLICE = 1 << 12  # features per slice: the digits of float32, and the cache of the processor
FEW = 256  # features that a first look takes


@dataclass(frozen=True)
class MinibatchScores:
    """Minibatch CKA of all pairs.

    Attributes:
        cka: (P, P) float64, not clamped; NaN where undefined.
        n, batches: that counted. skipped: batches of fewer than 4 samples, left out. batch_size: of the largest.
        kernel, bandwidth: as chosen; the bandwidth is None for "linear".
        null: (permutations, P, P) float64 values for shuffled samples of the column's set; None where not asked for.
    """

    cka: Tensor
    n: int
    batches: int
    skipped: int
    batch_size: int
    kernel: str
    bandwidth: float | None = None
    null: Tensor | None = None

    @property
    def p(self) -> Tensor:
        """(P, P) float64 share of shuffles at least as similar, the real one counted; NaN without a null or a value."""
        if self.null is None:
            return torch.full_like(self.cka, torch.nan)
        share = (1 + (self.null >= self.cka - 1e-12).sum(0)).double() / (1 + len(self.null))
        return torch.where(self.cka.isnan(), torch.nan, share)


def shifted_gram(feature: Tensor) -> Tensor:
    """(n, n) float64 Gram matrix of a batch (n, ...) about its first sample, without a copy of the batch.

    >>> shifted_gram(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[0., 0.],
            [0., 8.]], dtype=torch.float64)
    """
    rows = feature.detach().flatten(1)
    n, kind = len(rows), torch.float64 if rows.dtype == torch.float64 else torch.float32
    gram = torch.zeros(n, n, dtype=torch.float64, device=rows.device)
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        product = torch.empty(n, n, dtype=kind, device=rows.device)
        moved = product.new_empty(0)
        few = rows[:, :FEW].to(kind)
        # to look at the products would hold an accelerator up
        shifting = rows.device.type != "cpu" or (n > 0 and _far(few @ few.T))
        for part in rows.split(SLICE, dim=1):
            part = part.to(kind)
            if not shifting:
                torch.mm(part, part.T, out=product)
                shifting = n > 0 and _far(product)  # and so in the slices to come
            if shifting:
                moved = moved if moved.shape == part.shape else torch.empty_like(part)
                torch.sub(part, part[:1], out=moved)
                torch.mm(moved, moved.T, out=product)
            gram += product
    if n > 0:
        gram = gram - gram[:1] - gram[:, :1] + gram[0, 0]
    return gram


def _far(product: Tensor) -> bool:
    """Whether a Gram matrix (n, n) about zero would lose digits: samples far from zero beside what tells them apart.

    Their squared distances to the first sample, together, are less than their squares (or not finite).
    """
    squares, first = product.diagonal().sum(), product[0].sum()
    apart = squares - 2 * first + len(product) * product[0, 0]
    return not bool(apart >= squares)


def rbf_kernel(gram: Tensor, bandwidth: float = 0.5) -> Tensor:
    """(n, n) Gaussian kernel of the samples of a linear Gram matrix (n, n), about any origin.

    Args:
        bandwidth: standard deviation as a fraction of the median distance between two samples.

    >>> rbf_kernel(torch.tensor([[0.0, 0.0], [0.0, 4.0]]), bandwidth=1.0)[0, 1].log()
    tensor(-0.5000)
    """
    own = gram.diagonal()
    squared = (own[:, None] + own[None, :] - 2 * gram).clamp(min=0)
    n = len(gram)
    upper = torch.triu_indices(n, n, 1, device=gram.device)
    scale = (bandwidth**2) * squared[upper[0], upper[1]].median()
    return torch.exp(-squared / (2 * scale.clamp(min=torch.finfo(gram.dtype).tiny)))


def batch_hsic(kernels: Tensor) -> Tensor:
    """(P, P) unbiased HSIC of kernel matrices (P, n, n), n >= 4."""
    p, n = kernels.shape[:2]
    if n < 4:
        raise InputError(f"unbiased HSIC needs at least 4 samples, got {n}")
    kernels = kernels.double().clone()
    kernels.diagonal(dim1=1, dim2=2).zero_()
    flat, rows = kernels.view(p, -1), kernels.sum(2)
    total = rows.sum(1)
    value = flat @ flat.T + torch.outer(total, total) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows @ rows.T)
    return value / (n * (n - 3))


def u_centred(kernels: Tensor) -> Tensor:
    """U-centred kernel matrices (..., n, n), n >= 4: the inner product of two over n (n - 3) is their unbiased HSIC.

    Szekely and Rizzo 2014: with a zero diagonal, row and column means over n - 2 are taken off, and the total over
    (n - 1)(n - 2) is added; the diagonal stays zero.

    >>> k = torch.randn(2, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    >>> k = k + k.mT
    >>> u = u_centred(k)
    >>> torch.allclose((u[0] * u[1]).sum() / 18, batch_hsic(k)[0, 1])
    True
    """
    n = kernels.shape[-1]
    kernels = kernels.clone()
    kernels.diagonal(dim1=-2, dim2=-1).zero_()
    rows = kernels.sum(-1) / (n - 2)
    total = kernels.sum((-2, -1), keepdim=True) / ((n - 1) * (n - 2))
    kernels = kernels - rows[..., :, None] - rows[..., None, :] + total
    kernels.diagonal(dim1=-2, dim2=-1).zero_()
    return kernels


class MinibatchCKA(Accumulator):
    """Minibatch CKA of all pairs of P feature sets.

    Feed it whole batches with `update`, or, from hooks, one Gram matrix per point with `add_grams`: no map is held.

    Args:
        points: names of the feature sets, or their number.
        kernel: "linear" or "rbf".
        bandwidth: of the rbf kernel, in units of the median distance.
        permutations: shuffles of each batch for the permutation null; state grows by permutations x P^2.

    >>> x = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> score = MinibatchCKA(2)
    >>> score.update(x, 2 * x)
    >>> round(float(score.compute().cka[0, 1]), 6)
    1.0
    """

    info = MetricInfo(
        name="minibatch CKA", low=-1.0, high=1.0, larger_is="more similar",
        invariant_to=("rotation", "isotropic scaling", "translation", "permutation of channels"),
        cost="state P^2 float64; O(n b F) for batches of b samples of F features",
        source="Nguyen et al. 2020; rbf kernel: Kornblith et al. 2019",
    )  # fmt: skip
    choices = ("points", "kernel", "bandwidth", "permutations")

    def __init__(
        self, points: Sequence[str] | int = 2, kernel: str = "linear", bandwidth: float = 0.5, permutations: int = 0
    ) -> None:
        super().__init__()
        self.points = point_names(points)
        if kernel not in ("linear", "rbf"):
            raise InputError(f"unknown kernel {kernel!r}: use 'linear' or 'rbf'")
        if not bandwidth > 0:
            raise InputError(f"bandwidth must be positive, got {bandwidth}")
        if permutations < 0:
            raise InputError(f"permutations must not be negative, got {permutations}")
        self.kernel, self.bandwidth, self.permutations = kernel, bandwidth, permutations
        count = len(self.points)
        self._state = float_state(hsic=(count, count)) | int_state(n=(), batches=(), skipped=(), batch_size=())
        if permutations:
            self._state |= float_state(null=(permutations, count, count))

    @accumulates
    def update(self, *features: Tensor) -> None:
        """Adds one batch: P features (n, ...) of the same samples."""
        if len({len(f) for f in features}) > 1:
            raise InputError(f"features must have the same samples, got {[len(f) for f in features]}")
        self.add_grams(*[shifted_gram(f) for f in features])

    @accumulates
    def add_grams(self, *grams: Tensor) -> None:
        """Adds one batch given by its linear Gram matrices (n, n), as `shifted_gram` makes them."""
        one_each(self.points, grams)
        stacked = torch.stack([g.double() for g in grams])
        check_finite(stacked.sum())
        n = stacked.shape[1]
        if n == 0:
            return
        if n < 4:
            self._state["skipped"] += 1
            return
        if self.kernel == "rbf":
            stacked = torch.stack([rbf_kernel(g, self.bandwidth) for g in stacked])
        self._state["hsic"] += n * batch_hsic(stacked)
        if self.permutations:
            self._state["null"] += n * self._shuffled(stacked)
        self._state["n"] += n
        self._state["batches"] += 1
        self._state["batch_size"] = self._state["batch_size"].clamp(min=n)

    def _shuffled(self, kernels: Tensor) -> Tensor:
        """(permutations, P, P) unbiased HSIC of kernels (P, n, n) with the samples of the second set shuffled."""
        n = kernels.shape[1]
        centred = u_centred(kernels)
        flat = centred.flatten(1)
        # a seed from the batch itself: its numbers to 7 digits, so that it does not hang on the order of a sum
        trace = kernels.diagonal(dim1=1, dim2=2).sum() + kernels[:, 0].sum()
        generator = torch.Generator().manual_seed(zlib.crc32(f"{n} {float(trace):.6e}".encode()))
        orders = (torch.randperm(n, generator=generator).to(kernels.device) for _ in range(self.permutations))
        made = [flat @ centred[:, order[:, None], order].flatten(1).T for order in orders]
        return torch.stack(made) / (n * (n - 3))

    def _merge(self, other: dict[str, Tensor]) -> None:
        largest = torch.maximum(self._state["batch_size"], other["batch_size"])
        super()._merge(other)
        self._state["batch_size"] = largest

    def compute(self) -> MinibatchScores:
        """Scores of everything seen; NaN before the first batch of 4."""
        state = self._state
        return MinibatchScores(
            cka=cka_from_hsic(state["hsic"]).cpu(),
            n=int(state["n"]),
            batches=int(state["batches"]),
            skipped=int(state["skipped"]),
            batch_size=int(state["batch_size"]),
            kernel=self.kernel,
            bandwidth=self.bandwidth if self.kernel == "rbf" else None,
            null=cka_from_hsic(state["null"], state["hsic"].diagonal()).cpu() if self.permutations else None,
        )
