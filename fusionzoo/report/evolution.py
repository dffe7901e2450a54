"""An Evolution (one model's checkpoints over its training) -> text and a page of curves. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fusionzoo.report import svg, tables
from fusionzoo.report.html import document, figure, html_table, section
from fusionzoo.report.svg import Panel, Series, element, escape
from fusionzoo.report.tables import Table
from fusionzoo.report.terminal import text_table

__all__ = ["html", "text"]

Curve = list[tuple[float | None, float | None]]
_LEVELS = {
    "cka gap": "CKA of the streams (gap)",
    "semantic variance": "Semantic variance, points",
    "consistent": "Consistent concepts",
}
"""Numbers of a level that get small charts of their own -> title."""
_COUNTS = ("consistent", "specific")


def _curves(e: Mapping[str, Any]) -> dict[str, Curve]:
    """Name -> (value, standard error) of each checkpoint; see `fusionzoo.dissect.results.Evolution.curves`."""
    from fusionzoo.dissect.results import Evolution

    made = Evolution.from_dict(dict(e)).curves()
    return {name: [(m.value, m.error) for m in curve] for name, curve in made.items()}


def _positions(e: Mapping[str, Any]) -> list[str]:
    """What stands under the curves: steps or epochs where all are known, else 1, 2, 3, ..."""
    for key in ("step", "epoch"):
        places = [c[key] for c in e["checkpoints"]]
        if all(p is not None for p in places):
            return [f"{p:g}" for p in places]
    return [str(i + 1) for i in range(len(places))]


def _plain(name: str) -> bool:
    """Whether a curve is a number of its own kind, not a fraction that is shown in points."""
    return name.endswith(_COUNTS) or "cka" in name or "angular" in name


def _cell(name: str, value: float | None, error: float | None) -> str:
    if not _plain(name):
        return tables.with_error(value, error)
    digits = 0 if name.endswith(_COUNTS) else 2
    spread = "" if error is None or value is None else f" ±{tables.number(error, digits)}"
    return tables.number(value, digits) + spread


def _table(e: Mapping[str, Any], names: Sequence[str] | None = None) -> Table:
    curves = _curves(e)
    rows = [(n, *(_cell(n, *m) for m in curves[n])) for n in curves if names is None or n in names]
    places = _positions(e)
    listed = "; ".join(f"{p}: {tables.clean(c['name'])}" for p, c in zip(places, e["checkpoints"], strict=True))
    note = f"Points (± standard error), CKA and angles as they are, concepts as counts. {listed}."
    return Table("Over the training", ("number", *places), tuple(map(tuple, rows)), "<" + ">" * len(places), note)


def text(e: Mapping[str, Any], width: int = 100) -> str:
    """The curves of the scores and the contribution as a table for a terminal."""
    import textwrap

    names = [n for n in _curves(e) if not n.startswith("stage ")]
    table = _table(e, names)
    note = textwrap.wrap(table.note, width, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([table.title, *text_table(table, width), *note]) + "\n"


def html(e: Mapping[str, Any]) -> str:
    """The page: scores, contribution, then what changes at each level; every number behind a fold."""
    curves, places = _curves(e), _positions(e)
    x = tables.x_name(e)
    title = tables.clean(f"{e['model']['name']}: {len(places)} checkpoints of its training")
    data = tables.clean(f"{e['data']['name']}, {e['data']['split']} split, {e['data']['n']} images")
    parts = [
        _lines("miou", "mIoU", curves, places, (("miou", "both", "both"), ("miou no_rgb", f"{x} only", "x"),
               ("miou no_x", "rgb only", "rgb"))),
        _lines("shapley", "Contribution (Shapley values)", curves, places, (("shapley rgb", "rgb", "rgb"),
               ("shapley x", x, "x"), ("interaction", "interaction", "both"))),
    ]  # fmt: skip
    levels = sorted({int(n.split()[1]) for n in curves if n.startswith("stage ")})
    for level in levels:
        named = (("unique_rgb", "rgb alone", "rgb"), ("redundant", "shared", "fused"), ("unique_x", f"{x} alone", "x"))
        chosen = [(f"stage {level} {key}", name, stream) for key, name, stream in named]
        parts.append(_lines(f"share{level}", f"Variance of the fused features, stage {level}", curves, places, chosen))
    for i, (key, label) in enumerate(_LEVELS.items()):
        parts.append(_multiples(f"small{i}", label, key, curves, places, levels))
    every = _table(e)
    order = Table("Checkpoints", ("at", "name"), tuple(zip(places, _names(e), strict=True)), "<<")
    behind = element("details", element("summary", f"All {len(every.rows)} numbers") + html_table(every))
    body = [
        element(
            "header",
            element("p", escape(f"fusionzoo check --evolution on {data}"), class_="kicker")
            + element("h1", escape(title))
            + "".join(element("p", escape(sentence)) for sentence in _said(curves, places, x)),
        ),
        '<div class="columns">',
        *parts,
        "</div>",
        section("Checkpoints", html_table(order, caption=False), behind),
    ]
    return document(title, body)


def _names(e: Mapping[str, Any]) -> list[str]:
    return [tables.clean(c["name"]) for c in e["checkpoints"]]


def _said(curves: Mapping[str, Curve], places: Sequence[str], x: str) -> list[str]:
    """What changed from the first to the last checkpoint by more than three times both errors."""
    found = []
    for name, words in (("shapley rgb", "rgb gives"), ("shapley x", f"{x} gives"), ("interaction", "interaction is")):
        (a, first), (b, last) = (curves.get(name) or [(None, None)])[0], (curves.get(name) or [(None, None)])[-1]
        if a is None or b is None or first is None or last is None:
            continue
        change = f"{tables.with_error(a, first)} points at {places[0]}, {tables.with_error(b, last)} at {places[-1]}"
        real = abs(b - a) > 3 * (first + last)
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
) -> str:
    series = [Series(label, stream, _values(name, curves[name])) for name, label, stream in chosen if name in curves]
    if not series:
        return ""
    rows = tuple((label, *(_cell(name, *m) for m in curves[name])) for name, label, _ in chosen if name in curves)
    table = Table(title, ("number", *places), rows, "<" + ">" * len(places), "Points (± standard error).")
    said = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in rows)
    drawing = svg.lines(key, title, said, places, series, x_label="checkpoint")
    unit = "percent" if "Variance" in title else "points"
    return section(title, figure(drawing, f"In {unit}, over the training.", table))


def _multiples(
    key: str, title: str, number: str, curves: Mapping[str, Curve], places: Sequence[str], levels: Sequence[int]
) -> str:
    panels, rows = [], []
    for level in levels:
        name = f"stage {level} {number}"
        if name in curves:
            scale = 1.0 if _plain(name) else 100.0
            errors = [None if e is None else scale * e for _, e in curves[name]]
            panels.append(Panel(f"stage {level}", places, _values(name, curves[name]), errors, "both"))
            rows.append((f"stage {level}", *(_cell(name, *m) for m in curves[name])))
    if not panels:
        return ""
    table = Table(title, ("level", *places), tuple(rows), "<" + ">" * len(places))
    said = "; ".join(f"{row[0]}: {', '.join(row[1:])}" for row in rows)
    drawing = svg.multiples(key, title, said, panels, low=None)
    return section(title, figure(drawing, "Over the training; thin lines: two standard errors.", table))
