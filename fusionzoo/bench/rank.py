"""Ranking of strategies: mean and spread over seeds, and paired differences to a reference with intervals.

Two strategies are compared seed by seed (the same seed draws the same augmentation and order), so that what a seed does
to both cancels: mean difference +- t(0.975, n - 1) s / sqrt(n), Student's interval over n seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from fusionzoo.bench.plan import variant
from fusionzoo.bench.results import RunResult, final_results
from fusionzoo.errors import InputError

__all__ = ["Row", "ablation", "by_term", "interval", "paired", "rank"]

_T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""97.5 % quantile of Student's t by degrees of freedom; from 10 on 1.96 (1 + 1.25 / df), within 1.1 %."""


Paired = tuple[float, float, float]
"""A mean difference, and the ends of its interval."""


@dataclass(frozen=True)
class Row:
    """One strategy under one protocol.

    Attributes:
        strategy, num_params, gmacs, seconds (mean), learning_rate: of its final runs.
        seeds: in order. miou: condition -> mean over seeds (fractions). spread: condition -> largest minus smallest.
        least: the smallest mIoU with both inputs.
        kinds: kind of concept -> mean IoU of its classes with both inputs, for data whose truth is known.
        difference: (mean, low, high) of mIoU minus the reference's, paired by seed; None for the reference itself
            and with fewer than two common seeds.
        term_gain: the same for a row with a training term (`STRATEGY+TERM`), minus the row without it (its last one).
        gaps, term_gaps: condition -> the two differences under each condition that both have.
    """

    strategy: str
    num_params: int
    gmacs: float
    seconds: float
    learning_rate: float
    seeds: list[int]
    miou: dict[str, float]
    spread: dict[str, float]
    kinds: dict[str, float]
    difference: Paired | None
    term_gain: Paired | None = None
    least: float = 0.0
    gaps: dict[str, Paired] = field(default_factory=dict)
    term_gaps: dict[str, Paired] = field(default_factory=dict)


def interval(differences: Sequence[float]) -> Paired:
    """(mean, low, high): Student's 95 % interval of the mean of paired differences, n >= 2.

    >>> [round(v, 3) for v in interval([0.01, 0.02, 0.03])]
    [0.02, -0.005, 0.045]
    """
    n = len(differences)
    if n < 2:
        raise InputError(f"an interval needs two differences or more, got {n}")
    mean = statistics.fmean(differences)
    t = _T.get(n - 1, 1.96 * (1 + 1.25 / (n - 1)))
    half = t * statistics.stdev(differences) / math.sqrt(n)
    return mean, mean - half, mean + half


def rank(results: Sequence[RunResult], reference: str = "concat") -> list[Row]:
    """Rows of the final runs, best mean mIoU first.

    Args:
        results: of one protocol; runs of phase "select" only say which final runs stand (`final_results`).
        reference: the strategy that the others are compared with; where it is missing, no differences.
    """
    by_strategy: dict[str, list[RunResult]] = {}
    for result in sorted(final_results(results), key=lambda r: r.seed):
        by_strategy.setdefault(result.strategy, []).append(result)
    rows = []
    for name, found in by_strategy.items():
        plain = name.rpartition("+")[0] or name
        gaps = _gaps(found, by_strategy.get(reference, []) if name != reference else [])
        gains = _gaps(found, by_strategy.get(plain, []) if plain != name else [])
        rows.append(_row(name, found, gaps, gains))
    return sorted(rows, key=lambda row: -row.miou["both"])


def by_term(rows: Sequence[Row]) -> dict[str, dict[str, Paired]]:
    """Training term -> row without it -> what it changes, of the rows where that is known."""
    out: dict[str, dict[str, Paired]] = {}
    for row in rows:
        if row.term_gain is not None:
            without, _, term = row.strategy.rpartition("+")
            out.setdefault(term, {})[without] = row.term_gain
    return out


def paired(found: Sequence[RunResult], base: Sequence[RunResult], condition: str = "both") -> Paired | None:
    """(mean, low, high) of `found` minus `base` in mIoU over the seeds of both; None with fewer than two."""
    other = {r.seed: r.scores[condition].miou for r in base if condition in r.scores}
    pairs = [r.scores[condition].miou - other[r.seed] for r in found if r.seed in other and condition in r.scores]
    return interval(pairs) if len(pairs) > 1 else None


def ablation(results: Sequence[RunResult]) -> list[tuple[str, str, Paired | None]]:
    """(row with options, the row it stands beside, first minus second), best row first; None without two common seeds.

    `STRATEGY@OPTION=VALUE` stands beside STRATEGY, with `+TERM` beside `STRATEGY+TERM`.
    """
    runs: dict[str, list[RunResult]] = {}
    for r in final_results(results):
        runs.setdefault(r.strategy, []).append(r)
    out = []
    for row in rank(results):
        made = variant(row.strategy)
        if made.options:
            whole = "+".join([made.fusion, *made.terms])
            out.append((row.strategy, whole, paired(runs[row.strategy], runs.get(whole, []))))
    return out


def _gaps(found: Sequence[RunResult], base: Sequence[RunResult]) -> dict[str, Paired]:
    values = {condition: paired(found, base, condition) for condition in found[0].scores}
    return {condition: value for condition, value in values.items() if value is not None}


def _row(strategy: str, found: list[RunResult], gaps: dict[str, Paired], term_gaps: dict[str, Paired]) -> Row:
    conditions = list(found[0].scores)
    values = {c: [r.scores[c].miou for r in found] for c in conditions}
    return Row(
        strategy,
        found[0].num_params,
        found[0].gmacs,
        statistics.fmean(r.seconds for r in found),
        found[0].learning_rate,
        [r.seed for r in found],
        {c: statistics.fmean(v) for c, v in values.items()},
        {c: max(v) - min(v) for c, v in values.items()},
        _by_kind(found),
        gaps.get("both"),
        term_gaps.get("both"),
        min(values["both"]),
        gaps,
        term_gaps,
    )


def _by_kind(found: list[RunResult]) -> dict[str, float]:
    """Mean IoU of the classes of each kind of concept, over classes and seeds."""
    first = found[0]
    values: dict[str, list[float]] = {}
    for result in found:
        for name, iou in zip(first.class_names, result.scores["both"].class_iou, strict=True):
            if iou is not None and name in first.concepts:
                values.setdefault(first.concepts[name], []).append(iou)
    return {kind: statistics.fmean(v) for kind, v in values.items()}
