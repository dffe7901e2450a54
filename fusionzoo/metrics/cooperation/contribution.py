"""What each modality contributes to the mIoU and to the IoU of every class, with errors over image groups.

The values of shapley.py, and their block jackknife (resample.py) that leaves the same group out of every subset, so
what is common to the subsets cancels in the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.cooperation.shapley import interactions, perceptual_score, shapley
from fusionzoo.metrics.segmentation.confusion import ConfusionMatrix, iou_from_confusion
from fusionzoo.metrics.stats.resample import jackknife

__all__ = ["Contribution", "Estimate", "contribution", "contribution_of", "perceptual_scores"]

INFO = MetricInfo(
    name="contribution to mIoU and class IoU", low=-1.0, high=1.0,
    larger_is="more of the score comes from the modality", invariant_to=("order of images",),
    cost="2^M evaluations of the model; O(groups 2^M K^2) after them",
    source="Shapley 1953; Grabisch and Roubens 1999; jackknife: Efron and Stein 1981",
)  # fmt: skip


@dataclass(frozen=True)
class Estimate:
    """A number for the mIoU and one for each class, (K,) float64, NaN where it has no IoU; with standard errors, NaN
    with fewer than two groups."""

    mean: float
    mean_se: float
    classes: Tensor
    classes_se: Tensor


@dataclass(frozen=True)
class Contribution:
    """What the modalities contribute.

    Attributes:
        score: subset -> mIoU and class IoU.
        shapley: modality -> contribution; over modalities they add up to score(all) - score(none).
        marginal: modality -> what is lost without it, all others present.
        interaction: pair -> synergy (above 0) or redundancy.
    """

    score: dict[frozenset[str], Estimate]
    shapley: dict[str, Estimate]
    marginal: dict[str, Estimate]
    interaction: dict[tuple[str, str], Estimate]


Subset = TypeVar("Subset", bound=tuple[str, ...] | frozenset[str])


def contribution_of(tallies: Mapping[Subset, Tensor], scores: Callable[[Tensor], Tensor]) -> Contribution:
    """Contribution of every modality to scores of any sums.

    Args:
        tallies: subset of modality names (the empty one included) -> (G, ...) sums over the same image groups.
        scores: sums (...) -> (K,) score of each class, NaN where it has none; the mean is over those that have one.

    Raises:
        InputError: a subset is missing.
    """
    keys = [frozenset([s] if isinstance(s, str) else s) for s in tallies]
    first = dict.fromkeys(keys, 0.0)
    names, pairs = list(shapley(first)), list(interactions(first)) if len(keys) > 2 else []
    whole = frozenset(names)

    def statistic(*totals: Tensor) -> Tensor:
        v = {key: _with_mean(scores(total)) for key, total in zip(keys, totals, strict=True)}
        shares, joint = shapley(v), interactions(v) if pairs else {}
        lost = (v[whole] - v[whole - {name}] for name in names)
        return torch.stack([*v.values(), *(shares[name] for name in names), *lost, *(joint[pair] for pair in pairs)])

    found = iter(_estimates(statistic, list(tallies.values())))
    return Contribution(
        score={key: next(found) for key in keys},
        shapley={name: next(found) for name in names},
        marginal={name: next(found) for name in names},
        interaction={pair: next(found) for pair in pairs},
    )


def _with_mean(scores: Tensor) -> Tensor:
    return torch.cat([scores.nanmean()[None], scores])


def _estimates(statistic: Callable[..., Tensor], tallies: list[Tensor]) -> list[Estimate]:
    """One for each row (1 + K) of a statistic: the mean, then the classes."""
    rows = zip(*jackknife(statistic, tallies), strict=True)
    return [Estimate(float(value[0]), float(se[0]), value[1:], se[1:]) for value, se in rows]


def _counts(matrices: Iterable[ConfusionMatrix]) -> list[Tensor]:
    counts = [m.state_dict()["counts"] for m in matrices]
    if len({c.shape for c in counts}) > 1:
        raise InputError(f"matrices must have the same groups and classes, got {[tuple(c.shape) for c in counts]}")
    return counts


def contribution(
    matrices: Mapping[Subset, ConfusionMatrix], per_class: Callable[[Tensor], Tensor] = iou_from_confusion
) -> Contribution:
    """Contribution of every modality to mIoU and class IoU, from the confusion matrices of all subsets.

    Args:
        matrices: subset of modality names (the empty one included) -> matrix over the same images and groups.
        per_class: (K, K) counts -> (K,) scores; `recall_from_confusion` for those to balanced accuracy and recall.

    Raises:
        InputError: a subset is missing, or classes or groups differ.

    >>> matrices = {}
    >>> for subset, wrong in {(): 4, ("rgb",): 2, ("x",): 2, ("rgb", "x"): 0}.items():
    ...     matrices[subset] = ConfusionMatrix(2)
    ...     target = torch.tensor([[[0, 0, 0, 0, 1, 1, 1, 1]]])
    ...     matrices[subset].update((target + (torch.arange(8) % 4 < wrong)) % 2, target)
    >>> result = contribution(matrices)
    >>> round(result.shapley["rgb"].mean, 4), round(result.interaction["rgb", "x"].mean, 4)
    (0.5, 0.3333)
    """
    return contribution_of(dict(zip(matrices, _counts(matrices.values()), strict=True)), per_class)


def perceptual_scores(
    full: ConfusionMatrix, permuted: ConfusionMatrix, per_class: Callable[[Tensor], Tensor] = iou_from_confusion
) -> Estimate:
    """Perceptual score of the mIoU and of every class: the share lost when one modality is permuted across images.

    Args:
        full: with the pairs as they are. permuted: the same images and groups, one modality permuted.
        per_class: as of `contribution`.

    >>> full, permuted, target = ConfusionMatrix(2), ConfusionMatrix(2), torch.tensor([[[0, 0, 1, 1]]])
    >>> full.update(target, target)
    >>> permuted.update(target.flip(2), target)
    >>> perceptual_scores(full, permuted).mean
    1.0
    """

    def statistic(*totals: Tensor) -> Tensor:
        return perceptual_score(*(_with_mean(per_class(t)) for t in totals))[None]

    return _estimates(statistic, _counts((full, permuted)))[0]
