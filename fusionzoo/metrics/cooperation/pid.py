"""Gaussian partial information decomposition: what rgb alone, x alone, either, and only both together tell of a target.

For jointly Gaussian (Y, X1, X2), Y the target, after Bertschinger et al. 2014. With Y whitened, X_i = H_i Y + n_i and
Cov(n_i) = I, the union information is the least that any joint distribution with the pairs (Y, X1) and (Y, X2) tells,

    I_union = min over S with |S|_2 <= 1 of 1/2 log det(I + H' [[I, S], [S', I]]^-1 H),    H = [H1; H2],

Gaussian distributions being enough (arXiv 2510.04417). Then unique_rgb = I_union - I(Y; X2), unique_x = I_union -
I(Y; X1), redundant = I(Y; X1) + I(Y; X2) - I_union, synergistic = I(Y; X1, X2) - I_union: none below 0, and they add up
to I(Y; X1, X2). Shares of variance (commonality.py) can be negative, since they mix redundancy with synergy.

Information of a target that the sources determine is infinite. `ridge` adds independent noise to the target, the same
in all its directions, as a share of its mean variance: information is read at that resolution, 1/2 log(1 + 1 / ridge)
nats at most for a direction of mean variance. Estimated from n samples, information of unrelated sets is about
(dims of X) (dims of Y) / (2 n) nats, not 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.cooperation.union import least_information
from fusionzoo.metrics.similarity.moments import CentredMoments
from fusionzoo.metrics.stats.eigen import symmetric_eigen

__all__ = ["Components", "GaussianPID", "gaussian_pid", "leading_components", "pid_of_covariance", "too_few"]

INFO = MetricInfo(
    name="Gaussian partial information decomposition", low=0.0, high=None, larger_is="more of the information",
    invariant_to=("rotation of any set", "translation", "rotation of the fused feature"),
    cost="Newton steps on k x k matrices, k components of the target; state (C_rgb + C_x + C_fused)^2",
    source="Bertschinger et al. 2014; arXiv 2510.04417",
)  # fmt: skip

RANK = 1e-10
"""Directions with a smaller share of the largest variance are no directions of a set."""
ENOUGH = 20
"""Samples for each dimension of all three sets together; with fewer, information is overestimated."""


@dataclass(frozen=True)
class GaussianPID:
    """Information about the target, in nats; NaN where the target is constant.

    Attributes:
        information: I(Y; rgb, x), what both tell together; the sum of the next four.
        unique_rgb, unique_x: what one tells and the other does not. redundant: what either tells. synergistic: what
            only both together tell.
        information_rgb, information_x: what each tells.
        gap: bound on the error of the four, in nats (the duality gap of the minimisation).
    """

    information: float
    unique_rgb: float
    unique_x: float
    redundant: float
    synergistic: float
    information_rgb: float
    information_x: float
    gap: float

    @property
    def parts(self) -> tuple[float, float, float, float]:
        """unique_rgb, unique_x, redundant, synergistic, in nats."""
        return self.unique_rgb, self.unique_x, self.redundant, self.synergistic

    @property
    def shares(self) -> tuple[float, float, float, float]:
        """The same as shares of the information, which add up to 1; NaN where there is none."""
        total = self.information
        a, b, c, d = (part / total if total > 0 else math.nan for part in self.parts)
        return a, b, c, d


def pid_of_covariance(covariance: Tensor, dims: Sequence[int], *, ridge: float = 0.0, gap: float = 1e-9) -> GaussianPID:
    """Partial information decomposition of jointly Gaussian rgb, x and target.

    Args:
        covariance: (D, D) of (rgb, x, target), in this order; any positive scale.
        dims: their three numbers of dimensions, D in all.
        ridge: noise added to the target, as a share of its mean variance.
        gap: nats to which the parts must be certain for the search to end.

    Raises:
        InputError: shapes that do not fit, values that are not finite, a negative ridge, or a target that the sources
            determine (its information is infinite without a ridge).

    >>> y = torch.tensor([[2.0, 1.0, 1.0], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])  # rgb = y + noise, x = y + other noise
    >>> both = pid_of_covariance(y, (1, 1, 1))
    >>> round(both.redundant, 4), round(both.synergistic, 4), abs(round(both.unique_rgb, 4))
    (0.3466, 0.2027, 0.0)
    """
    a, b, d = _checked(covariance, dims, ridge)
    cov = covariance.detach().double().cpu()  # small: a processor is quicker
    cov = (cov + cov.T) / 2
    whiten = _whitener(cov[a + b :, a + b :], ridge)
    if not whiten.shape[1]:
        return GaussianPID(*[math.nan] * 8)
    one, two = (_Source.of(cov, part, whiten) for part in (slice(0, a), slice(a, a + b)))
    both = _Source.of(cov, slice(0, a + b), whiten)
    noise = one.noise_with(two, cov[:a, a : a + b])
    union, found = least_information(one.gain, two.gain, noise, gap)
    parts = union - two.information, union - one.information, one.information + two.information - union
    total = both.information
    return GaussianPID(total, *parts, total - union, one.information, two.information, found)


def _checked(covariance: Tensor, dims: Sequence[int], ridge: float) -> tuple[int, int, int]:
    if len(dims) != 3 or min(dims) < 1 or tuple(covariance.shape) != (sum(dims), sum(dims)):
        raise InputError(f"dims must be three numbers that add up to the covariance's size, got {tuple(dims)} and "
                         f"{tuple(covariance.shape)}")  # fmt: skip
    if not bool(torch.isfinite(covariance).all()):
        raise InputError("the covariance has values that are not finite (NaN or infinity)")
    if ridge < 0:
        raise InputError(f"ridge must not be negative, got {ridge}")
    return dims[0], dims[1], dims[2]


def _whitener(covariance: Tensor, ridge: float = 0.0) -> Tensor:
    """(C, r) map to r directions of variance 1; with a ridge, of variance 1 once the noise is added."""
    values, vectors = symmetric_eigen(covariance)
    alive = values > RANK * values[-1].clamp(min=0)
    values, vectors = values[alive], vectors[:, alive]
    return vectors * (values + (ridge * values.mean() if ridge else 0.0)).rsqrt()


@dataclass(frozen=True)
class _Source:
    """A source in the directions in which it tells of the whitened target: k of them, X = gain Y + noise.

    Attributes:
        directions: (C, k), noise of variance 1 in each.
        target: (k, d) covariance of `directions` with the target.
        gain: (k, d).
        information: about the target, in nats.
    """

    directions: Tensor
    target: Tensor
    gain: Tensor
    information: float

    @classmethod
    def of(cls, cov: Tensor, part: slice, whiten: Tensor) -> _Source:
        own, start = _whitener(cov[part, part]), len(cov) - len(whiten)
        u, rho, v = torch.linalg.svd(own.T @ cov[part, start:] @ whiten, full_matrices=False)
        if len(rho) and float(rho[0]) ** 2 > 1 - 1e-12:
            raise InputError("the sources determine the target, so its information is infinite: give a ridge")
        some = rho > 1e-8  # the others tell less than 1e-16 nats
        rho, left = rho[some], (1 - rho[some].square()).sqrt()
        information = -float(left.log().sum())
        target = (rho / left)[:, None] * v[some]
        return cls(own @ u[:, some] / left, target, target, information)

    def noise_with(self, other: _Source, cross: Tensor) -> Tensor:
        """(k, l) true covariance of the noise of both; `cross` (C, C') is that of the sources."""
        return self.directions.T @ cross @ other.directions - self.target @ other.target.T


# ------------------------------------------------------------------------------------------------- of second moments


@dataclass(frozen=True)
class Components:
    """Leading principal components of three sets. `bases`: (C, k) each; `variance`: the share that they hold."""

    bases: tuple[Tensor, ...]
    variance: tuple[float, ...]

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(basis.shape[1] for basis in self.bases)

    def covariance(self, moments: CentredMoments, points: Sequence[int | str]) -> Tensor:
        """(sum of k, sum of k) covariance of the components of those points."""
        rows = [[a.T @ moments.block(p, q) @ b for q, b in zip(points, self.bases, strict=True)]
                for p, a in zip(points, self.bases, strict=True)]  # fmt: skip
        return torch.cat([torch.cat(row, 1) for row in rows]) / moments.n


def leading_components(moments: CentredMoments, points: Sequence[int | str], most: Sequence[int]) -> Components:
    """The principal components of each point that have most variance, at most so many; none of no variance."""
    found = [symmetric_eigen(moments.block(p, p)) for p in points]
    bases, shares = [], []
    for (values, vectors), limit in zip(found, most, strict=True):
        count = min(limit, int((values > RANK * values[-1].clamp(min=0)).sum()))
        bases.append(vectors[:, len(values) - count :].flip(1))
        shares.append(float(values[len(values) - count :].sum() / values.sum()) if count else math.nan)
    return Components(tuple(bases), tuple(shares))


def too_few(n: int, dims: Sequence[int]) -> bool:
    """Whether n samples are too few for so many dimensions: information is overestimated then."""
    return n < ENOUGH * sum(dims)


def gaussian_pid(
    moments: CentredMoments,
    rgb: int | str = "rgb",
    x: int | str = "x",
    target: int | str = "fused",
    *,
    components: tuple[int, int] = (16, 8),
    ridge: float = 0.01,
) -> GaussianPID:
    """Partial information decomposition of rgb and x about a target, three points of the same moments.

    Args:
        components: most principal components of each source, and of the target.
        ridge: noise added to the target's components, as a share of their mean variance.

    Warns:
        UserWarning: too few samples for so many dimensions.

    >>> from fusionzoo.metrics.similarity.moments import Moments
    >>> g = torch.Generator().manual_seed(0)
    >>> rgb, x = torch.randn(4000, 2, generator=g), torch.randn(4000, 2, generator=g)
    >>> moments = Moments(("rgb", "x", "fused"))
    >>> moments.update(rgb, x, torch.cat([rgb[:, :1], x[:, :1]], 1))
    >>> [abs(round(v, 2)) for v in gaussian_pid(moments.centred()).shares]
    [0.5, 0.5, 0.0, 0.0]
    """
    points = [moments.index(p) for p in (rgb, x, target)]
    if len(set(points)) != 3:
        raise InputError(f"rgb, x and target must be three different points, got {rgb}, {x}, {target}")
    kept = leading_components(moments, points, (components[0], components[0], components[1]))
    if too_few(moments.n, kept.dims):
        text = f"{moments.n} samples for {sum(kept.dims)} dimensions: information is overestimated; keep fewer"
        warnings.warn(text, UserWarning, stacklevel=2)
    if not min(kept.dims):
        return GaussianPID(*[math.nan] * 8)
    return pid_of_covariance(kept.covariance(moments, points), kept.dims, ridge=ridge)
