"""Logistic concept detectors, exact and streaming: Newton's method with one pass over the data per step.

For every concept, over labelled positions i with weight v_i and (soft) target t_i, p_i = sigmoid(w'x_i + b):
loss = - sum v_i [a t_i log p_i + (1 - t_i) log(1 - p_i)] + r/2 n sum_c var_c w_c^2, a the weight of positives,
n = sum v_i. The penalty is that of unit weights on standardised channels, as in the ridge recipe. Each step solves
(X'HX + r n D) d = X'g - r n D w with h_i = v_i p_i (1 - p_i)(a t_i + 1 - t_i). Gradient and Hessian are sums, which
merge over batches and processes. A step that raised the loss is halved.

Dearer than ridge (a C x C matrix per concept and a pass per step, 5 to 8 of them), closer to what Net2Vec optimises. On
binary channels with few active values, as at tau = 0.005, sums run over these alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates, at_least_one, few_above, float_state
from fusionzoo.metrics.concepts.statistics import (
    SPARSE,
    ConceptWeights,
    checked_cells,
    checked_thresholds,
    pairs,
    unravel,
)

__all__ = ["LogisticFit", "LogisticStep", "fit_logistic"]


class LogisticStep(Accumulator):
    """Gradient, Hessian and loss of all concepts at given weights.

    Args:
        channels: C.
        concepts: K.
        weight: (K, C + 1) at which they are taken, the bias last; zeros when None.
        thresholds: (C,) to binarise the maps inside `update`; None to take them as they come.
        positive: weight of positives, a number or one for each concept.
    """

    info = MetricInfo(
        name="logistic concept detector", low=None, high=None, larger_is="", invariant_to=("order of images",),
        cost="state K (C + 1)^2 float64; O(n K C^2) per step",
        source="iteratively reweighted least squares: McCullagh and Nelder 1989",
    )  # fmt: skip
    choices = ("channels", "concepts", "weight", "thresholds", "positive")

    def __init__(
        self,
        channels: int,
        concepts: int,
        weight: Tensor | None = None,
        thresholds: Tensor | None = None,
        positive: float | Tensor = 1.0,
    ) -> None:
        super().__init__()
        at_least_one(channels=channels, concepts=concepts)
        d = channels + 1
        weight = torch.zeros(concepts, d) if weight is None else weight.detach()
        if tuple(weight.shape) != (concepts, d):
            raise InputError(f"weight must be {(concepts, d)}, got {tuple(weight.shape)}")
        self.channels, self.concepts = channels, concepts
        self.weight = weight.double().cpu()
        self.thresholds = None if thresholds is None else checked_thresholds(thresholds, channels).cpu()
        self.positive = torch.as_tensor(positive, dtype=torch.float64).expand(concepts).clone()
        if not bool((self.positive > 0).all()):
            raise InputError("the weight of positives must be above 0")
        c, k = channels, concepts
        self._state = float_state(n=(), sum_x=(c,), square_x=(c,), sum_t=(k,), residual=(k,), loss=(k,))
        self._state |= float_state(gradient=(k, d), hessian=(k, d, d))

    @accumulates
    def update(self, maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> None:
        """Adds a batch, shaped as for `ConceptStatistics.update`: maps (B, C, h, w), masks (B, K, h, w) shares or bool,
        valid (B, h, w) shares or bool."""
        valid = checked_cells(maps, masks, valid, self.channels, self.concepts)
        if not len(maps):
            return
        if not bool(torch.isfinite(maps.sum(dtype=torch.float64))):
            raise InputError("maps have values that are not finite (NaN or infinity)")
        v = valid.flatten().double()
        # area of the concept (at most that of the cell's labels) for soft targets: v t
        vt = torch.minimum(masks.transpose(0, 1).flatten(1).double(), v)
        maps = maps.flatten(2).contiguous()
        thresholds = None if self.thresholds is None else self.thresholds.to(maps)
        binary = thresholds is not None or maps.dtype == torch.bool
        few = few_above(maps, thresholds, SPARSE) if binary else None
        state = self._state
        state["n"] += v.sum()
        state["sum_t"] += vt.sum(1)
        if few is None:
            self._add_dense(maps if thresholds is None else maps > thresholds[:, None], v, vt)
        else:
            image, channel, position = unravel(few[0], maps)
            self._add_sparse(image * maps.shape[2] + position, channel, v, vt)

    def _slopes(self, z: Tensor, v: Tensor, vt: Tensor) -> tuple[Tensor, Tensor]:
        """Adds loss and residual at logits z (K, n); returns gradient and curvature of the log-likelihood in z."""
        state, a = self._state, self.positive.to(z.device)[:, None]
        p, yes, no = z.sigmoid(), a * vt, v - vt
        state["loss"] -= (yes * functional.logsigmoid(z) + no * functional.logsigmoid(-z)).sum(1)
        state["residual"] += (vt * (1 - p).square() + no * p.square()).sum(1)
        return yes * (1 - p) - no * p, p * (1 - p) * (yes + no)

    def _add_dense(self, maps: Tensor, v: Tensor, vt: Tensor) -> None:
        x = maps.transpose(1, 2).reshape(-1, self.channels).double()
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        state = self._state
        slope, curve = self._slopes(self.weight.to(x.device) @ x.T, v, vt)
        state["gradient"] += slope @ x
        for k in range(self.concepts):
            state["hessian"][k] += (x * curve[k][:, None]).T @ x
        state["sum_x"] += v @ x[:, :-1]
        state["square_x"] += v @ x[:, :-1].square()

    def _add_sparse(self, position: Tensor, channel: Tensor, v: Tensor, vt: Tensor) -> None:
        """The same from the few active values of binary maps alone."""
        state, c = self._state, self.channels
        weight = self.weight.to(v.device)
        z = weight[:, -1:].repeat(1, len(v)).index_add_(1, position, weight[:, channel])
        slope, curve = self._slopes(z, v, vt)
        state["gradient"][:, :-1].index_add_(1, channel, slope[:, position])
        state["gradient"][:, -1] += slope.sum(1)
        where, one, two = pairs(position, channel)
        edge = torch.zeros(self.concepts, c, dtype=torch.float64, device=v.device)
        edge.index_add_(1, channel, curve[:, position])
        for k in range(self.concepts):
            block = torch.bincount(one * c + two, curve[k][where], minlength=c * c)
            state["hessian"][k, :-1, :-1] += block.view(c, c)
        state["hessian"][:, :-1, -1] += edge
        state["hessian"][:, -1, :-1] += edge
        state["hessian"][:, -1, -1] += curve.sum(1)
        seen = torch.bincount(channel, v[position], minlength=c)
        state["sum_x"] += seen
        state["square_x"] += seen

    def _penalty(self, ridge: float) -> Tensor:
        """(C + 1,) factor of w^2 / 2."""
        state, n = self._state, float(self._state["n"])
        if not n > 0:
            raise InputError("no labelled positions yet: call update first")
        mean = state["sum_x"] / n
        variance = (state["square_x"] / n - mean.square()).clamp(min=0)
        floor = 1e-9 * variance.mean().clamp(min=1e-12)  # dead channels keep a weight of 0
        return torch.cat([ridge * n * torch.maximum(variance, floor), variance.new_zeros(1)]).cpu()

    def losses(self, ridge: float = 1e-3) -> Tensor:
        """(K,) penalised loss per labelled position at the weights given."""
        penalty = self._penalty(ridge)
        return (self._state["loss"].cpu() + 0.5 * (penalty * self.weight.square()).sum(1)) / float(self._state["n"])

    def newton(self, ridge: float = 1e-3) -> Tensor:
        """(K, C + 1) float64 weights after one step; those given for concepts that never, or always, occur."""
        if not ridge > 0:
            raise InputError(f"ridge must be positive, got {ridge}")
        penalty = self._penalty(ridge)
        system = self._state["hessian"].cpu() + torch.diag(penalty)
        right = self._state["gradient"].cpu() - penalty * self.weight
        lively = self._lively()
        # where every position is decided the bias has no curvature left: a trace of it keeps the system solvable
        jitter = 1e-12 * system.diagonal(dim1=1, dim2=2).mean(1)
        system = system + jitter[:, None, None] * torch.eye(self.channels + 1, dtype=system.dtype)
        weight = self.weight.clone()
        weight[lively] += torch.linalg.solve(system[lively], right[lively])
        return weight

    def _lively(self) -> Tensor:
        share = self._state["sum_t"].cpu() / float(self._state["n"])
        return (share > 0) & (share < 1)

    def weights(self) -> ConceptWeights:
        """The weights given, as detectors: scores are logits. `r2` is 1 - sum (t - p)^2 / sum (t - mean t)^2."""
        n, lively = float(self._state["n"]), self._lively()
        share = self._state["sum_t"].cpu() / n
        spread = n * share * (1 - share)
        r2 = torch.where(lively, 1 - self._state["residual"].cpu() / spread, torch.nan)
        weight = torch.where(lively[:, None], self.weight, 0.0).float()
        return ConceptWeights(weight[:, :-1].contiguous(), weight[:, -1].contiguous(), share > 0, r2, self.thresholds)


@dataclass(frozen=True)
class LogisticFit:
    """Detectors fitted by Newton's method.

    Attributes:
        weights: scores are logits: 0 marks where the concept is as likely as not.
        losses: (steps + 1, K) float64 penalised loss per position, pass by pass.
        converged: (K,) bool: the last step changed no loss by more than 1e-6 of it.
    """

    weights: ConceptWeights
    losses: Tensor
    converged: Tensor


def fit_logistic(
    feed: Callable[[LogisticStep], None],
    channels: int,
    concepts: int,
    *,
    thresholds: Tensor | None = None,
    positive: float | Tensor = 1.0,
    ridge: float = 1e-3,
    steps: int = 8,
) -> LogisticFit:
    """Fits all concepts, in `steps` + 1 passes over the data.

    Args:
        feed: called once a pass with an accumulator to `update` with every batch (and, over processes, to merge).
        positive: weight of positives.
        ridge: of standardised weights, in units of positions.
        steps: Newton steps.

    >>> g = torch.Generator().manual_seed(0)
    >>> maps = torch.randn(4, 3, 8, 8, generator=g)
    >>> masks = maps[:, 1:2] + 0.5 * torch.randn(4, 1, 8, 8, generator=g) > 1
    >>> fit = fit_logistic(lambda step: step.update(maps, masks), 3, 1)
    >>> int(fit.weights.weight.abs().argmax()), bool(fit.converged.all())
    (1, True)
    """
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    make = lambda weight: LogisticStep(channels, concepts, weight, thresholds, positive)  # noqa: E731
    step = make(None)
    feed(step)
    best, kept = step.weight, step.losses(ridge)  # the weights of the lowest loss so far, and that loss
    proposal, history, moved = step.newton(ridge), [kept], torch.full((concepts,), torch.inf, dtype=torch.float64)
    for _ in range(steps):
        step = make(proposal)
        feed(step)
        losses = step.losses(ridge)
        history.append(losses)
        fine = losses <= kept + 1e-12 * kept.abs()
        moved = torch.where(fine, (kept - losses).abs() / kept.abs().clamp(min=1e-300), moved)
        ahead = step.newton(ridge)
        proposal = torch.where(fine[:, None], ahead, (best + proposal) / 2)
        best, kept = torch.where(fine[:, None], step.weight, best), torch.where(fine, losses, kept)
    if not torch.equal(best, step.weight):  # the last step was no good for some concept: measure what is kept
        step = make(best)
        feed(step)
    return LogisticFit(step.weights(), torch.stack(history), moved <= 1e-6)
