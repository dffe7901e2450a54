"""One call per recipe for the set IoU of concepts in maps held in memory: to compare recipes, and for small data.

"ridge" (statistics.py) and "logistic" (logistic.py) calibrate the threshold on the train images; "net2vec-2018"
(net2vec.py) has a fixed one. The streaming accumulators give the same numbers for data of any size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusionzoo.errors import InputError, check_known
from fusionzoo.metrics.concepts.curve import ConceptCurve
from fusionzoo.metrics.concepts.logistic import LogisticStep, fit_logistic
from fusionzoo.metrics.concepts.masks import grid_masks
from fusionzoo.metrics.concepts.net2vec import net2vec_2018
from fusionzoo.metrics.concepts.statistics import ConceptStatistics, ConceptWeights
from fusionzoo.metrics.stats.sketch import Quantiles

__all__ = ["RECIPES", "ConceptFit", "fit_concepts"]

RECIPES = ("ridge", "logistic", "net2vec-2018")
BATCH = 32  # images at once


@dataclass(frozen=True)
class ConceptFit:
    """Detectors of all concepts by one recipe.

    Attributes:
        recipe: name. weights: the detectors; those of "net2vec-2018" have no bias and mark scores above 0.
        iou: (K,) float64 set IoU on the images that were not trained on; NaN where the concept is absent.
        train_iou, iou_se, threshold: (K,) as of `ConceptScores`; no errors for "net2vec-2018".
    """

    recipe: str
    weights: ConceptWeights
    iou: Tensor
    train_iou: Tensor
    iou_se: Tensor
    threshold: Tensor


def fit_concepts(
    maps: Tensor,
    masks: Tensor,
    train: Tensor,
    recipe: str = "ridge",
    *,
    tau: float | None = 0.005,
    groups: int = 8,
    seed: int = 0,
) -> ConceptFit:
    """Fits and scores concepts by a recipe.

    Args:
        maps: (N, C, h, w) activations.
        masks: (N, K, H, W) bool, not smaller than the maps; IoU is measured at this size.
        train: (N,) bool, images to train on.
        recipe: one of RECIPES.
        tau: share of activations above a channel's threshold; None for raw channels (not for "net2vec-2018").
        groups: contiguous groups of the other images, for the error.
        seed: of the first weights of "net2vec-2018".

    Raises:
        UnknownNameError: an unknown recipe. InputError: shapes do not fit.

    >>> g = torch.Generator().manual_seed(0)
    >>> maps = torch.randn(16, 4, 8, 8, generator=g)
    >>> fit = fit_concepts(maps, maps[:, 1:2] > 1, torch.arange(16) % 2 == 0, tau=None)
    >>> int(fit.weights.weight.abs().argmax()), bool(fit.iou[0] > 0.8)
    (1, True)
    """
    check_known("concept recipe", recipe, RECIPES)
    if maps.ndim != 4 or masks.ndim != 4 or len(maps) != len(masks) or train.shape != (len(maps),):
        shapes = ", ".join(str(tuple(t.shape)) for t in (maps, masks, train))
        raise InputError(f"need maps (N, C, h, w), masks (N, K, H, W), train (N,): got {shapes}")
    train, (c, k) = train.bool(), (maps.shape[1], masks.shape[1])
    if recipe == "net2vec-2018":
        if tau is None:
            raise InputError("net2vec-2018 is defined on thresholded channels: give a tau, 0.005 as published")
        result = net2vec_2018(maps, masks, train, tau=tau, seed=seed)
        absent, nan = result.weight[:, 0].isnan(), torch.full((k,), torch.nan, dtype=torch.float64)
        weights = ConceptWeights(result.weight.nan_to_num(0), torch.zeros(k), ~absent, nan, result.thresholds)
        return ConceptFit(recipe, weights, result.iou, result.train_iou, nan, torch.where(absent, nan, 0.0))
    thresholds = None
    if tau is not None:
        sketch = Quantiles(c, tau)
        for part in maps.split(BATCH):
            sketch.update(part)
        thresholds = sketch.compute()
    size = (maps.shape[2], maps.shape[3])
    chosen = train.nonzero().flatten().split(BATCH)

    def feed(sums: ConceptStatistics | LogisticStep) -> None:
        for index in chosen:
            sums.update(maps[index], *grid_masks(masks[index], size))

    if recipe == "ridge":
        statistics = ConceptStatistics(c, k, thresholds)
        feed(statistics)
        weights = statistics.solve()
    else:
        weights = fit_logistic(feed, c, k, thresholds=thresholds).weights
    curve = ConceptCurve(k, groups=groups)
    place = (~train).cumsum(0) - 1
    group = (place.clamp(min=0) * groups // max(int((~train).sum()), 1)).clamp(max=groups - 1)
    for index in torch.arange(len(maps)).split(BATCH):
        curve.update(weights.score(maps[index]), masks[index], train=train[index], group=group[index])
    scores = curve.compute()
    return ConceptFit(recipe, weights, scores.iou, scores.train_iou, scores.iou_se, scores.threshold)
