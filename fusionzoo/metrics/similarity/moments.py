"""Second moments of several feature sets in one pass: everything linear between all pairs comes from them.

With z = [x_1 .. x_P] the features of P probe points for one sample, shifted by a constant, and r_p = |x_p|^2:
n, S = sum z, G = sum z z', R = sum r, M = sum z r', Q = sum r r'. These suffice for the exact unbiased HSIC of the
whole data set (cka.py), and G alone for Procrustes, CCA, linear predictivity and commonality.

The shift is the mean of the first batch, which keeps float64 exact for features whose mean dwarfs their spread. Merging
re-bases the other sums to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import (
    VIEWS,
    Accumulator,
    MetricInfo,
    accumulates,
    as_samples,
    check_finite,
    int_state,
    one_each,
    point_names,
)

__all__ = ["CentredMoments", "Moments"]

CHUNK = 1 << 22  # float64 numbers of shifted features held at once


@dataclass(frozen=True)
class CentredMoments:
    """Moments about the mean of the whole data set.

    Attributes:
        n: samples.
        view: "gap" or "pix".
        points: names of the P feature sets.
        slices: where each set lies in the D joined features.
        mean: (D,) raw mean.
        gram: (D, D) sum of centred z z'.
        norm: (P,) sum of centred squared norms.
        cross: (D, P) sum of z r'.
        quad: (P, P) sum of r r'.
    """

    n: int
    view: str
    points: tuple[str, ...]
    slices: tuple[slice, ...]
    mean: Tensor
    gram: Tensor
    norm: Tensor
    cross: Tensor
    quad: Tensor

    def index(self, point: int | str) -> int:
        """Position of a point given by name or index."""
        if isinstance(point, int):
            return point
        if point not in self.points:
            raise InputError(f"unknown point {point!r}: known {', '.join(self.points)}")
        return self.points.index(point)

    def block(self, p: int | str, q: int | str) -> Tensor:
        """(C_p, C_q) sum of centred x_p x_q'."""
        return self.gram[self.slices[self.index(p)], self.slices[self.index(q)]]


class Moments(Accumulator):
    """Accumulates the second moments of P feature sets over the same samples.

    Args:
        points: names of the feature sets, in the order of `update`'s arguments; or their number.
        view: "gap" (a sample is an image) or "pix" (a sample is a position; maps must have one size).
    """

    info = MetricInfo(
        name="second moments", low=None, high=None, larger_is="", invariant_to=("order of samples",),
        cost="state D^2 float64, D the sum of channels; O(n D^2)",
        source="sums; the streaming unbiased form is derived from Song et al. 2012, eq. 5",
    )  # fmt: skip
    choices = ("points", "view")

    def __init__(self, points: Sequence[str] | int = 2, view: str = "gap") -> None:
        super().__init__()
        self.points = point_names(points)
        if view not in VIEWS:
            raise InputError(f"unknown view {view!r}: use one of {', '.join(VIEWS)}")
        self.view = view
        self._state = int_state(n=())

    @property
    def n(self) -> int:
        """Samples seen."""
        return int(self._state["n"])

    @accumulates
    def update(self, *features: Tensor) -> None:
        """Adds one batch: P features, (B, C, H, W) or (N, C) each, of the same samples.

        Raises:
            InputError: another number of features, channels that changed, maps of different sizes in `pix`, different
                numbers of samples, or values that are not finite.
        """
        one_each(self.points, features)
        if self.view == "pix":
            sizes = [tuple(f.shape[2:]) for f in features]
            if len(set(sizes)) > 1:
                raise InputError(f"view 'pix' needs maps of one size, got {sizes}: resize them, or use view 'gap'")
        rows = [as_samples(f, self.view) for f in features]
        if len({len(r) for r in rows}) > 1:
            raise InputError(f"features must have the same samples, got {[len(r) for r in rows]}")
        widths = torch.tensor([r.shape[1] for r in rows])
        if "widths" in self._state and not torch.equal(self._state["widths"].cpu(), widths):
            raise InputError(f"channels changed from {self._state['widths'].tolist()} to {widths.tolist()}")
        joined = torch.cat(rows, 1)
        if not len(joined):
            return
        first = joined.mean(0)
        check_finite(first)
        if self.n == 0:
            self._state = _empty(first, widths)
        state = self._state
        for part in joined.split(max(1, CHUNK // joined.shape[1])):
            z = part - state["shift"]
            r = torch.stack([z[:, s].square().sum(1) for s in _slices(state["widths"])], 1)
            state["n"] += len(z)
            state["sum"] += z.sum(0)
            state["gram"] += z.T @ z
            state["norm"] += r.sum(0)
            state["cross"] += z.T @ r
            state["quad"] += r.T @ r

    def _merge(self, other: dict[str, Tensor]) -> None:
        if int(other["n"]) == 0:
            return
        if self.n == 0:
            self._state = {name: value.clone() for name, value in other.items()}
            return
        here, there = self._state["widths"].tolist(), other["widths"].tolist()
        if here != there:
            raise InputError(f"cannot merge: channels are {here} here, {there} there")
        other = _rebase(other, other["shift"] - self._state["shift"])
        for name in ("n", "sum", "gram", "norm", "cross", "quad"):
            self._state[name] = self._state[name] + other[name]

    def _check_state(self, state: dict[str, Tensor]) -> None:
        full = {"n", "widths", "shift", "sum", "gram", "norm", "cross", "quad"}
        if set(state) not in ({"n"}, full):
            raise InputError(f"state of {type(self).__name__} needs {sorted(full)}, got {sorted(state)}")
        if set(state) == full:
            want = _empty(state["shift"], state["widths"])
            wrong = [k for k in want if state[k].shape != want[k].shape or state[k].dtype != want[k].dtype]
            if wrong or len(state["widths"]) != len(self.points):
                raise InputError(f"state of {type(self).__name__} is inconsistent: {wrong or 'widths'}")

    def centred(self) -> CentredMoments:
        """The moments about the mean of everything seen. Raises InputError when nothing was seen."""
        if self.n == 0:
            raise InputError("no samples yet: call update first")
        with torch.no_grad():
            state = _rebase(self._state, -self._state["sum"] / self.n)
        sums = {name: state[name] for name in ("gram", "norm", "cross", "quad")}
        slices = tuple(_slices(state["widths"]))
        return CentredMoments(self.n, self.view, self.points, slices, mean=state["shift"], **sums)

    def compute(self) -> CentredMoments:
        """Same as `centred`."""
        return self.centred()


def _slices(widths: Tensor) -> list[slice]:
    ends = widths.cumsum(0).tolist()
    return [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _empty(shift: Tensor, widths: Tensor) -> dict[str, Tensor]:
    d, p = len(shift), len(widths)
    zeros = {"sum": (d,), "gram": (d, d), "norm": (p,), "cross": (d, p), "quad": (p, p)}
    state = {name: shift.new_zeros(shape) for name, shape in zeros.items()}
    n = torch.zeros((), dtype=torch.int64, device=shift.device)
    return {"n": n, "widths": widths.to(shift.device), "shift": shift.clone(), **state}


def _rebase(state: dict[str, Tensor], d: Tensor) -> dict[str, Tensor]:
    """The same sums for z + d in place of z (shift - d in place of shift): r becomes r + 2 d.x + |d|^2 per set."""
    n, s, g, m = state["n"].double(), state["sum"], state["gram"], state["cross"]
    slices = _slices(state["widths"])
    # (D, P): column p holds d on the features of set p, zero elsewhere, so that z' @ dd is d_p.x_p
    dd = torch.zeros_like(m)
    for p, part in enumerate(slices):
        dd[part, p] = d[part]
    e = dd.square().sum(0)
    ds = dd.T @ s
    norm = state["norm"] + 2 * ds + n * e
    shift_r = 2 * (g @ dd) + torch.outer(s, e)  # sum z (r_new - r_old)'
    cross = m + shift_r + torch.outer(d, norm)
    md = m.T @ dd  # (P, P): [p, q] = sum r_p d_q.x_q
    quad = state["quad"] + 2 * (md + md.T) + 4 * dd.T @ g @ dd
    quad = quad + torch.outer(state["norm"], e) + torch.outer(e, state["norm"])
    quad = quad + 2 * (torch.outer(ds, e) + torch.outer(e, ds)) + n * torch.outer(e, e)
    outer = torch.outer(s, d)
    return {
        "n": state["n"],
        "widths": state["widths"],
        "shift": state["shift"] - d,
        "sum": s + n * d,
        "gram": g + outer + outer.T + n * torch.outer(d, d),
        "norm": norm,
        "cross": cross,
        "quad": quad,
    }
