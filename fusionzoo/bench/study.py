"""What predicts what, over the rows of a benchmark: rank correlations with bootstrap intervals."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fusionzoo.bench.plan import PUBLISHED, variant
from fusionzoo.bench.results import RunResult, final_results
from fusionzoo.errors import InputError
from fusionzoo.metrics.stats.ranks import ranks

__all__ = [
    "ABSENT",
    "DRAWS",
    "FEWEST",
    "TARGETS",
    "Correlation",
    "centred_ranks",
    "comparable",
    "correlation",
    "correlations",
    "middle",
    "row_means",
    "spearman",
]

ABSENT = ("without_rgb", "without_x")
TARGETS = ("mIoU", "a modality missing", "inputs damaged")
"""What figures are to predict: the score with both inputs; its mean without rgb and without x; its mean under the
corruptions, both as they are (mIoU)."""
DRAWS = 2000
FEWEST = 5
"""Rows below which no interval is given: fewer say nothing."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of a figure with a target over `n` strategies, 95 % bootstrap interval over them."""

    figure: str
    target: str
    rho: float
    low: float
    high: float
    n: int


def spearman(one: Sequence[float], two: Sequence[float], draws: int = DRAWS) -> tuple[float, float, float]:
    """(rho, low, high): Spearman's correlation and its percentile interval over `draws` bootstrap samples of the pairs.

    NaN where a list is constant. The draws are always the same.

    >>> spearman([1, 2, 3, 4, 5, 6], [2, 4, 6, 8, 10, 13], draws=100)
    (1.0, 1.0, 1.0)

    Raises:
        InputError: lists of different lengths, or fewer than 3 pairs.
    """
    a, b = np.asarray(one, np.float64), np.asarray(two, np.float64)
    if len(a) != len(b) or len(a) < 3:
        raise InputError(f"a rank correlation needs 3 pairs or more, got {len(a)} and {len(b)} values")
    drawn = np.random.default_rng(0).integers(0, len(a), (draws, len(a)))
    low, high = middle(correlation(centred_ranks(a[drawn]), centred_ranks(b[drawn])))
    return float(correlation(centred_ranks(a), centred_ranks(b))), low, high


def centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks along the last axis about their mean; equal values share their mean rank."""
    found: NDArray[np.float64] = ranks(torch.from_numpy(values)).numpy()
    return found - found.mean(-1, keepdims=True)


def correlation(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation along the last axis of values about their means; NaN where they are constant."""
    scale = np.sqrt((u * u).sum(-1) * (v * v).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(scale > 1e-9, np.round((u * v).sum(-1) / scale, 12), np.nan)


def middle(found: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the middle 95 % of the values that are numbers; NaN where none is."""
    kept = found[~np.isnan(found)]
    return (float(np.quantile(kept, 0.025)), float(np.quantile(kept, 0.975))) if len(kept) else (np.nan, np.nan)


def comparable(results: Sequence[RunResult]) -> list[RunResult]:
    """Final runs of strategies that see both inputs, each strategy once: what a correlation over strategies counts.

    Rows with the rule or with options are near-twins of their strategy and would narrow the intervals, and so would
    strategies that are one model under several names (FuseNet and RedNet add in the same way: equal scores in every
    run), of which the first counts; those of one input alone are last everywhere and would make any two rankings agree;
    published architectures differ in encoder and decoder too.
    """
    plain = [r for r in final_results(results) if variant(r.strategy).fusion == r.strategy]
    rows: dict[str, list[RunResult]] = {}
    for run in plain:
        if not run.strategy.endswith("_only") and not run.strategy.startswith(PUBLISHED):
            rows.setdefault(run.strategy, []).append(run)
    models: dict[str, list[RunResult]] = {}
    for runs in rows.values():
        models.setdefault(repr(sorted((r.seed, sorted(r.scores.items())) for r in runs)), runs)
    return [run for runs in models.values() for run in runs]


def row_means(results: Sequence[RunResult]) -> dict[str, dict[str, float]]:
    """Strategy -> its targets, figures and costs as means over seeds; only final runs.

    What a run does not have is left out of that strategy's means.
    """
    rows: dict[str, dict[str, list[float]]] = {}
    for run in final_results(results):
        values = rows.setdefault(run.strategy, {})
        gone = [s.miou for c, s in run.scores.items() if c in ABSENT]
        hurt = [s.miou for c, s in run.scores.items() if c not in (*ABSENT, "both")]
        parts = {"mIoU": [run.scores["both"].miou], "a modality missing": gone, "inputs damaged": hurt}
        numbers = {name: statistics.fmean(v) for name, v in parts.items() if v}
        numbers |= run.figures | {"parameters": float(run.num_params), "GMACs": run.gmacs}
        for name, value in numbers.items():
            values.setdefault(name, []).append(value)
    return {row: {name: statistics.fmean(v) for name, v in values.items()} for row, values in rows.items()}


def correlations(results: Sequence[RunResult]) -> list[Correlation]:
    """Every figure and cost with every target, over the `comparable` strategies that have both.

    Figures of one stage are left out. Empty with fewer than FEWEST strategies.
    """
    rows = row_means(comparable(results))
    names = dict.fromkeys(name for row in rows.values() for name in row if " stage " not in name)
    out = []
    for figure in names:
        for target in TARGETS:
            pairs = [(row[figure], row[target]) for row in rows.values() if figure in row and target in row]
            if figure not in TARGETS and len(pairs) >= FEWEST:
                rho, low, high = spearman([a for a, _ in pairs], [b for _, b in pairs])
                if rho == rho:
                    out.append(Correlation(figure, target, rho, low, high, len(pairs)))
    return out
