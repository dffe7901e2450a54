"""Scores when modalities fail or are corrupted: the expected score under random failures, and what is retained.

V(S) is the score with the modalities S intact. Where each of M modalities fails by itself with probability p,
E = sum over S of (1 - p)^|S| p^(M - |S|) V(S). Retention is relative, as in Hendrycks and Dietterich 2019: the mean
score over the severities of a corruption, over the clean score.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo
from fusionzoo.metrics.cooperation.shapley import Scores, subset_scores

__all__ = ["expected_score", "retention"]

INFO: dict[str, MetricInfo] = {
    "expected_score": MetricInfo(
        "expected score under failing modalities", 0.0, 1.0, "more robust", (), "2^M evaluations of the model",
        "expectation over independent failures; protocol of arXiv 2503.18445",
    ),
    "retention": MetricInfo(
        "retention under corruption", 0.0, None, "more robust", ("isotropic scaling of all scores",), "O(T)",
        "relative score as in Hendrycks and Dietterich 2019",
    ),
}  # fmt: skip


def expected_score(values: Scores, probability: float) -> Tensor:
    """Expected score where each modality fails on its own with `probability`.

    Args:
        values: subset of intact modalities -> score, as for `shapley`; the empty subset is where all fail.
        probability: of a failure, 0 to 1.

    Raises:
        InputError: a subset is missing, or a probability that cannot be.

    >>> v = {(): 0.0, ("rgb",): 0.3, ("x",): 0.2, ("rgb", "x"): 0.6}
    >>> round(float(expected_score(v, 0.5)), 4), float(expected_score(v, 0))
    (0.275, 0.6)
    """
    if not 0 <= probability <= 1:
        raise InputError(f"probability must lie in 0 to 1, got {probability}")
    names, table = subset_scores(values)
    total = torch.zeros_like(table[frozenset()])
    for failed in range(len(names) + 1):  # all subsets of a size are as likely
        chance = (1 - probability) ** (len(names) - failed) * probability**failed
        scores = [score for subset, score in table.items() if len(subset) == len(names) - failed]
        total = total + chance * torch.stack(scores).sum(0)
    return total


def retention(scores: Sequence[float]) -> tuple[float, float]:
    """What a score keeps under a corruption.

    Args:
        scores: (T,) the clean score first, then one for each severity; NaN where there is none.

    Returns:
        Mean score over the severities, and its share of the clean score; NaN where not known.

    >>> mean, kept = retention([0.8, 0.6, 0.2])
    >>> round(mean, 4), round(kept, 4)
    (0.4, 0.5)
    """
    clean, *corrupted = scores
    known = [score for score in corrupted if score == score]
    mean = sum(known) / len(known) if known else float("nan")
    return mean, mean / clean if clean > 0 else float("nan")
