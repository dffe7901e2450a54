"""Set IoU of scores against concept masks for every threshold, from histograms inside and outside the concepts.

With H1(s), H0(s) the positions inside and outside a concept whose score exceeds s, and L the positions inside:
set IoU(s) = H1(s) / (L + H0(s)). The threshold is the best of the train half. Marking everything is one of the
thresholds, so a concept that is not encoded at all scores its area share, not 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates, check_finite, int_state
from fusionzoo.metrics.concepts.masks import checked_masks, contains
from fusionzoo.metrics.stats.resample import image_groups, jackknife

__all__ = ["ConceptCurve", "ConceptScores", "iou_curve"]

KNEE = 4.0  # bins are even in score / (KNEE + |score|): width 2 KNEE / bins near 0, wider in proportion far out


@dataclass(frozen=True)
class ConceptScores:
    """Set IoU of each concept at one probe point; NaN where the concept is absent from either half.

    Attributes:
        iou: (K,) float64 on the evaluation half, at the threshold chosen on the train half.
        iou_se: (K,) block jackknife standard error of `iou` with that threshold; NaN with fewer than two groups.
        train_iou: (K,) on the train half at the same threshold.
        threshold: (K,) score above which a position is marked.
        curve: (K, bins) set IoU on the evaluation half over `edges`.
        edges: (bins,) the thresholds of the curve.
        n_train, n_eval: (K,) images that contain the concept.
    """

    iou: Tensor
    iou_se: Tensor
    train_iou: Tensor
    threshold: Tensor
    curve: Tensor
    edges: Tensor
    n_train: Tensor
    n_eval: Tensor


class ConceptCurve(Accumulator):
    """Histograms of scores inside and outside each concept, for the train half and for groups of the other half.

    Args:
        concepts: K.
        bins: score bins, even in s / (4 + |s|): fine near 0, coarser far out, no upper limit.
        groups: groups of evaluation images kept apart for the block jackknife; state is (1 + groups) x K x 2 x bins.
        images: "containing" counts only images that contain the concept (Net2Vec), "all" counts every image.

    >>> curve = ConceptCurve(1)
    >>> score, mask = torch.tensor([[[[0.0, 1.0, 2.0, 3.0]]]]), torch.tensor([[[[False, False, True, True]]]])
    >>> curve.update(score, mask, train=True)
    >>> curve.update(score, mask, train=False)
    >>> curve.compute().iou.item(), 1 < curve.compute().threshold.item() < 2
    (1.0, True)
    """

    info = MetricInfo(
        name="concept set IoU", low=0.0, high=1.0, larger_is="better encoded", invariant_to=("order of images",),
        cost="state (1 + groups) x 2 K bins integers; O(n K)",
        source="set IoU: Fong and Vedaldi 2018 (Net2Vec); threshold calibration of ours",
    )  # fmt: skip
    choices = ("concepts", "bins", "groups", "images")

    def __init__(self, concepts: int, bins: int = 512, groups: int = 1, images: str = "containing") -> None:
        super().__init__()
        if concepts < 1 or bins < 2 or groups < 1:
            raise InputError(f"need concepts >= 1, bins >= 2, groups >= 1, got {concepts}, {bins}, {groups}")
        if images not in ("containing", "all"):
            raise InputError(f"unknown images {images!r}: use 'containing' or 'all'")
        self.concepts, self.bins, self.groups, self.images = concepts, bins, groups, images
        self._state = int_state(counts=(1 + groups, concepts, 2, bins), images=(1 + groups, concepts))

    @property
    def edges(self) -> Tensor:
        """(bins,) float64 lower edges of the bins: a score at or above the edge is marked. The first is -infinity."""
        level = torch.linspace(-1, 1, self.bins + 1, dtype=torch.float64)[:-1]
        edges = KNEE * level / (1 - level.abs())
        edges[0] = float("-inf")
        return edges

    @accumulates
    def update(
        self,
        scores: Tensor,
        masks: Tensor,
        valid: Tensor | None = None,
        *,
        train: bool | Tensor = False,
        group: int | Tensor = 0,
    ) -> None:
        """Adds a batch.

        Args:
            scores: (B, K, h, w) from `ConceptWeights.score`. Where the masks are of another size, scores are upsampled
                to it bilinearly (align_corners=False), which costs least here: only scores that count are upsampled.
            masks: (B, K, H, W) bool on the evaluation grid (floating masks count from 0.5).
            valid: (B, H, W) bool, positions that are labelled; all when None.
            train: whether the images belong to the train half; bool or (B,) bool.
            group: evaluation group of the images, 0 .. groups-1; int or (B,) integers. Ignored for train images.

        Raises:
            InputError: shapes do not fit, group out of range, or scores are not finite.
        """
        b, k = len(scores), self.concepts
        if scores.ndim != 4 or scores.shape[1] != k:
            raise InputError(f"scores must be (B, {k}, h, w), got {tuple(scores.shape)}")
        check_finite(scores.sum(), "scores have")
        masks, valid = checked_masks(masks, b, k, valid)
        size, holds = masks.shape[2:], contains(masks)
        in_train = torch.as_tensor(train, dtype=torch.bool, device=scores.device).expand(b)
        slots = torch.where(in_train, 0, image_groups(group, b, self.groups, scores.device) + 1)
        self._state["images"].index_add_(0, slots, holds.long())
        counted = holds if self.images == "containing" else torch.ones_like(holds)
        for i, slot in enumerate(slots.tolist()):  # an image at a time stays in the processor's cache
            chosen = counted[i].nonzero().flatten()
            if len(chosen):
                score = scores[i, chosen].float()
                if score.shape[1:] != size:
                    score = functional.interpolate(score[None], size=size, mode="bilinear", align_corners=False)[0]
                place = masks[i, chosen].int().mul_(self.bins)
                place += (chosen.int() * (2 * self.bins))[:, None, None]
                if valid is not None:
                    place.masked_fill_(~valid[i], 2 * k * self.bins)  # counted apart, dropped below
                self._count(score, place, slot)

    def _count(self, score: Tensor, place: Tensor, slot: int) -> None:
        level = score.abs().add_(KNEE)
        level = torch.div(score, level, out=level).add_(1).mul_(self.bins / 2).clamp_(0, self.bins - 1)
        used = 2 * self.concepts * self.bins
        counts = torch.bincount(place.add_(level.int()).flatten(), minlength=used + self.bins)
        self._state["counts"][slot] += counts[:used].view(self.concepts, 2, self.bins)

    def _best(self) -> Tensor:
        """(K,) bin from which the set IoU of the train half is largest."""
        return iou_curve(self._state["counts"][0].cpu()).nan_to_num(-1).argmax(1)

    def at_thresholds(self) -> tuple[Callable[[Tensor], Tensor], Tensor, Tensor]:
        """What a statistic of several curves needs to be jackknifed over their common groups.

        Returns:
            How to read the set IoU (K,) off evaluation counts (K, 2, bins) at the thresholds of the train half; those
            counts by group (groups, K, 2, bins); the concepts (K,) bool that either half lacks.
        """
        counts, images, best = self._state["counts"].cpu(), self._state["images"].cpu(), self._best()[:, None]
        absent = (images[0] == 0) | (images[1:].sum(0) == 0)
        return lambda c: iou_curve(c).gather(1, best)[:, 0], counts[1:], absent

    def compute(self) -> ConceptScores:
        """Calibrates on the train half and scores the evaluation half."""
        (read, counts, absent), images = self.at_thresholds(), self._state["images"].cpu()
        iou, se = jackknife(read, [counts])
        hide = lambda value: torch.where(absent, torch.nan, value)  # noqa: E731
        return ConceptScores(
            iou=hide(iou),
            iou_se=hide(se),
            train_iou=hide(read(self._state["counts"][0].cpu())),
            threshold=hide(self.edges[self._best()]),
            curve=torch.where(absent[:, None], torch.nan, iou_curve(counts.sum(0))),
            edges=self.edges,
            n_train=images[0],
            n_eval=images[1:].sum(0),
        )


def iou_curve(counts: Tensor) -> Tensor:
    """(K, bins) set IoU at and above each bin, from (K, 2, bins) counts (0 outside, 1 inside); NaN if never inside."""
    above = counts.double().flip(-1).cumsum(-1).flip(-1)
    positives = counts[:, 1].sum(-1, keepdim=True).double()
    iou = above[:, 1] / (positives + above[:, 0])
    return torch.where(positives > 0, iou, torch.nan)
