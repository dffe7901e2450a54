"""What the plots of a benchmark show, from its rows: `page` puts them into the page, a study into files.

A row is a circle or a square where it sees rgb or x alone, a diamond where it is one of our hybrids, else a triangle.
Scores are drawn in percent.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fusionzoo.bench.plan import variant
from fusionzoo.bench.plots import forest, intervals, scatter
from fusionzoo.bench.rank import Paired, Row, ablation, by_term, rank
from fusionzoo.bench.results import RunResult
from fusionzoo.bench.study import FEWEST, TARGETS, Correlation, comparable, correlations
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot
from fusionzoo.report.table import hundred
from fusionzoo.train.terms import TERMS

__all__ = [
    "COSTS",
    "accuracy",
    "bulk",
    "changes",
    "differences",
    "front",
    "heat",
    "named",
    "of_both",
    "plain",
    "plots",
    "predictors",
    "sign",
]

SIGNS = {"rgb": "rgb alone", "x": "x alone", "fused": "hybrid", "both": "others"}
COSTS: dict[str, Callable[[Row], float]] = {"parameters": lambda r: float(r.num_params), "GMACs": lambda r: r.gmacs}
TOLD = dict(zip(TARGETS, ("both inputs", "one missing", "damaged"), strict=True))
"""Target of a correlation -> what it is called above a narrow panel."""


def sign(strategy: str) -> str:
    """Class of the sign of a row.

    >>> sign("rgb_only"), sign("hybrid_trust+rule"), sign("concat")
    ('rgb', 'fused', 'both')
    """
    alone = {"rgb_only": "rgb", "x_only": "x"}
    return alone.get(strategy, "fused" if strategy.startswith("hybrid") else "both")


def plain(rows: Sequence[Row]) -> list[Row]:
    """Without rows with options or with a training term whose strategy stands among the rows as it is."""
    names = {row.strategy for row in rows}
    return [row for row in rows if (own := variant(row.strategy).fusion) == row.strategy or own not in names]


def of_both(rows: Sequence[Row]) -> list[Row]:
    """Without rows that see one input alone."""
    return [row for row in rows if sign(row.strategy) not in ("rgb", "x")]


def accuracy(rows: Sequence[Row]) -> Plot:
    """Mean mIoU of each row with its spread over seeds, in the order of the rows."""
    drawn = [
        (r.strategy, 100 * r.miou["both"], 100 * r.least, 100 * (r.least + r.spread["both"]), sign(r.strategy))
        for r in rows
    ]
    there = {sign(r.strategy) for r in rows}
    signs = [(s, name) for s, name in SIGNS.items() if s in there] if there != {"both"} else []
    caption = "Mean mIoU in percent; the line spans the seeds."
    described = "mIoU with the spread over seeds"
    window = bulk([v for row in drawn if row[4] not in ("rgb", "x") for v in row[1:4]])
    if window is not None and any(not window[0] <= row[1] <= window[1] for row in drawn):
        caption += " Far from most: an arrow at the end of the axis."
    drawing = intervals("accuracy", "mIoU by strategy", described, drawn, signs=signs, spec=".2f", window=window)
    return Plot(drawing, caption)


def bulk(values: Sequence[float]) -> tuple[float, float] | None:
    """Ends beyond which a value is far from most: three times the middle half's width away; None of fewer than 12.

    >>> bulk([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 99])
    (-16.25, 29.25)
    """
    if len(values) < 12:
        return None
    first, _, last = statistics.quantiles(values, n=4)
    return first - 3 * (last - first), last + 3 * (last - first)


def differences(rows: Sequence[Row], reference: str) -> Plot:
    """mIoU of each row that has one minus the reference's, with its interval."""
    gaps = {row.strategy: row.difference for row in rows if row.difference is not None}
    caption = f"mIoU minus that of {reference}, points, paired by seed, 95 % interval."
    return changes("differences", f"mIoU minus {reference}", caption, gaps)


def changes(key: str, title: str, caption: str, gaps: Mapping[str, Paired]) -> Plot:
    """Paired differences, largest first; a diamond where the interval is without 0.

    What lies far from most (`bulk`) is an arrow at the end of the axis.
    """
    drawn = []
    for name, found in sorted(gaps.items(), key=lambda item: -item[1][0]):
        value, low, high = (100 * v for v in found)
        drawn.append((name, value, low, high, "fused" if low > 0 or high < 0 else "both"))
    signs = (("fused", "interval without 0"), ("both", "with 0"))
    window = bulk([v for row in drawn for v in row[1:4]])
    if window is not None:
        window = min(window[0], 0.0), max(window[1], 0.0)
    drawing = intervals(key, title, caption, drawn, zero=True, signs=signs, spec="+.2f", window=window)
    return Plot(drawing, caption)


def front(key: str, label: str, costs: Mapping[str, float], rows: Sequence[Row]) -> Plot | None:
    """mIoU over a cost, of the rows that have one; None with fewer than two."""
    there = [(r.strategy, costs[r.strategy], 100 * r.miou["both"]) for r in rows if costs.get(r.strategy, 0) > 0]
    if len(there) < 2:
        return None
    caption = f"mIoU over {label}, thin lines span the seeds; joined: beaten by no other mean at the same cost or less."
    found = bulk([score for _, _, score in there])
    spans = {r.strategy: (100 * r.least, 100 * (r.least + r.spread["both"])) for r in rows}
    return Plot(scatter(key, label, caption, there, label, floor=found and found[0], spans=spans), caption)


def heat(
    key: str, title: str, caption: str, rows: Sequence[Row], values: Mapping[str, Mapping[str, float]]
) -> tuple[Plot, list[str], list[str]]:
    """A heat map of row x name -> fraction; with it the names, and what they are called above the columns."""
    names = list(dict.fromkeys(name for of in values.values() for name in of))
    short = [n.removeprefix("joint: ").replace("without_", "no ").replace("_", " ") for n in names]
    grid = [[hundred(values[r.strategy].get(n)) for n in names] for r in rows]
    labels = [r.strategy for r in rows]
    drawing = svg.heatmap(key, title, caption, labels, [("", short, grid)], top=100, written=True)
    return Plot(drawing, caption), names, short


def predictors(found: Sequence[Correlation]) -> Plot:
    """rho of each figure with each target, strongest with mIoU first."""
    cells = {(c.figure, c.target): (c.rho, c.low, c.high) for c in found}
    first = {c.figure: abs(c.rho) for c in reversed(found) if c.target == TARGETS[0]}
    figures = sorted(dict.fromkeys(c.figure for c in found), key=lambda name: -first.get(name, 0.0))
    panels = [
        (TOLD[t], [cells.get((name, t)) for name in figures]) for t in TARGETS if any(c.target == t for c in found)
    ]
    caption = "Spearman's rho over strategies with mIoU: with both inputs, with one missing, with damaged ones; 95 %."
    return Plot(forest("rho", "What predicts accuracy and robustness", caption, figures, panels), caption)


def named(row: str, alone: bool) -> str:
    """What a row with options is called beside its strategy; without the strategy's name where there is one `alone`.

    >>> named("hybrid_trust@trust=False", True), named("hybrid@rank=4+rule", False)
    ('without trust', 'hybrid, rank 4+rule')
    """
    made = variant(row)
    said = [f"without {k}" if v is False else f"{k} {v}" for k, v in made.options.items()]
    return "+".join([", ".join([*([] if alone else [made.fusion]), *said]), *made.terms])


def plots(results: Sequence[RunResult], reference: str = "concat") -> dict[str, tuple[str, Plot | str]]:
    """Name -> (title, the plot, or why there is none): every plot of one benchmark.

    Rows with options or a training term are in the last ones alone; cost and differences leave out rows of one input.
    """
    rows, out = rank(results, reference), dict[str, tuple[str, Plot | str]]()
    own = plain(rows)
    both, points = of_both(own), "points, paired by seed, 95 % interval."

    def add(name: str, title: str, count: int, least: int, what: str, draw: Callable[[], Plot | None]) -> None:
        plot = draw() if count >= least else None
        out[name] = (title, plot or f"needs {least} {what}; {count} so far")

    add("accuracy", "mIoU by strategy", len(own), 2, "strategies", lambda: accuracy(own))
    apart = [r for r in both if r.difference is not None]
    seeds = f"strategies with two seeds that {reference} has too"
    add("differences", f"mIoU minus {reference}", len(apart), 2, seeds, lambda: differences(apart, reference))
    two = "strategies that see both inputs"
    for name, cost in COSTS.items():
        of = {r.strategy: cost(r) for r in both}
        add(name.lower(), f"mIoU over {name}", len(both), 3, two, partial(front, f"front-{name}", name, of, both))
    kinds = {r.strategy: r.kinds for r in own if r.kinds}
    caption = "Mean IoU of the classes of each kind, percent: seen by both, by one alone, or only by joining them."
    of_kinds = lambda: heat("kinds", "Kinds", caption, [r for r in own if r.kinds], kinds)[0]  # noqa: E731
    add("kinds", "IoU by kind of class", len(kinds), 2, "strategies on data whose kinds of class are known", of_kinds)
    found = correlations(results)
    count = max((c.n for c in found), default=len({r.strategy for r in comparable(results)}))
    add("predictors", "What predicts accuracy and robustness", count, FEWEST, two,
        lambda: predictors(found) if found else None)  # fmt: skip
    ablated = [(row, whole, change) for row, whole, change in ablation(results) if change is not None]
    alone = len({whole for _, whole, _ in ablated}) == 1
    terms = {named(row, alone): change for row, _, change in ablated}
    said = f"mIoU with the option minus that of {ablated[0][1] if alone else 'the strategy as it is'}, {points}"
    add("ablations", "What options change", len(terms), 2, "rows with an option",
        lambda: changes("ablations", "Options", said, terms))  # fmt: skip
    changed = by_term(rows)
    for name, term in TERMS.items():
        gains, title = changed.get(name, {}), f"What {term.said} changes"
        text = f"mIoU with {term.said} minus without, {points}"
        add(name, title, len(gains), 2, f"strategies with and without {term.said}",
            partial(changes, name, title, text, gains))  # fmt: skip
    return out
