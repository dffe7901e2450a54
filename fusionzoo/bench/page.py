"""The page of a benchmark: `index.html`, which stands alone: no script, nothing external."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fusionzoo.bench.drawings import accuracy, changes, front, heat, of_both, predictors
from fusionzoo.bench.plots import scatter
from fusionzoo.bench.rank import Paired, Row, by_term, interval, paired, rank
from fusionzoo.bench.results import RunResult, failed_rows, final_results
from fusionzoo.bench.study import TARGETS, correlations, row_means
from fusionzoo.bench.table import gap
from fusionzoo.errors import InputError
from fusionzoo.report.page import render
from fusionzoo.report.sections.base import Fold, Part, Plot
from fusionzoo.report.table import ABSENT, Table, clean, number, points
from fusionzoo.schema import encode
from fusionzoo.tasks import spoken
from fusionzoo.train.terms import TERMS

__all__ = ["html"]

FIGURES = ("cka gap", "semantic variance", "redundant", "unique_rgb", "unique_x", "consistent", "rgb-specific",
           "x-specific", "pid unique_rgb", "pid unique_x", "pid redundant", "pid synergistic", "shapley rgb",
           "shapley x", "interaction", "balance shares", "balance streams", "balance concepts")  # fmt: skip
BEST = 10
"""So many of the best strategies are compared pair by pair."""
_POINTS = ("semantic variance", "shapley rgb", "shapley x", "interaction")


def html(results: Sequence[RunResult], refused: Mapping[str, str] | None = None, reference: str = "concat") -> str:
    """The page as text.

    Args:
        results: of one protocol, at least one final run.
        refused: strategies left out -> reason.
        reference: the strategy that the others are compared with.

    Raises:
        InputError: no final run among the results.
    """
    rows = rank(results, reference)
    if not rows:
        raise InputError("no final run is finished yet: nothing to show")
    final = final_results(results)
    first = final[0]
    name = first.protocol.name
    title = f"Fusion strategies on {clean(first.data)}, protocol {name}"
    parts = [_accuracy(rows, reference), _kinds(rows), _robustness(rows, reference), *_terms(rows),
             *_fronts(rows, final), _pairs(rows, final)]  # fmt: skip
    gone = {**(refused or {}), **{row: f"failed: {why}" for row, why in failed_rows(results).items()}}
    wide = [_cost(rows, final), _figures(rows, final), _correlations(final), _left_out(gone), _made(final)]
    seeds = sorted({r.seed for r in final})
    kicker = f"fusionzoo bench: {len(rows)} rows, seeds {', '.join(map(str, seeds))}, {first.images} test images"
    columns, below, sentences = spoken(
        ([p for p in parts if p is not None], [p for p in wide if p is not None], _sentences(rows, reference)),
        first.task,
    )
    return render(title, kicker, title, columns=columns, wide=below, sentences=sentences)


def _sentences(rows: Sequence[Row], reference: str) -> list[str]:
    best = rows[0]
    out = [f"First is {best.strategy} with {points(best.miou['both'])} mIoU (mean of {len(best.seeds)} seeds)."]
    above = [r.strategy for r in rows if r.difference is not None and r.difference[1] > 0]
    below = [r.strategy for r in rows if r.difference is not None and r.difference[2] < 0]
    if any(r.difference is not None for r in rows):
        out.append(
            f"With an interval wholly above {reference}: {', '.join(above) or 'none'}; wholly below:"
            f" {', '.join(below) or 'none'}. Student's intervals, 95 %, paired by seed, not corrected for number."
        )
    for term, of in by_term(rows).items():
        gains, said = [g[0] for g in of.values()], TERMS[term].said
        text = f"{said[0].upper()}{said[1:]} lifts {sum(g > 0 for g in gains)} of {len(gains)} strategies; mean change"
        if len(gains) > 1:
            out.append(f"{text} {gap(interval(gains))} points, Student's interval over strategies, 95 %.")
        else:
            out.append(f"{text} {points(gains[0], signed=True)} points.")
    return out


def _accuracy(rows: Sequence[Row], reference: str) -> Part:
    cells = tuple(
        (r.strategy, str(len(r.seeds)), points(r.miou["both"]),
         points(r.spread["both"]) if len(r.seeds) > 1 else ABSENT, gap(r.difference) or ABSENT,
         f"{r.learning_rate:g}") for r in rows
    )  # fmt: skip
    columns = ("strategy", "seeds", "mIoU", "spread", f"minus {reference}, points (95 %)", "rate")
    return Part("Accuracy", accuracy(rows), Table("Accuracy", columns, cells))


def _heat(key: str, title: str, caption: str, rows: Sequence[Row], values: Mapping[str, Mapping[str, float]]) -> Part:
    """A heat map of row x name -> fraction, with its table."""
    plot, names, short = heat(key, title, caption, rows, values)
    cells = tuple((r.strategy, *(points(values[r.strategy].get(n)) for n in names)) for r in rows)
    return Part(title, plot, Table(title, ("strategy", *short), cells))


def _kinds(rows: Sequence[Row]) -> Part | None:
    if not any(r.kinds for r in rows):
        return None
    caption = "Mean IoU of the classes of each kind, percent: seen by both, by one alone, or only by joining them."
    return _heat("kinds", "What is recognised", caption, rows, {r.strategy: r.kinds for r in rows})


def _robustness(rows: Sequence[Row], reference: str) -> Part | None:
    if len(rows[0].miou) < 2:
        return None
    caption = "mIoU in percent without a modality, and with damaged inputs."
    part = _heat("robust", "Robustness", caption, rows, {r.strategy: r.miou for r in rows})
    folds = [
        _differences(f"Minus {reference}, points (95 %)", {r.strategy: r.gaps for r in rows}),
        _differences("With a training term minus without, points (95 %)", {r.strategy: r.term_gaps for r in rows}),
    ]
    return replace(part, folds=tuple(fold for fold in folds if fold is not None))


def _differences(title: str, gaps: Mapping[str, Mapping[str, Paired]]) -> Fold | None:
    """A table of row x condition -> paired difference; None where no row has any."""
    conditions = list(dict.fromkeys(c for of in gaps.values() for c in of if c != "both"))
    if not conditions:
        return None
    cells = tuple((row, *(gap(of.get(c)) or ABSENT for c in conditions)) for row, of in gaps.items() if of)
    return Fold(title, Table(title, ("strategy", *(c.replace("_", " ") for c in conditions)), cells))


def _terms(rows: Sequence[Row]) -> list[Part]:
    parts = []
    for term, gains in by_term(rows).items():
        said = TERMS[term].said
        title = f"What {said} changes"
        caption = f"mIoU with {said} minus without, points, paired by seed, 95 % interval."
        cells = tuple((name, gap(gain)) for name, gain in gains.items())
        table = Table(f"{said[0].upper()}{said[1:]}", ("strategy", "change"), cells)
        parts.append(Part(title, changes(term, title, caption, gains), table))
    return parts


def _fronts(rows: Sequence[Row], final: Sequence[RunResult]) -> list[Part]:
    """Score over each cost, of rows that see both inputs, and over how well they do with a modality missing."""
    means = row_means(final)
    slow = _medians(final, "latency_ratio")
    costs = {
        "parameters": {r.strategy: float(r.num_params) for r in rows},
        "GMACs of one image": {r.strategy: r.gmacs for r in rows},
        "time of one image / concat's": slow,
    }
    out = []
    for i, (label, values) in enumerate(costs.items()):
        plot = front(f"front{i}", label, values, of_both(rows))
        if plot is not None:
            out.append(Part(f"Accuracy and cost: {label}", plot))
    missing = [
        (r.strategy, 100 * means[r.strategy][TARGETS[1]], 100 * r.miou["both"])
        for r in rows
        if means[r.strategy].get(TARGETS[1], 0) > 0
    ]
    if len(missing) > 1:
        caption = "mIoU with both inputs over the mean without rgb and without x; joined: beaten in both by none."
        drawing = scatter("missing", "Both and missing", caption, missing, "mIoU with a modality missing", gain=True)
        out.append(Part("Both inputs, and one missing", Plot(drawing, caption)))
    return out


def _by_strategy(final: Sequence[RunResult], name: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for run in final:
        if (value := getattr(run, name)) is not None:
            found.setdefault(run.strategy, []).append(value)
    return found


def _medians(final: Sequence[RunResult], name: str) -> dict[str, float]:
    return {strategy: statistics.median(values) for strategy, values in _by_strategy(final, name).items()}


def _cost(rows: Sequence[Row], final: Sequence[RunResult]) -> Part:
    ratios, ms, peak = _by_strategy(final, "latency_ratio"), _medians(final, "latency_ms"), _medians(final, "peak_mb")
    cells = tuple(
        (r.strategy, f"{r.num_params:,}", number(r.gmacs), number(peak.get(r.strategy), 1),
         number(ms.get(r.strategy), 1), _ranged(ratios.get(r.strategy, [])), f"{r.seconds:.0f}") for r in rows
    )  # fmt: skip
    columns = ("strategy", "parameters", "GMACs", "peak MB", "ms", "time / concat's", "s a training")
    note = "Peak: weights and all that lives at once, one image, float32. Time: in turns with concat, call by call."
    return Part("Cost", table=Table("Cost", columns, cells), note=note)


def _ranged(values: Sequence[float]) -> str:
    """The median, and of several the range."""
    median = number(statistics.median(values) if values else None, 2)
    return f"{median} ({number(min(values), 2)} to {number(max(values), 2)})" if len(values) > 1 else median


def _figures(rows: Sequence[Row], final: Sequence[RunResult]) -> Part | None:
    means = row_means(final)
    names = [n for n in FIGURES if any(n in of for of in means.values())]
    if not names:
        return None
    write = lambda n, v: points(v) if n in _POINTS else number(v, 2)  # noqa: E731
    cells = tuple((r.strategy, *(write(n, means[r.strategy].get(n)) for n in names)) for r in rows)
    note = "Means over stages and seeds; semantic variance, Shapley values and interaction in points of IoU."
    return Part("Dissection", table=Table("Dissection", ("strategy", *names), cells), note=note)


def _pairs(rows: Sequence[Row], final: Sequence[RunResult]) -> Part | None:
    """Row minus column of the best, each with its interval."""
    best = [r.strategy for r in rows[:BEST]]
    runs = {name: [r for r in final if r.strategy == name] for name in best}
    found = {(a, b): paired(runs[a], runs[b]) for a in best for b in best if a != b}
    if not any(found.values()):
        return None
    cells = tuple((a, b, gap(found[a, b])) for i, a in enumerate(best) for b in best[i + 1 :] if found[a, b])
    apart = sum(1 for i, a in enumerate(best) for b in best[i + 1 :] if (d := found[a, b]) and (d[1] > 0 or d[2] < 0))
    note = f"{apart} of {len(cells)} pairs of the {len(best)} best have an interval without 0, uncorrected for number."
    table = Table("First minus second, points (95 %)", ("first", "second", "difference"), cells, "<<>")
    fold = Fold("Every pair", table)
    return Part("Pair by pair", note=note, folds=(fold,))


def _correlations(final: Sequence[RunResult]) -> Part | None:
    found = correlations(final)
    if not found:
        return None
    cells = tuple(
        (c.figure, c.target, f"{c.rho:+.2f}", f"{c.low:+.2f} to {c.high:+.2f}", str(c.n))
        for c in sorted(found, key=lambda c: (TARGETS.index(c.target), -abs(c.rho)))
    )
    note = (
        "Spearman over strategies (means over seeds), percentile bootstrap over strategies; "
        f"{len(found)} pairs, not corrected for their number."
    )
    table = Table("Correlations", ("figure", "with", "rho", "95 %", "n"), cells, "<<>>>")
    return Part("What predicts accuracy and robustness", predictors(found), table, note=note)


def _left_out(refused: Mapping[str, str]) -> Part | None:
    if not refused:
        return None
    cells = tuple((clean(name), clean(reason)) for name, reason in refused.items())
    return Part("Left out", table=Table("Left out", ("strategy", "reason"), cells, "<<"))


def _made(final: Sequence[RunResult]) -> Part:
    values: dict[str, Any] = encode(final[0].protocol)
    said = [(key, clean(value)) for key, value in values.items()]
    for name in ("versions", "machine"):
        each = dict.fromkeys(", ".join(f"{k} {v}" for k, v in getattr(r, name).items()) for r in final)
        said.append((name, clean("; ".join(each))))
    said.append(("first command", clean(final[0].command)))
    return Part("How this was made", table=Table("How this was made", ("what", "value"), tuple(said), "<<"))
