"""Concepts without labels: a dictionary of what two streams express, one code a position and a decoder for each stream.

Joint independent component analysis (Calhoun et al. 2006; FastICA, Hyvarinen 1999). Both streams' features at a
position, each about its mean and scaled to unit total variance, are one vector; its leading principal components are
turned until their values are as far from Gaussian as can be: few positions much above the rest (skewness), or heavy
tails. Each element is a direction of that vector: one code says how much of it is at a position, and its two parts, the
decoders, what it looks like in either stream.

Whose it is, is read off the code: R2_rgb and R2_x, the shares of its variance that a linear map of rgb alone, of x
alone tells at positions that the map was not fitted to. Their ratio, the smaller to the larger, is near 1 for what both
streams express and near 0 for what one expresses alone; where they are alike and add up to no more than 1, neither
tells what the other does, and the element mixes a part of each. The ratio told planted concepts apart no worse than the
decoders' shares of energy. Beside a sparse dictionary, a sparse autoencoder and differences of neighbourhoods this way
told shared from private best over two planted data sets, found as much as the autoencoder, found it again better from
another seed, and took a sixth of its time: benchmarks/shared_concepts.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo, at_least_one, check_finite
from fusionzoo.metrics.stats.eigen import symmetric_eigen

__all__ = ["FEWEST_POSITIONS", "KINDS", "SharedDictionary", "match", "shared_dictionary"]

INFO = MetricInfo(
    name="shared dictionary", low=0.0, high=1.0, larger_is="expressed by both streams alike",
    invariant_to=("rotation of any set", "isotropic scaling", "translation"),
    cost="O(n (C_rgb + C_x)^2 + steps n K^2), all n positions in memory",
    source="joint ICA: Calhoun et al. 2006; FastICA: Hyvarinen 1999",
)  # fmt: skip

KINDS = ("shared", "rgb", "x", "mixed")
ALIKE = 0.5
"""From this ratio of the smaller to the larger R2 on an element is not one stream's alone."""
OVERLAP = 0.05
"""What the two R2 exceed 1 by, at least, for it to be shared: both tell some of the same."""
PER_ELEMENT = 16
"""Positions for each element: fewer positions, fewer elements."""
FEWEST_POSITIONS = 2 * PER_ELEMENT
WIDEST = 64
"""Most principal components of a stream: finer ones are noise to a sample of some thousand positions."""
RANK = 1e-6
"""Directions with a smaller share of the largest variance are none."""
RIDGE = 1e-3
TAILS = 2.0
"""Weight of heavy tails beside skewness. By tails alone, what is there at a fifth of the positions looks Gaussian (its
kurtosis is near 0); by skewness alone, what is alike above and below 0."""
STEPS = 200
STILL = 1e-4
"""The turning ends when no direction's cosine with its last self is further from 1 than this."""


@dataclass(frozen=True)
class SharedDictionary:
    """K elements, those that hold most variance of the streams first.

    Attributes:
        mean_rgb, mean_x: (C,) of the streams. encoder_rgb, encoder_x: (C, K). decoder_rgb, decoder_x: (K, C), features
            of one unit of code.
        r2_rgb, r2_x: (K,) share of the variance of the code that the stream alone tells, 0..1, cross-validated.
        energy_rgb, energy_x: (K,) share of each stream's variance that the element holds.
        n: positions.
    """

    mean_rgb: Tensor
    mean_x: Tensor
    encoder_rgb: Tensor
    encoder_x: Tensor
    decoder_rgb: Tensor
    decoder_x: Tensor
    r2_rgb: Tensor
    r2_x: Tensor
    energy_rgb: Tensor
    energy_x: Tensor
    n: int

    def __len__(self) -> int:
        return len(self.r2_rgb)

    def code(self, rgb: Tensor, x: Tensor) -> Tensor:
        """(n, C_rgb), (n, C_x) features of the same positions -> (n, K) code: mean 0 and variance 1 over the positions
        of the fit, with its long tail above 0."""
        return (rgb.double() - self.mean_rgb) @ self.encoder_rgb + (x.double() - self.mean_x) @ self.encoder_x

    @property
    def shared(self) -> Tensor:
        """(K,) the smaller of the two R2 over the larger, 0..1; 0 where neither stream tells the code."""
        low, high = torch.minimum(self.r2_rgb, self.r2_x), torch.maximum(self.r2_rgb, self.r2_x)
        return torch.where(high > 0, low / high.clamp(min=1e-12), 0.0)

    @property
    def kinds(self) -> list[str]:
        """Of each element, which of KINDS: the stream that tells more than twice as much of it as the other; else
        "shared" where both tell some of the same, "mixed" where each tells another part."""
        found = []
        for rgb, x, ratio in zip(self.r2_rgb.tolist(), self.r2_x.tolist(), self.shared.tolist(), strict=True):
            one = "rgb" if rgb >= x else "x"
            found.append(one if ratio < ALIKE else "shared" if rgb + x > 1 + OVERLAP else "mixed")
        return found


def shared_dictionary(rgb: Tensor, x: Tensor, elements: int = 48, *, seed: int = 0) -> SharedDictionary:
    """Fits a dictionary to the features of two streams at the same positions; the same seed gives the same one.

    Args:
        rgb, x: (n, C_rgb), (n, C_x); a few thousand positions are enough, all of them are held in memory.
        elements: at most; never more than n / 16, nor than the streams have directions together.

    Raises:
        InputError: other shapes, values that are not finite, fewer than 32 positions, or no element asked for.

    >>> hidden = (torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) < 0.1).double()
    >>> found = shared_dictionary(hidden[:, [0, 1]], hidden[:, [0, 2]])  # the first is in both streams
    >>> sorted(found.kinds)
    ['rgb', 'shared', 'x']
    """
    rgb, x = _checked(rgb, x)
    at_least_one(elements=elements)
    n = len(rgb)
    streams = [_Stream.of(rows) for rows in (rgb, x)]
    joint = torch.cat([s.rows for s in streams], 1)  # (n, p + q)
    values, vectors = symmetric_eigen(joint.T @ joint / n)
    kept = min(elements, n // PER_ELEMENT, int((values > RANK * values[-1:].clamp(min=1e-300)).sum()))
    values, vectors = values.flip(0)[:kept], vectors.flip(1)[:, :kept]
    white = joint @ (vectors / values.sqrt())  # (n, K)
    turn = _independent(white, seed)  # (K, K), rows are directions
    code = white @ turn.T
    turn = turn * torch.where(code.pow(3).mean(0) < 0, -1.0, 1.0)[:, None]
    encoder, decoder = (vectors / values.sqrt()) @ turn.T, turn @ (vectors * values.sqrt()).T
    order = decoder.square().sum(1).argsort(descending=True, stable=True)
    encoder, decoder = encoder[:, order], decoder[order]
    code, p = joint @ encoder, streams[0].rows.shape[1]
    (a, u), (b, v) = ((s, part) for s, part in zip(streams, decoder.split([p, len(encoder) - p], 1), strict=True))
    return SharedDictionary(
        a.mean, b.mean, a.basis @ encoder[:p] / a.scale, b.basis @ encoder[p:] / b.scale,
        u @ a.basis.T * a.scale, v @ b.basis.T * b.scale, _r2(a.rows, code), _r2(b.rows, code),
        u.square().sum(1), v.square().sum(1), n,
    )  # fmt: skip


def match(one: Tensor, other: Tensor) -> Tensor:
    """How well each element is found again: (K,) the largest |correlation| of its code (n, K) with one of another fit's
    (n, L) at the same positions; 0 where the code is constant.

    >>> a = torch.tensor([[0.0, 1.0], [1.0, 0.0], [2.0, 3.0]], dtype=torch.float64)
    >>> match(a, -a[:, :1]).round(decimals=3).tolist()
    [1.0, 0.655]
    """
    if not other.shape[1]:
        return one.new_zeros(one.shape[1])
    about = [rows - rows.mean(0) for rows in (one, other)]
    unit = [rows / rows.norm(dim=0).clamp(min=1e-12) for rows in about]
    return (unit[0].T @ unit[1]).abs().amax(1)


def _checked(rgb: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    if rgb.ndim != 2 or x.ndim != 2 or len(rgb) != len(x) or 0 in (rgb.shape[1], x.shape[1]):
        raise InputError(f"need features (n, C) of the same positions, got {tuple(rgb.shape)} and {tuple(x.shape)}")
    if len(rgb) < FEWEST_POSITIONS:
        raise InputError(f"a dictionary needs at least {FEWEST_POSITIONS} positions, got {len(rgb)}")
    found = rgb.detach().double(), x.detach().double()
    for rows in found:
        check_finite(rows)
    return found


@dataclass(frozen=True)
class _Stream:
    """A stream in its leading principal components: rows (n, p) of unit total variance, basis (C, p)."""

    mean: Tensor
    scale: float
    basis: Tensor
    rows: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> _Stream:
        mean = rows.mean(0)
        about = rows - mean
        total = float(about.square().sum(1).mean())
        if total <= 1e-24 * float(mean.square().sum()) or total == 0.0:  # constant but for rounding
            return cls(mean, 1.0, rows.new_zeros(rows.shape[1], 0), rows.new_zeros(len(rows), 0))
        about = about / math.sqrt(total)
        wide = rows.shape[1] > len(rows)  # the smaller of the two products has the same directions
        values, vectors = symmetric_eigen((about @ about.T if wide else about.T @ about) / len(rows))
        kept = min(WIDEST, int((values > RANK * values[-1]).sum()))
        vectors, values = vectors.flip(1)[:, :kept], values.flip(0)[:kept]
        basis = about.T @ vectors / (values * len(rows)).sqrt() if wide else vectors
        return cls(mean, math.sqrt(total), basis, about @ basis)


def _independent(white: Tensor, seed: int) -> Tensor:
    """(K, K) orthogonal: rows are the directions of uncorrelated (n, K) of unit variance that are least Gaussian."""
    k = white.shape[1]
    drawn = torch.Generator().manual_seed(seed)
    turn = _orthogonal(torch.randn(k, k, generator=drawn, dtype=torch.float64).to(white))
    for _ in range(STEPS if k else 0):
        code = white @ turn.T  # (n, K)
        bent = torch.tanh(code)
        slope = 2 * code.mean(0) - TAILS * (1 - bent.square()).mean(0)
        new = _orthogonal((code.square() - TAILS * bent).T @ white / len(white) - slope[:, None] * turn)
        moved = ((new * turn).sum(1).abs() - 1).abs().max()
        turn = new
        if float(moved) < STILL:
            break
    return turn


def _orthogonal(matrix: Tensor) -> Tensor:
    """The orthogonal matrix nearest to a square one."""
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def _r2(rows: Tensor, code: Tensor) -> Tensor:
    """(K,) R2 of a code (n, K) from rows (n, p) by ridge regression: fitted to every second position, measured on the
    others, and the reverse; 0 where it is worse than the mean."""
    if not rows.shape[1]:
        return code.new_zeros(code.shape[1])
    rest = torch.zeros_like(code)
    even = torch.arange(len(rows), device=rows.device) % 2 == 0
    for half in (even, ~even):
        seen, told = rows[half], code[half]
        mean, middle = seen.mean(0), told.mean(0)
        gram = (seen - mean).T @ (seen - mean)
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        weights = torch.linalg.solve(gram, (seen - mean).T @ (told - middle))
        rest[~half] = code[~half] - middle - (rows[~half] - mean) @ weights
    spread = (code - code.mean(0)).square().sum(0).clamp(min=1e-300)
    return (1 - rest.square().sum(0) / spread).clamp(0, 1)
