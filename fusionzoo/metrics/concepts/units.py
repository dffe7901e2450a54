"""Unit dissection: how well one channel alone marks one concept (Bau et al. 2017, network dissection).

Channel c marks the positions of its map, upsampled bilinearly to the masks' grid, that exceed its threshold T_c,
P(A_c > T_c) = tau (sketch.py). Set IoU(c, k) = sum |M_c and L_k| / sum |M_c or L_k| over the images that contain
concept k. A unit is called a detector of its best concept where that IoU exceeds 0.04.

`ConceptStatistics.unit_iou` gives the same table at the map's own resolution as a by-product of the ridge solve.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import Accumulator, MetricInfo, accumulates, at_least_one, check_finite, int_state
from fusionzoo.metrics.concepts.masks import checked_masks, contains
from fusionzoo.metrics.concepts.statistics import checked_thresholds
from fusionzoo.metrics.stats.resample import image_groups, jackknife

__all__ = ["UnitDissection", "UnitScores"]

DETECTOR = 0.04  # IoU above which a unit detects its best concept


@dataclass(frozen=True)
class UnitScores:
    """Set IoU of every channel with every concept.

    Attributes:
        iou: (C, K) float64; NaN for concepts that no image contains.
        iou_se: (C, K) jackknife standard errors over image groups; NaN with fewer than two.
        concept: (C,) best concept of each unit, -1 where there is none.
        best: (C,) its IoU, NaN where there is none.
        unit: (K,) best unit of each concept, -1 where absent.
        unit_best: (K,) its IoU: what a linear combination of channels has to beat.
        images: (K,) images that contain the concept.
    """

    iou: Tensor
    iou_se: Tensor
    concept: Tensor
    best: Tensor
    unit: Tensor
    unit_best: Tensor
    images: Tensor

    def detectors(self, above: float = DETECTOR) -> Tensor:
        """(K,) int64, units whose best concept this is, with an IoU above a bound."""
        found = self.concept[(self.best > above) & (self.concept >= 0)]
        return torch.bincount(found, minlength=self.iou.shape[1])

    def unique_detectors(self, above: float = DETECTOR) -> int:
        """Concepts that at least one unit detects."""
        return int((self.detectors(above) > 0).sum())


class UnitDissection(Accumulator):
    """Counts, for every channel and concept, the positions that are marked, labelled, and both.

    Args:
        channels: C.
        concepts: K.
        thresholds: (C,) above which a channel marks; `Quantiles.compute()`.
        groups: image groups kept apart for the block jackknife; state is groups x 2 C K integers.

    >>> units = UnitDissection(2, 1, torch.tensor([0.5, 0.5]))
    >>> mask = torch.tensor([[[[True, True, False, False]]]])
    >>> units.update(torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0, 0.0]]]]), mask)
    >>> units.compute().iou.flatten().tolist(), units.compute().unit.tolist()
    ([1.0, 0.3333333333333333], [0])
    """

    info = MetricInfo(
        name="unit dissection IoU", low=0.0, high=1.0, larger_is="better detector",
        invariant_to=("order of images", "permutation of channels"), cost="state groups x 2 C K integers; O(n C K)",
        source="Bau et al. 2017 (network dissection)",
    )  # fmt: skip
    choices = ("channels", "concepts", "groups", "thresholds")

    def __init__(self, channels: int, concepts: int, thresholds: Tensor, groups: int = 1) -> None:
        super().__init__()
        at_least_one(channels=channels, concepts=concepts, groups=groups)
        self.channels, self.concepts, self.groups = channels, concepts, groups
        self.thresholds = checked_thresholds(thresholds, channels)
        whole = (groups, channels, concepts)
        self._state = int_state(both=whole, marked=whole, labelled=(groups, concepts), images=(groups, concepts))

    @accumulates
    def update(self, maps: Tensor, masks: Tensor, valid: Tensor | None = None, *, group: int | Tensor = 0) -> None:
        """Adds a batch.

        Args:
            maps: (B, C, h, w); upsampled bilinearly (align_corners=False) where the masks are of another size.
            masks: (B, K, H, W) bool (floating masks count from 0.5).
            valid: (B, H, W) bool, positions that are labelled; all when None.
            group: image group, 0 .. groups-1; int or (B,) integers.

        Raises:
            InputError: shapes do not fit, group out of range, or maps are not finite.
        """
        b = len(maps)
        if maps.ndim != 4 or maps.shape[1] != self.channels:
            raise InputError(f"maps must be (B, {self.channels}, h, w), got {tuple(maps.shape)}")
        check_finite(maps.sum(), "maps have")
        masks, valid = checked_masks(masks, b, self.concepts, valid)
        size = masks.shape[2:]
        groups = image_groups(group, b, self.groups, maps.device)
        thresholds, holds, state = self.thresholds.to(maps.device), contains(masks), self._state
        for i, g in enumerate(groups.tolist()):
            chosen = holds[i].nonzero().flatten()
            if not len(chosen):
                continue
            one = maps[i : i + 1].float()
            if one.shape[2:] != size:
                one = functional.interpolate(one, size=size, mode="bilinear", align_corners=False)
            marks = one[0] > thresholds[:, None, None]
            if valid is not None:
                marks &= valid[i]
            # 0/1 products in float32 are exact up to 2^24 positions an image
            exact = torch.float32 if size.numel() < 1 << 24 else torch.float64
            label = masks[i, chosen].flatten(1)
            state["both"][g, :, chosen] += (marks.flatten(1).to(exact) @ label.to(exact).T).long()
            state["marked"][g, :, chosen] += marks.flatten(1).sum(1)[:, None]
            state["labelled"][g, chosen] += label.sum(1)
            state["images"][g, chosen] += 1

    def compute(self) -> UnitScores:
        """Scores of everything seen."""
        state = {name: value.cpu() for name, value in self._state.items()}
        iou, se = jackknife(_iou, [state["both"], state["marked"], state["labelled"]])
        best, concept = iou.nan_to_num(-1).max(1)
        unit_best, unit = iou.nan_to_num(-1).max(0)
        return UnitScores(
            iou=iou,
            iou_se=se,
            concept=torch.where(best < 0, -1, concept),
            best=torch.where(best < 0, torch.nan, best),
            unit=torch.where(unit_best < 0, -1, unit),
            unit_best=torch.where(unit_best < 0, torch.nan, unit_best),
            images=state["images"].sum(0),
        )


def _iou(both: Tensor, marked: Tensor, labelled: Tensor) -> Tensor:
    iou = both.double() / (marked + labelled - both).double()
    return torch.where(labelled > 0, iou, torch.nan)
