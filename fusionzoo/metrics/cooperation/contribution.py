"""What each modality contributes to the mIoU and to the IoU of every class, with errors over image groups.

From one confusion matrix per subset of modalities, all over the same images and the same groups: the values of
cooperation.py, and their block jackknife (resample.py) that leaves the same group out of every subset, so what is
common to the subsets cancels in the differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.cooperation.shapley import interactions, perceptual_score, shapley
from fusionzoo.metrics.segmentation.confusion import ConfusionMatrix, iou_from_confusion
from fusionzoo.metrics.stats.resample import jackknife

__all__ = ["INFO", "Contribution", "Estimate", "contribution", "perceptual_scores"]

INFO = MetricInfo(
    name="contribution to mIoU and class IoU",
    low=-1.0,
    high=1.0,
    larger_is="more of the score comes from the modality",
    invariant_to=("order of images",),
    cost="2^M evaluations of the model; O(groups 2^M K^2) after them",
    source="Shapley 1953; Grabisch and Roubens 1999; jackknife: Efron and Stein 1981",
)


@dataclass(frozen=True)
class Estimate:
    """A number for the mean over classes and one for each class, with standard errors (NaN with fewer than 2 groups).

    Attributes:
        mean, mean_se: of the mIoU. classes, classes_se: (K,) float64, of each class; NaN for classes without IoU.
    """

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


Table = dict[frozenset[str], Tensor]


def _estimate(of: Callable[[Table], Tensor], keys: list[frozenset[str]], counts: list[Tensor]) -> Estimate:
    def statistic(*totals: Tensor) -> Tensor:
        iou = [iou_from_confusion(t) for t in totals]
        table = {key: torch.cat([v.nanmean()[None], v]) for key, v in zip(keys, iou, strict=True)}
        return of(table)

    value, se = jackknife(statistic, counts)
    return Estimate(float(value[0]), float(se[0]), value[1:], se[1:])


def _key(subset: frozenset[str] | tuple[str, ...] | str) -> frozenset[str]:
    return frozenset([subset] if isinstance(subset, str) else subset)


def contribution(matrices: Mapping[tuple[str, ...] | frozenset[str], ConfusionMatrix]) -> Contribution:
    """Contribution of every modality from the confusion matrices of all subsets.

    The score of a class is its IoU; its share in the mean is that of the mIoU of each subset.

    Args:
        matrices: subset of modality names (the empty one included) -> matrix over the same images, with the same
            groups.

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
    keys = [_key(subset) for subset in matrices]
    counts = [m.state_dict()["counts"] for m in matrices.values()]
    if len({c.shape for c in counts}) > 1:
        raise InputError(f"matrices must have the same groups and classes, got {[tuple(c.shape) for c in counts]}")
    first = dict.fromkeys(keys, 0.0)
    names, pairs = list(shapley(first)), list(interactions(first)) if len(keys) > 2 else []
    whole = frozenset(names)

    def marginal(name: str) -> Callable[[Table], Tensor]:
        return lambda v: v[whole] - v[whole - {name}]

    def alone(name: str) -> Callable[[Table], Tensor]:
        return lambda v: shapley(v)[name]

    def pair(names: tuple[str, str]) -> Callable[[Table], Tensor]:
        return lambda v: interactions(v)[names]

    return Contribution(
        score={k: _estimate(itemgetter(k), keys, counts) for k in keys},
        shapley={n: _estimate(alone(n), keys, counts) for n in names},
        marginal={n: _estimate(marginal(n), keys, counts) for n in names},
        interaction={p: _estimate(pair(p), keys, counts) for p in pairs},
    )


def perceptual_scores(full: ConfusionMatrix, permuted: ConfusionMatrix) -> Estimate:
    """Perceptual score of the mIoU and of every class: the share lost when one modality is permuted across images.

    Args:
        full: with the pairs as they are. permuted: the same images and groups, one modality permuted.

    >>> full, permuted, target = ConfusionMatrix(2), ConfusionMatrix(2), torch.tensor([[[0, 0, 1, 1]]])
    >>> full.update(target, target)
    >>> permuted.update(target.flip(2), target)
    >>> perceptual_scores(full, permuted).mean
    1.0
    """
    counts = [m.state_dict()["counts"] for m in (full, permuted)]
    if counts[0].shape != counts[1].shape:
        raise InputError(f"matrices must have the same groups and classes, got {[tuple(c.shape) for c in counts]}")
    keys = [frozenset({"full"}), frozenset({"permuted"})]
    return _estimate(lambda v: perceptual_score(v[keys[0]], v[keys[1]]), keys, counts)
