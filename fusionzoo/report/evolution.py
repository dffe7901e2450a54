"""An Evolution (one model's checkpoints over its training) -> text and a page of curves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.results import Evolution
from fusionzoo.dissect.words import ERRORS
from fusionzoo.report import svg
from fusionzoo.report.page import render
from fusionzoo.report.sections.base import Fold, Part, Plot
from fusionzoo.report.svg import Panel, Series
from fusionzoo.report.table import WIDTH, Table, clean, number, text_table, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["html", "text"]

Curve = list[tuple[float | None, float | None]]
_STAGES = {
    "cka gap": "CKA of the streams (gap)",
    "semantic variance": "Semantic variance, points",
    "consistent": "Consistent concepts",
}
"""Numbers of a stage that get small charts of their own -> title."""
_COUNTS = ("consistent", "specific")


def _curves(e: Evolution) -> dict[str, Curve]:
    """Name -> (value, standard error) of each checkpoint; see `Evolution.curves`."""
    return {name: [(m.value, m.error) for m in curve] for name, curve in e.curves().items()}


def _positions(e: Evolution) -> list[str]:
    """What stands under the curves: steps or epochs where all are known, else 1, 2, 3, ..."""
    for places in ([c.step for c in e.checkpoints], [c.epoch for c in e.checkpoints]):
        if all(p is not None for p in places):
            return [f"{p:g}" for p in places]
    return [str(i + 1) for i in range(len(e.checkpoints))]


def _plain(name: str) -> bool:
    """Whether a curve is a number of its own kind, not a fraction that is shown in points."""
    return name.endswith(_COUNTS) or "cka" in name or "angular" in name


def _cell(name: str, value: float | None, error: float | None) -> str:
    if not _plain(name):
        return with_error(value, error)
    digits = 0 if name.endswith(_COUNTS) else 2
    spread = "" if error is None or value is None else f" ±{number(error, digits)}"
    return number(value, digits) + spread


def _table(e: Evolution, names: Sequence[str] | None = None) -> Table:
    curves = _curves(e)
    rows = [(n, *(_cell(n, *m) for m in curves[n])) for n in curves if names is None or n in names]
    places = _positions(e)
    listed = "; ".join(f"{p}: {name}" for p, name in zip(places, _names(e), strict=True))
    note = f"Points (± standard error), CKA and angles as they are, concepts as counts. {listed}."
    return Table("Over the training", ("number", *places), tuple(map(tuple, rows)), note=note)


def text(found: Evolution | Mapping[str, Any], width: int = WIDTH) -> str:
    """The curves of the scores and the contribution as a table for a terminal."""
    e = _evolution(found)
    table = _table(e, [n for n in _curves(e) if not n.startswith("stage ")])
    note = textwrap.wrap(table.note, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([table.title, *text_table(table, width), *note]) + "\n"


def html(found: Evolution | Mapping[str, Any]) -> str:
    """The page: scores, contribution, then what changes at each stage; every number behind a fold."""
    e = _evolution(found)
    curves, places, x = _curves(e), _positions(e), x_name(e)
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


def _said(curves: Mapping[str, Curve], places: Sequence[str], x: str) -> list[str]:
    """What changed from the first to the last checkpoint by more than three times both errors."""
    found = []
    for name, words in (("shapley rgb", "rgb gives"), ("shapley x", f"{x} gives"), ("interaction", "interaction is")):
        (a, first), (b, last) = (curves.get(name) or [(None, None)])[0], (curves.get(name) or [(None, None)])[-1]
        if a is None or b is None or first is None or last is None:
            continue
        change = f"{with_error(a, first)} points at {places[0]}, {with_error(b, last)} at {places[-1]}"
        real = abs(b - a) > ERRORS * (first + last)
        found.append(f"{words} {change}" + ("." if real else ": no change beyond the error."))
    return found


def _values(name: str, curve: Curve) -> list[float | None]:
    scale = 1.0 if _plain(name) else 100.0
    return [None if v is None or math.isnan(v) else scale * v for v, _ in curve]


def _lines(
    key: str,
    title: str,
    curves: Mapping[str, Curve],
    places: Sequence[str],
    chosen: Sequence[tuple[str, str, str]],
) -> Part | None:
    series = [Series(label, stream, _values(name, curves[name])) for name, label, stream in chosen if name in curves]
    if not series:
        return None
    rows = tuple((label, *(_cell(name, *m) for m in curves[name])) for name, label, _ in chosen if name in curves)
    table = Table(title, ("number", *places), rows, note="Points (± standard error).")
    said = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in rows)
    drawing = svg.lines(key, title, said, places, series, x_label="checkpoint")
    unit = "percent" if "Variance" in title else "points"
    return Part(title, Plot(drawing, f"In {unit}, over the training."), table)


def _multiples(
    key: str, title: str, name_of: str, curves: Mapping[str, Curve], places: Sequence[str], stages: Sequence[int]
) -> Part | None:
    panels, rows = [], []
    for stage in stages:
        name = f"stage {stage} {name_of}"
        if name in curves:
            scale = 1.0 if _plain(name) else 100.0
            errors = [None if e is None else scale * e for _, e in curves[name]]
            panels.append(Panel(f"stage {stage}", places, _values(name, curves[name]), errors, "both"))
            rows.append((f"stage {stage}", *(_cell(name, *m) for m in curves[name])))
    if not panels:
        return None
    table = Table(title, ("stage", *places), tuple(rows))
    said = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in rows)
    drawing = svg.multiples(key, title, said, panels, low=None)
    return Part(title, Plot(drawing, "Over the training; thin lines: two standard errors."), table)
