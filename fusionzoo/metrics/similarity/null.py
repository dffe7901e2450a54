"""Permutation null of any similarity, for all pairs of points at once.

Two unrelated representations rarely score 0: the value depends on samples and channels. The null distribution is what
the measure gives when the samples of one set are shuffled, which keeps both geometries and destroys their relation;
p = (1 + permuted values at least as similar) / (1 + permutations) (Phipson and Smyth 2010).

CKA (biased, unbiased, RBF), RSA and mutual k-NN are cosines between n x n matrices whose rows and columns a permutation
shuffles; the others are recomputed. Samples must be images: positions of one image would be too easily beaten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError, check_known
from fusionzoo.metrics.similarity import matrices, samples
from fusionzoo.metrics.similarity.minibatch import rbf_kernel, u_centred
from fusionzoo.metrics.similarity.moments import CentredMoments, Moments
from fusionzoo.metrics.similarity.samples import centred_gram, dissimilarity_ranks, neighbours, same_samples

__all__ = ["MEASURES", "NullTest", "moments_of", "null_test", "row_similarity"]

MEASURES = {**matrices.INFO, **samples.INFO}
"""Name -> description of every similarity of samples."""


@dataclass(frozen=True)
class NullTest:
    """Similarities of all pairs next to what unrelated sets of the same geometry score; of `n` samples.

    Attributes:
        measure: name in MEASURES.
        value: (P, P) float64.
        p: (P, P) share of the `times` permutations at least as similar, the real one counted; NaN where the value is.
        mean, std: (P, P) of the permuted values.
        bound: (P, P) the permuted value that a share `level` does not exceed in similarity.
    """

    measure: str
    value: Tensor
    p: Tensor
    mean: Tensor
    std: Tensor
    bound: Tensor
    level: float
    n: int
    times: int

    @property
    def similar(self) -> Tensor:
        """(P, P) bool: more similar than the bound."""
        beyond = self.value < self.bound if _falls(self.measure) else self.value > self.bound
        return beyond & ~self.value.isnan()


def moments_of(rows: Sequence[Tensor]) -> CentredMoments:
    """Moments of samples held in memory: P sets (n, C_p), n >= 1, named by their number.

    >>> moments_of([torch.ones(4, 2), torch.ones(4, 3)]).block(0, 1).shape
    torch.Size([2, 3])
    """
    moments = Moments(len(rows))
    moments.update(*same_samples(rows))
    return moments.centred()


def row_similarity(measure: str, rows: Sequence[Tensor], **options: float) -> Tensor:
    """Any similarity between all pairs of P sets of samples.

    Args:
        measure: name in MEASURES.
        rows: P tensors (n, C_p) of the same samples.
        options: "k" of mutual_knn, "bandwidth" of rbf_cka, "keep" and "ridge" of the CCA family.

    Returns:
        (P, P) float64, on the CPU.

    Raises:
        UnknownNameError: an unknown measure.

    >>> x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    >>> [round(float(row_similarity(m, [x, 2 * x])[0, 1]), 4) for m in ("cka", "rsa", "procrustes", "mutual_knn")]
    [1.0, 1.0, 0.0, 1.0]
    """
    check_known("similarity", measure, MEASURES)
    if measure == "rsa":
        return samples.rsa_matrix(rows)
    if measure == "mutual_knn":
        return samples.knn_matrix(rows, int(options.get("k", 10)))
    if measure == "rbf_cka":
        return samples.rbf_cka_matrix(rows, options.get("bandwidth", 0.5))
    return matrices.similarity_matrices(moments_of(rows), [measure], **options)[measure].cpu()


def _falls(measure: str) -> bool:
    return MEASURES[measure].larger_is == "more different"


def _form(measure: str, rows: Tensor, options: dict[str, float]) -> Tensor:
    """(n, n) matrix of a set of samples such that the similarity of two sets is the cosine of their matrices."""
    n = len(rows)
    if measure == "mutual_knn":
        return neighbours(rows, int(options.get("k", 10))).double()
    if measure == "rsa":
        ranks = dissimilarity_ranks(rows)
        form = rows.new_zeros(n, n)
        upper = torch.triu_indices(n, n, 1, device=rows.device)
        form[upper[0], upper[1]] = torch.nan if ranks is None else ranks
        return form + form.T
    if measure == "rbf_cka":
        return u_centred(rbf_kernel(centred_gram(rows), options.get("bandwidth", 0.5)))
    return u_centred(centred_gram(rows)) if measure == "cka" else centred_gram(rows)


FORMS = ("cka", "cka_biased", "rbf_cka", "rsa", "mutual_knn")


def null_test(
    measure: str,
    rows: Sequence[Tensor],
    times: int = 200,
    seed: int = 0,
    level: float = 0.95,
    **options: float,
) -> NullTest:
    """Permutation test of a similarity between all pairs of P sets of samples, the same shuffles for all pairs.

    Args:
        measure: name in MEASURES.
        rows: P tensors (n, C_p) of the same samples; `RowSample.compute().values()`.
        times: permutations.
        options: as for `row_similarity`.

    Raises:
        UnknownNameError: an unknown measure. InputError: rows of different samples, or times below 1.

    >>> g = torch.Generator().manual_seed(0)
    >>> a, c = torch.randn(40, 4, generator=g), torch.randn(40, 4, generator=g)
    >>> result = null_test("cka", [a, a.square() + a, c], times=99)
    >>> result.p[0, 1].item(), result.similar[0].tolist()
    (0.01, [True, True, False])
    """
    if times < 1 or not 0 < level < 1:
        raise InputError(f"times must be at least 1 and level lie within 0 and 1, got {times} and {level}")
    rows = same_samples(rows)
    n, device = len(rows[0]), rows[0].device
    value = row_similarity(measure, rows, **options)
    generator = torch.Generator().manual_seed(seed)
    shuffled = _by_forms(measure, rows, options) if measure in FORMS and n >= 4 else _by_rows(measure, rows, options)
    orders = (torch.randperm(n, generator=generator).to(device) for _ in range(times))
    null = torch.stack([shuffled(order).cpu() for order in orders])
    sign = -1 if _falls(measure) else 1
    atleast = (sign * null >= sign * value - 1e-12).sum(0)
    bad = value.isnan() | null.isnan().any(0)
    hide = lambda t: torch.where(bad, torch.nan, t)  # noqa: E731
    return NullTest(
        measure=measure,
        value=value,
        p=hide((1 + atleast).double() / (1 + times)),
        mean=hide(null.mean(0)),
        std=hide(null.std(0, unbiased=False)),
        bound=hide(sign * (sign * null).quantile(level, dim=0)),
        level=level,
        n=n,
        times=times,
    )


def _by_forms(measure: str, rows: list[Tensor], options: dict[str, float]) -> Callable[[Tensor], Tensor]:
    forms = torch.stack([_form(measure, r, options) for r in rows])
    forms = forms / forms.flatten(1).norm(dim=1)[:, None, None]
    flat = forms.flatten(1)
    return lambda order: flat @ forms[:, order[:, None], order].flatten(1).T


def _by_rows(measure: str, rows: list[Tensor], options: dict[str, float]) -> Callable[[Tensor], Tensor]:
    count = len(rows)
    return lambda order: row_similarity(measure, [*rows, *(r[order] for r in rows)], **options)[:count, count:]
