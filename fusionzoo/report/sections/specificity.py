"""Consistent and specific concepts: how many at each stage, and which."""

from __future__ import annotations

from fusionzoo.dissect.results import Dissection
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section, said
from fusionzoo.report.svg import Series
from fusionzoo.report.table import Table, clean
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION"]

TITLE = "Consistent and specific concepts"


def _kinds(d: Dissection) -> tuple[tuple[str, str, str], ...]:
    """(list, its name, stream) of those that are drawn."""
    return (("consistent", "consistent", "fused"), ("rgb", "only rgb", "rgb"), ("x", f"only {x_name(d)}", "x"))


def _plot(d: Dissection) -> Plot | None:
    rows = [(row.stage, row.specificity) for row in d.rows if row.specificity is not None]
    if not rows:
        return None
    places = [str(stage) for stage, _ in rows]
    series = [
        Series(name, stream, [float(len(getattr(found, kind))) for _, found in rows])
        for kind, name, stream in _kinds(d)
    ]
    drawing = svg.lines("agreement", TITLE, said(places, series, 0), places, series)
    return Plot(
        drawing,
        "Number of concepts that both streams encode alike, or one of them; differences beyond error and noise.",
    )


def _detail(d: Dissection) -> Table | None:
    found = [row for row in d.rows if row.specificity is not None]
    kinds = [(kind, name) for kind, name, _ in _kinds(d)]
    kinds += [("undecided", "undecided"), ("gained", "fusion gains"), ("lost", "loses")]
    rows = []
    for row in found:
        for kind, name in kinds:
            listed = ", ".join(clean(c) for c in getattr(row.specificity, kind))
            rows += [(str(row.stage), name, listed)] if listed else []
    return Table("Concepts by stage", ("stage", "kind", "concepts"), tuple(rows), "<<<") if found else None


SECTION = Section("specificity", plot=_plot, title=lambda d: TITLE, detail=_detail)
