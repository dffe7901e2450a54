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
    own = dict.fromkeys(name for r in d.planted.rows for name in r.streams)
    streams = {"rgb": "rgb", **({name: clean(name) for name in own} or {"x": x}), "fused": "fused"}
    rows = []
    for r in d.planted.rows:
        best = {"rgb": r.rgb, "x": r.x, "fused": r.fused, **r.streams}
        gap = points(r.rgb - r.x, signed=True) if r.rgb is not None and r.x is not None else ABSENT
        fields = (*(points(best.get(s)) for s in streams), *([] if own else [gap]), integer(r.stage))
        rows.append((clean(r.concept), "yes" if r.found else "NO", clean(r.kind), *fields))
    columns = ("concept", "found", "visible in", *streams.values(), *([] if own else [f"rgb-{x}"]), "stage")
    return Table("Planted truth", columns, tuple(rows), "<<<" + ">" * (len(columns) - 3), _NOTE)


def _part(d: Dissection) -> Part | None:
    table = planted(d)
    return None if table is None else Part("Planted truth", table=table)


SECTION = Section("planted", planted, part=_part)
