"""Concept set IoU of a probe point, fast: quantiles, one ridge solve for all concepts, a calibrated threshold.

After Net2Vec (Fong and Vedaldi 2018): a concept is encoded where a weighted sum of thresholded channels marks its
pixels. Three passes with fixed-size states; memory does not depend on the number of images:

1. `Quantiles` (sketch.py): a threshold per channel, P(A > T) = tau. Not needed for raw channels.
2. `ConceptStatistics`, images of the train half: X'X and X'T of the channels (binarised, or raw) and all concept masks,
   at the map's own resolution, with masks given as area shares; then one ridge solve for all concepts at once.
3. `ConceptCurve` (curve.py): the threshold is chosen on the train half, the set IoU is read off the other half.

Scores are upsampled bilinearly to ONE evaluation grid, the same for all probe points, since their IoUs are compared;
masks come to that grid by the label at the cell's centre (`concept_masks(..., mode="nearest")`). A quarter of the
input's height and width is fine enough for every stage and cheap.

Whether to binarise: binary channels are what Net2Vec weighs, and what its numbers compare with. Raw channels need one
pass less and keep what a threshold throws away; their set IoU is higher wherever a concept is coded by degree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import (
    Accumulator,
    MetricInfo,
    accumulates,
    at_least_one,
    check_finite,
    few_above,
    float_state,
    int_state,
)
from fusionzoo.metrics.concepts.weights import ConceptWeights, minimum_channels, stack_weights

__all__ = ["ConceptStatistics", "ConceptWeights", "minimum_channels", "stack_weights"]

SPARSE = 0.01  # share of active binary channels below which sums run over the active ones only
POSITIONS = 1 << 10  # positions summed at once, to stay in the processor's cache


def unravel(index: Tensor, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Image, channel and position of flat indices into maps (B, C, n)."""
    c, n = maps.shape[1:]
    image, rest = index // (c * n), index % (c * n)
    return image, rest // n, rest % n


def pairs(position: Tensor, channel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All ordered pairs of active channels at the same position, each with itself too.

    Args:
        position, channel: (n,) of the active values, in any order.

    Returns:
        position, first and second channel of every pair.

    >>> where, one, two = pairs(torch.tensor([0, 4, 4]), torch.tensor([2, 5, 1]))
    >>> sorted(zip(where.tolist(), one.tolist(), two.tolist()))
    [(0, 2, 2), (4, 1, 1), (4, 1, 5), (4, 5, 1), (4, 5, 5)]
    """
    position, order = position.sort()
    channel, device = channel[order], channel.device
    _, group, size = position.unique_consecutive(return_inverse=True, return_counts=True)
    partners = size[group]  # how many are active where this one is
    start = (size.cumsum(0) - size)[group]
    one = torch.arange(len(channel), device=device).repeat_interleave(partners)
    rank = torch.arange(len(one), device=device) - (partners.cumsum(0) - partners)[one]
    return position[one], channel[one], channel[start[one] + rank]


def checked_thresholds(thresholds: Tensor, channels: int) -> Tensor:
    """(C,) float32 thresholds; InputError unless there is one for each channel."""
    if tuple(thresholds.shape) != (channels,):
        raise InputError(f"one threshold per channel: expected ({channels},), got {tuple(thresholds.shape)}")
    return thresholds.detach().float()


def checked_cells(maps: Tensor, masks: Tensor, valid: Tensor | None, channels: int, concepts: int) -> Tensor:
    """Validity (B, h, w) of the cells of maps (B, C, h, w) with masks (B, K, h, w); InputError for other shapes."""
    if maps.ndim != 4 or maps.shape[1] != channels:
        raise InputError(f"maps must be (B, {channels}, h, w), got {tuple(maps.shape)}")
    want = (maps.shape[0], concepts, *maps.shape[2:])
    if tuple(masks.shape) != want:
        raise InputError(f"masks must be {want} like the maps, got {tuple(masks.shape)}: see concept_masks")
    valid = torch.ones_like(masks[:, 0], dtype=torch.bool) if valid is None else valid
    if valid.shape != masks[:, 0].shape:
        raise InputError(f"valid must be {tuple(masks[:, 0].shape)}, got {tuple(valid.shape)}")
    return valid


@dataclass(frozen=True)
class _Standardised:
    """Means, covariances and the correlation system of channels and concepts."""

    mean_x: Tensor
    mean_t: Tensor
    covariance: Tensor
    cross: Tensor
    scale: Tensor
    system: Tensor
    right: Tensor


class ConceptStatistics(Accumulator):
    """Sufficient statistics of channels and concept masks: one Gram matrix shared by all concepts.

    Args:
        channels: C.
        concepts: K.
        thresholds: (C,) to binarise the maps inside `update` (channel > threshold); None to take them as they come.

    >>> g = torch.Generator().manual_seed(0)
    >>> maps = torch.randn(2, 4, 8, 8, generator=g)
    >>> statistics = ConceptStatistics(4, 1)
    >>> statistics.update(maps, maps[:, 2:3] > 1)
    >>> int(statistics.solve().weight.abs().argmax())
    2
    """

    info = MetricInfo(
        name="concept statistics", low=None, high=None, larger_is="", invariant_to=("order of images",),
        cost="state C^2 + 2 C K float64; O(n C (C + K))",
        source="least squares on Net2Vec's binarised channels; shared Gram of ours",
    )  # fmt: skip
    choices = ("channels", "concepts", "thresholds")

    def __init__(self, channels: int, concepts: int, thresholds: Tensor | None = None) -> None:
        super().__init__()
        at_least_one(channels=channels, concepts=concepts)
        self.channels, self.concepts = channels, concepts
        self.thresholds = None if thresholds is None else checked_thresholds(thresholds, channels)
        c, k = channels, concepts
        self._state = float_state(weight=(), sum_x=(c,), gram=(c, c), sum_t=(k,), cross=(c, k), area=(c, k))
        self._state |= int_state(images=(k,))

    @accumulates
    def update(self, maps: Tensor, masks: Tensor, valid: Tensor | None = None) -> None:
        """Adds a batch.

        Args:
            maps: (B, C, h, w); raw, or binary where no thresholds were given.
            masks: (B, K, h, w) bool, or the share of each cell that belongs to the concept, 0 to 1.
            valid: (B, h, w) bool, or the share of each cell that is labelled; all of it when None.

        Raises:
            InputError: shapes do not fit, or values are not finite.
        """
        valid = checked_cells(maps, masks, valid, self.channels, self.concepts)
        if not len(maps):
            return
        v = valid.flatten(1)
        t = torch.minimum(masks.flatten(2).double(), v.double()[:, None])
        images = t.amax(2) > 0
        state = self._state
        state["weight"] += v.double().sum()
        state["sum_t"] += t.sum((0, 2))
        state["images"] += images.sum(0)
        t = t.transpose(1, 2).reshape(-1, self.concepts)
        maps = maps.flatten(2).contiguous()
        thresholds = None if self.thresholds is None else self.thresholds.to(maps)
        binary = thresholds is not None or maps.dtype == torch.bool
        few = few_above(maps, thresholds, SPARSE) if binary else None
        if few is None:
            per_image = self._add_dense(maps, thresholds, v.double(), t)
        else:
            per_image = self._add_sparse(*unravel(few[0], maps), v, t)
        state["sum_x"] += per_image.sum(0)
        state["area"] += per_image.T @ images.double()
        check_finite(state["sum_x"], "maps have")

    def _add_dense(self, maps: Tensor, thresholds: Tensor | None, valid: Tensor, t: Tensor) -> Tensor:
        """Adds X'VX and X'T of maps (B, C, n), valid (B, n), t (B n, K); returns X'V per image, (B, C)."""
        (b, c, n), state = maps.shape, self._state
        t = t.view(b, n, self.concepts)
        per_image = torch.zeros(b, c, dtype=torch.float64, device=maps.device)
        images = max(1, POSITIONS // n)
        for i in range(0, b, images):
            for j in range(0, n, POSITIONS):
                part = (slice(i, i + images), slice(j, j + POSITIONS))
                values, v = maps[part[0], :, part[1]].transpose(0, 1), valid[part]  # (C, images, positions), no C in v
                x = torch.empty(values.shape, dtype=torch.float64, device=maps.device)
                x = x.copy_(values) if thresholds is None else torch.gt(values, thresholds[:, None, None], out=x)
                xv = x if bool((v == 1).all()) else x * v
                state["gram"] += xv.flatten(1) @ x.flatten(1).T
                state["cross"] += x.flatten(1) @ t[part].flatten(0, 1)
                per_image[part[0]] += xv.sum(2).T
        return per_image

    def _add_sparse(self, image: Tensor, channel: Tensor, position: Tensor, valid: Tensor, t: Tensor) -> Tensor:
        """The same from the few active values alone: sums over pairs of them at the same position."""
        b, c, device = len(valid), self.channels, valid.device
        position = image * valid.shape[1] + position
        v = valid.flatten().double()[position]
        per_image = torch.zeros(b * c, dtype=torch.float64, device=device)
        per_image.index_add_(0, image * c + channel, v)
        self._state["cross"].index_add_(0, channel, t[position])
        where, one, two = pairs(position, channel)
        v = valid.flatten().double()[where]
        self._state["gram"] += torch.bincount(one * c + two, v, minlength=c * c).view(c, c)
        return per_image.view(b, c)

    def solve(self, ridge: float = 1e-3) -> ConceptWeights:
        """Ridge regression of every concept on the standardised channels, one factorisation for all. `ridge` is added
        to the diagonal of the correlation matrix. Raises InputError while nothing was seen, or for a negative ridge."""
        if ridge < 0:
            raise InputError(f"ridge must not be negative, got {ridge}")
        m = self._moments()
        system = m.system + max(ridge, 1e-9) * torch.eye(self.channels, dtype=torch.float64, device=m.system.device)
        return self._detector(m, torch.cholesky_solve(m.right, torch.linalg.cholesky(system)))

    def channel_order(self, ridge: float = 1e-3) -> Tensor:
        """(K, C) channels of every concept, the largest |weight| on standardised channels first."""
        scale = self._moments().scale.cpu()
        size = self.solve(ridge).weight.double() * scale.reciprocal().nan_to_num(0, 0, 0)
        return size.abs().argsort(stable=True, dim=1, descending=True)

    def solve_top(self, count: int, ridge: float = 1e-3) -> ConceptWeights:
        """Detectors of only the `count` channels (1 to C) that weigh most in the full solve, each concept its own,
        refitted. Raises InputError for a count out of range, or as `solve`."""
        return self.solve_tops([count], ridge)[0]

    def solve_tops(self, counts: Sequence[int], ridge: float = 1e-3) -> list[ConceptWeights]:
        """`solve_top` for several counts at the cost of the largest: the channels of a smaller one are the first of a
        larger one, so its factor is a block of the larger one's."""
        wrong = [count for count in counts if not 1 <= count <= self.channels]
        if wrong or not counts:
            raise InputError(f"count must lie in 1 to {self.channels}, got {wrong[0] if wrong else 'none'}")
        m, most = self._moments(), max(counts)
        order = self.channel_order(ridge)[:, :most].to(self._state["gram"].device)
        system = m.system[order[:, :, None], order[:, None, :]]  # (K, most, most)
        factor = torch.linalg.cholesky(system + max(ridge, 1e-9) * torch.eye(most, dtype=system.dtype).to(system))
        right = m.right.T.gather(1, order)[:, :, None]
        made = []
        for count in counts:
            beta = torch.cholesky_solve(right[:, :count], factor[:, :count, :count])[:, :, 0]
            made.append(self._detector(m, torch.zeros_like(m.right.T).scatter_(1, order[:, :count], beta).T))
        return made

    def _moments(self) -> _Standardised:
        state, n = self._state, float(self._state["weight"])
        if not n > 0:
            raise InputError("no labelled positions yet: call update first")
        mean_x, mean_t = state["sum_x"] / n, state["sum_t"] / n
        covariance = state["gram"] / n - torch.outer(mean_x, mean_x)
        cross = state["cross"] / n - torch.outer(mean_x, mean_t)
        variance = covariance.diagonal()
        alive = variance > 1e-12 * (mean_x.square() + variance.mean())
        scale = torch.where(alive, variance.clamp(min=1e-300).rsqrt(), 0.0)
        eye = torch.eye(self.channels, dtype=torch.float64, device=scale.device)
        system = torch.where(torch.outer(alive, alive), covariance * torch.outer(scale, scale), eye)
        return _Standardised(mean_x, mean_t, covariance, cross, scale, system, scale[:, None] * cross)

    def _detector(self, m: _Standardised, beta: Tensor) -> ConceptWeights:
        """Detectors from weights (C, K) on standardised channels, scaled to scores of mean 0 and deviation 1."""
        weight, present = (m.scale[:, None] * beta).T, self._state["images"] > 0
        spread = (weight @ m.covariance * weight).sum(1).clamp(min=0).sqrt()
        variance_t = m.mean_t * (1 - m.mean_t)
        r2 = (2 * (weight * m.cross.T).sum(1) - spread.square()) / variance_t
        gain = torch.where(present & (spread > 1e-9), 1 / spread.clamp(min=1e-300), 0.0)
        weight = gain[:, None] * weight
        return ConceptWeights(
            weight=weight.float().cpu(),
            bias=-(weight @ m.mean_x).float().cpu(),
            present=present.cpu(),
            r2=torch.where(present & (variance_t > 0), r2, torch.nan).cpu(),
            thresholds=None if self.thresholds is None else self.thresholds.cpu(),
        )

    def unit_iou(self) -> Tensor:
        """(K, C) float64 set IoU of each single binarised channel with each concept, at the map's resolution, over the
        images seen that contain the concept; NaN for absent concepts (network dissection's one-unit baseline)."""
        state = self._state
        hit = state["cross"].T
        union = state["area"].T + state["sum_t"][:, None] - hit
        iou = torch.where(union > 0, hit / union, 0.0)
        return torch.where((state["images"] > 0)[:, None], iou, torch.nan).cpu()
