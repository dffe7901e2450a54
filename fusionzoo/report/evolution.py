"""An Evolution (one model's checkpoints over its training) -> text and a page of curves."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.base import Measured
from fusionzoo.dissect.results import Evolution
from fusionzoo.dissect.words import apart
from fusionzoo.report import svg
from fusionzoo.report.page import render
from fusionzoo.report.sections.base import Fold, Part, Plot
from fusionzoo.report.svg import Panel, Series
from fusionzoo.report.table import WIDTH, Table, clean, hundred, number, text_table, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["html", "text"]

Curves = Mapping[str, Sequence[Measured]]
_STAGES = {
    "cka gap": "CKA of the streams (gap)",
    "semantic variance": "Semantic variance, points",
    "consistent": "Consistent concepts",
}
"""Numbers of a stage that get small charts of their own -> title."""
_COUNTS = ("consistent", "specific")


def _positions(e: Evolution) -> list[str]:
    """What stands under the curves: steps or epochs where all are known, else 1, 2, 3, ..."""
    for places in ([c.step for c in e.checkpoints], [c.epoch for c in e.checkpoints]):
        if all(p is not None for p in places):
            return [f"{p:g}" for p in places]
    return [str(i + 1) for i in range(len(e.checkpoints))]


def _plain(name: str) -> bool:
    """Whether a curve is a number of its own kind, not a fraction that is shown in points."""
    return name.endswith(_COUNTS) or "cka" in name or "angular" in name


def _cell(name: str, m: Measured) -> str:
    if not _plain(name):
        return with_error(m.value, m.error)
    digits = 0 if name.endswith(_COUNTS) else 2
    spread = "" if m.error is None or m.value is None else f" ±{number(m.error, digits)}"
    return number(m.value, digits) + spread


def _numbers(
    title: str, head: str, curves: Curves, places: Sequence[str], named: Mapping[str, str], note: str = ""
) -> Table:
    """One row a curve; `named`: curve -> how its row is called."""
    rows = tuple((label, *(_cell(name, m) for m in curves[name])) for name, label in named.items())
    return Table(title, (head, *places), rows, note=note)


def _table(e: Evolution, stages: bool = True) -> Table:
    """All curves, or those that are of no stage."""
    curves, places = e.curves(), _positions(e)
    named = {name: name for name in curves if stages or not name.startswith("stage ")}
    listed = "; ".join(f"{p}: {name}" for p, name in zip(places, _names(e), strict=True))
    note = f"Points (± standard error), CKA and angles as they are, concepts as counts. {listed}."
    return _numbers("Over the training", "number", curves, places, named, note)


def text(found: Evolution | Mapping[str, Any], width: int = WIDTH) -> str:
    """The curves of the scores and the contribution as a table for a terminal."""
    table = _table(_evolution(found), stages=False)
    note = textwrap.wrap(table.note, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([table.title, *text_table(table, width), *note]) + "\n"


def html(found: Evolution | Mapping[str, Any]) -> str:
    """The page: scores, contribution, then what changes at each stage; every number behind a fold."""
    e = _evolution(found)
    curves, places, x = e.curves(), _positions(e), x_name(e)
    title = clean(f"{e.model.name}: {len(places)} checkpoints of its training")
    data = clean(f"{e.data.name}, {e.data.split} split, {e.data.n} images")
    without = {s: f"miou {Condition.without(s)}" for s in ("rgb", "x")}
    parts = [
        _lines("miou", "mIoU", curves, places, (("miou", "both", "both"), (without["rgb"], f"{x} only", "x"),
               (without["x"], "rgb only", "rgb"))),
        _lines("shapley", "Contribution (Shapley values)", curves, places, (("shapley rgb", "rgb", "rgb"),
               ("shapley x", x, "x"), ("interaction", "interaction", "both"))),
    ]  # fmt: skip
    stages = sorted({int(n.split()[1]) for n in curves if n.startswith("stage ")})
    for stage in stages:
        named = (("unique_rgb", "rgb alone", "rgb"), ("redundant", "shared", "fused"), ("unique_x", f"{x} alone", "x"))
        chosen = [(f"stage {stage} {key}", name, stream) for key, name, stream in named]
        parts.append(_lines(f"share{stage}", f"Variance of the fused features, stage {stage}", curves, places, chosen))
    for i, (key, label) in enumerate(_STAGES.items()):
        parts.append(_multiples(f"small{i}", label, key, curves, places, stages))
    every = _table(e)
    order = Table("Checkpoints", ("at", "name"), tuple(zip(places, _names(e), strict=True)), "<<")
    folds = (Fold(f"All {len(every.rows)} numbers", every, note=False),)
    return render(
        title,
        f"fusionzoo check --evolution on {data}",
        title,
        columns=[part for part in parts if part is not None],
        wide=[Part("Checkpoints", table=order, folds=folds)],
        sentences=_said(curves, places, x),
    )


def _evolution(found: Evolution | Mapping[str, Any]) -> Evolution:
    return found if isinstance(found, Evolution) else Evolution.from_dict(dict(found))


def _names(e: Evolution) -> list[str]:
    return [clean(c.name) for c in e.checkpoints]


def _said(curves: Curves, places: Sequence[str], x: str) -> list[str]:
    """What changed from the first to the last checkpoint by more than three times both errors."""
    found = []
    for name, words in (("shapley rgb", "rgb gives"), ("shapley x", f"{x} gives"), ("interaction", "interaction is")):
        ends = [astuple(curves[name][i]) for i in (0, -1)] if name in curves else []
        if not ends or None in (*ends[0], *ends[1]):
            continue
        change = f"{with_error(*ends[0])} points at {places[0]}, {with_error(*ends[1])} at {places[-1]}"
        found.append(f"{words} {change}" + ("." if apart(*ends) else ": no change beyond the error."))
    return found


def _shown(name: str, value: float | None) -> float | None:
    return value if _plain(name) else hundred(value)


def _spoken(table: Table) -> str:
    """The rows of a table for a reader who does not see the drawing."""
    return "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in table.rows)


def _lines(
    key: str, title: str, curves: Curves, places: Sequence[str], chosen: Sequence[tuple[str, str, str]]
) -> Part | None:
    """Curves in one chart: (name, how it is called, class of the line)."""
    there = [row for row in chosen if row[0] in curves]
    if not there:
        return None
    series = [Series(label, stream, [_shown(name, m.value) for m in curves[name]]) for name, label, stream in there]
    named = {name: label for name, label, _ in there}
    table = _numbers(title, "number", curves, places, named, "Points (± standard error).")
    drawing = svg.lines(key, title, _spoken(table), places, series, x_label="checkpoint")
    unit = "percent" if "Variance" in title else "points"
    return Part(title, Plot(drawing, f"In {unit}, over the training."), table)


def _multiples(
    key: str, title: str, name_of: str, curves: Curves, places: Sequence[str], stages: Sequence[int]
) -> Part | None:
    """A small chart for each stage."""
    named = {name: f"stage {stage}" for stage in stages if (name := f"stage {stage} {name_of}") in curves}
    if not named:
        return None
    panels = []
    for name, label in named.items():
        values, errors = ([_shown(name, v) for v in column] for column in zip(*map(astuple, curves[name]), strict=True))
        panels.append(Panel(label, places, values, errors, "both"))
    table = _numbers(title, "stage", curves, places, named)
    drawing = svg.multiples(key, title, _spoken(table), panels, low=None)
    return Part(title, Plot(drawing, "Over the training; thin lines: two standard errors."), table)
