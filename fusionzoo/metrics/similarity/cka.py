"""Linear centred kernel alignment of whole data sets, biased and unbiased, exact in one pass.

K = X X', L = Y Y', K~ = K with a zero diagonal. Biased (Kornblith et al. 2019): HSIC0 = tr(K H L H) / (n - 1)^2, in
features |Xc' Yc|_F^2 / (n - 1)^2. Unbiased (Song et al. 2012; Nguyen et al. 2020, eq. 3), n >= 4:
HSIC1 = [tr(K~ L~) + (1' K~ 1)(1' L~ 1) / ((n-1)(n-2)) - 2 / (n-2) 1' K~ L~ 1] / (n (n-3)).
CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). HSIC1 is an inner product too, of the U-centred matrices (Szekely and
Rizzo 2014), so the unbiased value lies in -1 to 1; it can be negative and is not clamped.

From the moments about the mean (HSIC1 is invariant to translation), with G = Xc' Yc, r = |x|^2, s = |y|^2:
tr(K~ L~) = |G|_F^2 - sum r s;  1' K~ 1 = - sum r;  1' K~ L~ 1 = sum r s.

What a sample is belongs to the number (see `as_samples`). Positions of one image are not independent, so view `pix`
says little about uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.similarity.moments import CentredMoments, Moments

__all__ = ["CKAScores", "LinearCKA", "cka_from_hsic", "hsic"]


@dataclass(frozen=True)
class CKAScores:
    """CKA of two feature sets, of `n` samples of a view.

    Attributes:
        unbiased: from HSIC1, -1 to 1; NaN with fewer than 4 samples or a constant feature set.
        biased: from HSIC0, 0 to 1; high for any two sets when channels outnumber samples.
    """

    unbiased: float
    biased: float
    n: int
    view: str


def hsic(moments: CentredMoments) -> tuple[Tensor, Tensor]:
    """Unbiased and biased HSIC of all pairs of points, (P, P) float64 each; NaN where n is too small (4 and 2)."""
    p, n = len(moments.points), moments.n
    squares = moments.gram.square()
    member = squares.new_zeros(len(squares), p)
    for i, part in enumerate(moments.slices):
        member[part, i] = 1
    frobenius = member.T @ squares @ member
    nan = torch.full_like(frobenius, float("nan"))
    biased = frobenius / (n - 1) ** 2 if n >= 2 else nan
    if n < 4:
        return nan, biased
    total = torch.outer(moments.norm, moments.norm) / ((n - 1) * (n - 2))
    unbiased = (frobenius - moments.quad + total - 2 / (n - 2) * moments.quad) / (n * (n - 3))
    return unbiased, biased


def cka_from_hsic(values: Tensor, own: Tensor | None = None) -> Tensor:
    """Divides (..., P, P) HSIC values by the square roots of `own` (P,), of a matrix by default its diagonal; NaN where
    that is not positive."""
    own = values.diagonal() if own is None else own
    own = torch.where(own > 0, own, torch.nan).sqrt()
    return values / torch.outer(own, own)


def constant(moments: CentredMoments) -> Tensor:
    """(P,) bool: the sets whose spread is nothing but rounding next to their mean."""
    size = torch.stack([moments.mean[s].square().sum() for s in moments.slices])
    return moments.norm / moments.n <= 1e-24 * size


class LinearCKA(Moments):
    """Linear CKA of two feature sets, streaming.

    Args:
        view: "gap" or "pix".

    >>> x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    >>> score = LinearCKA("gap")
    >>> score.update(x, 3 * x + 1)
    >>> round(score.compute().unbiased, 6), score.compute().n
    (1.0, 50)
    """

    info = MetricInfo(
        name="linear CKA", low=-1.0, high=1.0, larger_is="more similar",
        invariant_to=("rotation", "isotropic scaling", "translation", "permutation of channels"),
        cost="state (p + q)^2 float64; O(n (p + q)^2)",
        source="Kornblith et al. 2019; unbiased: Song et al. 2012, Nguyen et al. 2020",
    )  # fmt: skip

    def __init__(self, view: str = "gap") -> None:
        super().__init__(("a", "b"), view)

    def update(self, a: Tensor, b: Tensor) -> None:  # type: ignore[override]
        """Adds a batch: a (B, C1, H, W), b (B, C2, H2, W2), or rows (N, C). Sizes must agree in view `pix`."""
        super().update(a, b)

    def compute(self) -> CKAScores:  # type: ignore[override]
        """Scores of everything seen; NaN where undefined, never clamped."""
        if self.n == 0 or bool(constant(moments := self.centred()).any()):
            return CKAScores(float("nan"), float("nan"), self.n, self.view)
        unbiased, biased = (float(cka_from_hsic(h)[0, 1]) for h in hsic(moments))
        return CKAScores(unbiased, biased, self.n, self.view)
