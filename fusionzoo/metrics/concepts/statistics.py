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
from torch.nn import functional

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


@dataclass(frozen=True)
class ConceptWeights:
    """A linear detector per concept.

    Scores are standardised over the positions of the train half: mean 0, standard deviation 1 (0 everywhere for
    concepts that are absent or that no channel correlates with).

    Attributes:
        weight: (K, C) float32.
        bias: (K,) float32.
        present: (K,) bool, concepts seen in training.
        r2: (K,) float64 share of the concept's variance that the channels explain; NaN where absent.
        thresholds: (C,) float32 that binarise the channels first, or None for raw channels.
    """

    weight: Tensor
    bias: Tensor
    present: Tensor
    r2: Tensor
    thresholds: Tensor | None

    def score(self, maps: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """(B, K, H, W) float32 scores of maps (B, C, h, w), upsampled bilinearly to `size` where given."""
        maps = maps.detach()
        with torch.no_grad(), torch.autocast(maps.device.type, enabled=False):
            weight, bias = self.weight.to(maps.device), self.bias.to(maps.device)
            flat, shape = maps.flatten(2), maps.shape[2:]
            if self.thresholds is not None:
                binary = torch.empty(flat.shape, dtype=weight.dtype, device=flat.device)
                flat = torch.gt(flat, self.thresholds.to(flat)[:, None], out=binary)
            spread = weight.expand(len(flat), *weight.shape)
            scores = torch.baddbmm(bias[:, None].expand(len(flat), -1, 1), spread, flat.to(weight.dtype))
            scores = scores.unflatten(2, shape)
            if size is not None and tuple(size) != tuple(scores.shape[2:]):
                scores = functional.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return scores


def stack_weights(weights: Sequence[ConceptWeights]) -> ConceptWeights:
    """Detectors side by side: n sets of K concepts as one of n K, set after set, for one `ConceptCurve`.

    Raises:
        InputError: none given, or the sets differ in channels or thresholds.

    >>> one = ConceptWeights(torch.ones(2, 3), torch.zeros(2), torch.ones(2).bool(), torch.ones(2), None)
    >>> stack_weights([one, one]).weight.shape
    torch.Size([4, 3])
    """
    if not weights:
        raise InputError("no detectors to stack")
    first = weights[0].thresholds
    for w in weights:
        same = w.thresholds is first or (w.thresholds is not None and first is not None and w.thresholds.equal(first))
        if w.weight.shape[1] != weights[0].weight.shape[1] or not same:
            raise InputError("detectors must share channels and thresholds to be stacked")
    join = lambda name: torch.cat([getattr(w, name) for w in weights])  # noqa: E731
    return ConceptWeights(join("weight"), join("bias"), join("present"), join("r2"), first)


def minimum_channels(
    counts: Sequence[int], scores: Tensor, full: Tensor, share: float = 0.9, chance: Tensor | None = None
) -> Tensor:
    """Smallest number of channels that carry a concept: with which it reaches a share of its full score.

    Args:
        counts: (N,) numbers of channels, rising, of `ConceptStatistics.solve_top`.
        scores: (N, K) set IoU (or R2) with that many channels.
        full: (K,) with all channels.
        share: of the full score to be reached.
        chance: (K,) what no channel at all scores (`ConceptScores.curve[:, 0]`); then the share is of what `full` has
            above it. 0 when None.

    Returns:
        (K,) int64; 0 for concepts that are absent (NaN), not above chance, or not reached by any of the counts.

    >>> minimum_channels([1, 2, 4], torch.tensor([[0.3], [0.46], [0.5]]), torch.tensor([0.5])).tolist()
    [2]
    """
    if scores.ndim != 2 or len(counts) != len(scores) or full.shape != scores.shape[1:]:
        raise InputError(f"need scores (N, K) for N counts and (K,) in full, got {tuple(scores.shape)}")
    if any(b <= a for a, b in zip(counts, counts[1:], strict=False)) or not 0 < share <= 1:
        raise InputError(f"counts must rise and share lie in (0, 1], got {list(counts)} and {share}")
    base = torch.zeros_like(full) if chance is None else chance
    reached = (scores - base >= share * (full - base) - 1e-12) & (full > base)
    first = reached.int().argmax(0)
    return torch.where(reached.any(0), torch.tensor(list(counts))[first], 0)


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
        """Ridge regression of every concept on the standardised channels, one factorisation for all.

        Args:
            ridge: added to the diagonal of the correlation matrix.

        Raises:
            InputError: nothing seen yet, or a negative ridge.
        """
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
        """Detectors of only the `count` channels that weigh most in the full solve, each concept its own, refitted.

        Args:
            count: channels a detector may use, 1 to C.
            ridge: as for `solve`.

        Raises:
            InputError: a count out of range, or as for `solve`.
        """
        if not 1 <= count <= self.channels:
            raise InputError(f"count must lie in 1 to {self.channels}, got {count}")
        m, order = self._moments(), self.channel_order(ridge)[:, :count].to(self._state["gram"].device)
        small = m.system[order[:, :, None], order[:, None, :]]  # (K, count, count)
        small = small + max(ridge, 1e-9) * torch.eye(count, dtype=torch.float64, device=small.device)
        right = m.right.T.gather(1, order)[:, :, None]
        beta = torch.zeros_like(m.right.T).scatter_(1, order, torch.linalg.solve(small, right)[:, :, 0])
        return self._detector(m, beta.T)

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
