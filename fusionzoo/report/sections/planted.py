"""Known truth against what the probes found."""

from __future__ import annotations

from fusionzoo.dissect.results import Dissection
from fusionzoo.report.sections.base import Part, Section
from fusionzoo.report.table import ABSENT, Table, clean, integer, points
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "planted"]


_NOTE = (
    "It is known where each concept of these scenes is visible; found: the probes agree. Concept set IoU in points,"
    " best stage of each stream; stage: that of the best of all."
)


def planted(d: Dissection) -> Table | None:
    """Known truth against what the probes found; None on data without planted truth."""
    if d.planted is None:
        return None
    x = x_name(d)
    own = list(dict.fromkeys(name for r in d.planted.rows for name in r.streams))
    rows = []
    for r in d.planted.rows if own else ():
        best = [points(v) for v in (r.rgb, *(r.streams.get(name) for name in own), r.fused)]
        rows.append((clean(r.concept), "yes" if r.found else "NO", clean(r.kind), *best, integer(r.stage)))
    if own:
        return Table(
            "Planted truth",
            ("concept", "found", "visible in", "rgb", *map(clean, own), "fused", "stage"),
            tuple(rows),
            "<<<" + ">" * (len(own) + 3),
            _NOTE,
        )
    for r in d.planted.rows:
        gap = points(r.rgb - r.x, signed=True) if r.rgb is not None and r.x is not None else ABSENT
        fields = (points(r.rgb), points(r.x), points(r.fused), gap, integer(r.stage))
        rows.append((clean(r.concept), "yes" if r.found else "NO", clean(r.kind), *fields))
    return Table(
        "Planted truth",
        ("concept", "found", "visible in", "rgb", x, "fused", f"rgb-{x}", "stage"),
        tuple(rows),
        "<<<>>>>>",
        _NOTE,
    )


def _part(d: Dissection) -> Part | None:
    table = planted(d)
    return None if table is None else Part("Planted truth", table=table, note=table.note)


SECTION = Section("planted", planted, part=_part)
