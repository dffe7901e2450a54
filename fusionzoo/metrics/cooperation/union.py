"""The least that two noisy views of a Gaussian tell together, whatever the correlation of their noises.

X_i = H_i Y + n_i, Y and each n_i white. f(S) = 1/2 log det(I + H' K^-1 H) with K = [[I, S], [S', I]] is convex in S
(information is convex in the covariance of the noise). It is minimised over |S|_2 <= 1 by Newton steps on
f(S) - mu log det K with mu falling to 0: log det K is the barrier of the ball, and both terms have closed derivatives.

The result is certified: for convex f, f(S) - min f <= <grad f, S> + |grad f|_* (the best that a linear step within the
ball could gain). f(S) is what some joint distribution tells, so it is never below the minimum.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["least_information"]

STEPS = 200
SHRINK = 0.05


def least_information(one: Tensor, two: Tensor, true: Tensor, gap: float = 1e-9) -> tuple[float, float]:
    """The union information of two channels, in nats, and a bound on its error.

    Args:
        one, two: (k, d) and (l, d) gains H_1, H_2, float64.
        true: (k, l) covariance of the noises as it is; tried too, so that the result is never above what it gives.
        gap: nats to which the result must be certain for the search to end.

    >>> eye = torch.eye(2).double()
    >>> value, gap = least_information(2 * eye, 1 * eye, 0 * eye)  # the second is the first and more noise
    >>> round(value, 6), round(float(torch.tensor(5.0).log()), 6), gap < 1e-8
    (1.609438, 1.609438, True)
    """
    h = torch.cat([one, two])
    found = _search(h, len(one), gap) if true.numel() else _At(true, h)
    value = min(found.information, *(_At(s, h).information for s in (torch.zeros_like(true), true)))
    return value, max(0.0, found.gap - (found.information - value))


class _At:
    """f and its derivatives at one S, by the singular values of S: exact where the noises all but agree.

    K has the eigenvectors (u, v) and (u, -v) / sqrt 2 with the eigenvalues 1 + sigma and 1 - sigma, and else 1. With
    W = K^-1 H and P = W (I + H' W)^-1 W', (K + H H')^-1 = K^-1 - P.
    """

    def __init__(self, s: Tensor, h: Tensor) -> None:
        self.s, self.h, self.k = s, h, len(s)
        self.u, sigma, v = torch.linalg.svd(s, full_matrices=False)
        self.v, self.sigma = v.T, sigma.clamp(max=1)
        self.within = bool((sigma < 1).all())
        self.w = h
        for sign in (1.0, -1.0):
            z = torch.cat([self.u, sign * self.v]) / 2**0.5
            part = sign * self.sigma / (1 + sign * self.sigma).clamp(min=1e-13)
            self.w = self.w - z @ (part[:, None] * (z.T @ h))
        inner = torch.eye(h.shape[1], dtype=h.dtype, device=h.device) + h.T @ self.w
        self.inner = (inner + inner.T) / 2
        self.information = float(torch.linalg.eigvalsh(self.inner).clamp(min=1e-300).log().sum()) / 2

    @property
    def told(self) -> Tensor:
        """P, (k + l, k + l)."""
        return self.w @ torch.linalg.solve(self.inner, self.w.T)

    @property
    def gap(self) -> float:
        """The duality gap: what f is above its minimum, at most."""
        slope = -self.told[: self.k, self.k :]
        return float((slope * self.s).sum() + torch.linalg.svdvals(slope).sum())

    def height(self, mu: float) -> float:
        """f - mu log det K."""
        return self.information - mu * float((1 - self.sigma.square()).log().sum()) if self.within else float("inf")

    def newton(self, mu: float) -> tuple[Tensor, float]:
        """The Newton step of the height, and its slope along it, negated."""
        told, loose = self._blocks(self.told), self._inverse()
        slope = -told[1] - 2 * mu * loose[1]
        pairs = ((loose, told, 1.0), (told, loose, 1.0), (told, told, -1.0), (loose, loose, 2 * mu))
        parts = [
            weight * (torch.einsum("ik,jl->ijkl", a[0], b[2]) + torch.einsum("il,kj->ijkl", a[1], b[1]))
            for a, b, weight in pairs
        ]
        matrix = torch.stack(parts).sum(0).reshape(slope.numel(), -1)  # rows and columns: entries of S, row after row
        step = -_solved((matrix + matrix.T) / 2, slope.reshape(-1, 1)).view_as(slope)
        return step, -float((slope * step).sum())

    def _blocks(self, full: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return full[: self.k, : self.k], full[: self.k, self.k :], full[self.k :, self.k :]

    def _inverse(self) -> tuple[Tensor, Tensor, Tensor]:
        """Blocks of K^-1."""
        u, v, square = self.u, self.v, self.sigma.square()
        more, between = square / (1 - square), self.sigma / (1 - square)
        eyes = [torch.eye(len(m), dtype=m.dtype, device=m.device) for m in (u, v)]
        return eyes[0] + u * more @ u.T, -(u * between) @ v.T, eyes[1] + v * more @ v.T


def _search(h: Tensor, k: int, gap: float) -> _At:
    """Where f is least, within the ball."""
    at, mu = _At(h.new_zeros(k, len(h) - k), h), 0.1
    best: _At | None = None
    for _ in range(STEPS):
        step, decrease = at.newton(mu)
        if decrease < 1e-2 * mu:
            best = at if best is None or at.gap < best.gap else best
            if best.gap <= gap or mu < 1e-13:
                break
            mu *= SHRINK
            continue
        t, new, before = 1.0, _At(at.s + step, h), at.height(mu)
        rounding = 1e-12 * (1 + abs(before))
        while new.height(mu) > before - 1e-2 * t * decrease + rounding and t > 1e-8:
            t /= 2
            new = _At(at.s + t * step, h)
        if not new.within:
            break
        at = new
    return at if best is None else best


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solution with a positive definite matrix; what rounding made indefinite is lifted as little as it needs."""
    root, failed = torch.linalg.cholesky_ex(matrix)
    lift = 1e-14 * float(matrix.diagonal().abs().mean())
    while int(failed):
        lift *= 100
        lifted = matrix + lift * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        root, failed = torch.linalg.cholesky_ex(lifted)
    return torch.cholesky_solve(right, root)
