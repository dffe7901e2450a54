"""Contribution of modalities to a score, from the score with every subset of modalities present.

V(S) is the score (mIoU, per-class IoU, ...) with the modalities S present; what "absent" means is a choice that belongs
to the result. Shapley value of modality i among M (Shapley 1953):
phi_i = sum over S without i of |S|! (M - |S| - 1)! / M! (V(S + i) - V(S)); the phi add up to V(all) - V(none).
Interaction of two modalities (Grabisch and Roubens 1999): V(both) - V(rgb) - V(x) + V(none); above 0 they help each
other (synergy), below 0 they give the same thing (redundancy). With more modalities the interaction of a pair is that
second difference averaged over the others: sum over S without i, j of |S|! (M - |S| - 2)! / (M - 1)! times
V(S + i + j) - V(S + i) - V(S + j) + V(S), the Shapley interaction index of the same source. The perceptual score (Gat
et al. 2021) is the drop when one modality is permuted across samples, as a share of the unpermuted score.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.base import MetricInfo

__all__ = ["interactions", "perceptual_score", "shapley"]

_COST = "2^M evaluations of the model; O(M 2^M) after them"

INFO: dict[str, MetricInfo] = {
    "shapley": MetricInfo(
        "Shapley contribution", -1.0, 1.0, "more of the score comes from the modality",
        ("adding a constant to all scores",), _COST, "Shapley 1953",
    ),
    "interaction": MetricInfo(
        "interaction of two modalities", -2.0, 2.0, "more synergy", ("adding a constant to all scores",), _COST,
        "Grabisch and Roubens 1999",
    ),
    "perceptual_score": MetricInfo(
        "perceptual score", None, 1.0, "more depends on the modality", ("isotropic scaling of all scores",),
        "one evaluation of the model per permutation", "Gat et al. 2021",
    ),
}  # fmt: skip
"""Ranges are those for scores of 0 to 1."""

Score = float | Tensor
Scores = Mapping[tuple[str, ...], Score] | Mapping[frozenset[str], Score] | Mapping[str, Score]


def subset_scores(values: Scores) -> tuple[list[str], dict[frozenset[str], Tensor]]:
    """The modalities in alphabetical order, and subset -> float64 score; InputError when a subset is missing."""
    table = {
        frozenset([key] if isinstance(key, str) else key): torch.as_tensor(value, dtype=torch.float64)
        for key, value in values.items()
    }
    names = sorted(frozenset().union(*table))
    subsets = [frozenset(c) for size in range(len(names) + 1) for c in itertools.combinations(names, size)]
    missing = [s for s in subsets if s not in table]
    if not names or missing or len(table) != len(subsets):
        lacking = ", ".join("{" + ", ".join(sorted(s)) + "}" for s in missing) or "none"
        raise InputError(f"need a score for every subset of the modalities {names}; missing: {lacking}")
    return names, {subset: table[subset] for subset in subsets}


def shapley(values: Scores) -> dict[str, Tensor]:
    """Shapley value of every modality.

    Args:
        values: subset of modality names (a tuple or frozenset; the empty one included) -> score, a number or a tensor
            such as per-class IoU. All 2^M subsets are needed.

    Returns:
        Name -> float64 tensor shaped like the scores.

    Raises:
        InputError: a subset is missing.

    >>> v = {(): 0.0, ("rgb",): 0.3, ("x",): 0.2, ("rgb", "x"): 0.6}
    >>> {name: round(float(value), 3) for name, value in shapley(v).items()}
    {'rgb': 0.35, 'x': 0.25}
    """
    names, table = subset_scores(values)
    return {name: _index(table, names, (name,)) for name in names}


def interactions(values: Scores) -> dict[tuple[str, str], Tensor]:
    """Shapley interaction index of every pair of modalities, M >= 2.

    Args:
        values: as for `shapley`.

    Returns:
        (name, name) in alphabetical order -> float64 tensor shaped like the scores; above 0 synergy, below 0
        redundancy.

    >>> v = {(): 0.0, ("rgb",): 0.3, ("x",): 0.2, ("rgb", "x"): 0.6}
    >>> {pair: round(float(value), 3) for pair, value in interactions(v).items()}
    {('rgb', 'x'): 0.1}
    """
    names, table = subset_scores(values)
    if len(names) < 2:
        raise InputError(f"an interaction is between two modalities, got {names}")
    return {pair: _index(table, names, pair) for pair in itertools.combinations(names, 2)}


def _index(table: Mapping[frozenset[str], Tensor], names: Sequence[str], of: tuple[str, ...]) -> Tensor:
    """Shapley interaction index: the difference that `of` make, averaged over the subsets of the n others. Each
    difference is taken by itself, so that what changes nothing gets exactly 0; in place, since scores may be whole
    maps."""
    n = len(names) - len(of)
    largest = max(table.values(), key=Tensor.dim)
    shape = torch.broadcast_shapes(*(score.shape for score in table.values()))
    total = torch.zeros(shape, dtype=torch.float64, device=largest.device)
    difference = torch.empty_like(total)
    for subset in table:
        if subset.isdisjoint(of):
            k = len(subset)
            weight = math.factorial(k) * math.factorial(n - k) / math.factorial(n + 1)
            difference.copy_(table[subset | frozenset(of)])
            for size in range(len(of)):
                for part in itertools.combinations(of, size):
                    difference.add_(table[subset | frozenset(part)], alpha=(-1) ** (len(of) - size))
            total.add_(difference, alpha=weight)
    return total


def perceptual_score(full: Score, permuted: Score) -> Tensor:
    """Share of the score that is lost when a modality is permuted across samples; NaN where the full score is not
    positive.

    >>> float(perceptual_score(0.5, 0.4))
    0.2
    """
    whole = torch.as_tensor(full, dtype=torch.float64)
    part = torch.as_tensor(permuted, dtype=torch.float64)
    return torch.where(whole > 0, ((whole - part) / whole).round(decimals=12), torch.nan)
