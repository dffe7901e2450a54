"""Concept detectors: weights on the channels of a probe point, their scores, and how few channels carry a concept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError

__all__ = ["ConceptWeights", "minimum_channels", "stack_weights"]


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
        scores: (N, K) set IoU (or R2) with that many channels. full: (K,) with all.
        share: of the full score above chance to be reached.
        chance: (K,) what no channel at all scores (`ConceptScores.curve[:, 0]`); 0 when None.

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
