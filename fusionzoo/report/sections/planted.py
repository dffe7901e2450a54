"""Known truth against what the probes found."""

from __future__ import annotations

from fusionzoo.dissect.results import Dissection
from fusionzoo.report.sections.base import Part, Section
from fusionzoo.report.table import ABSENT, Table, clean, integer, points
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "planted"]


def planted(d: Dissection) -> Table | None:
    """Known truth against what the probes found; None on data without planted truth."""
    if d.planted is None:
        return None
    x = x_name(d)
    rows = []
    for r in d.planted.rows:
        gap = points(r.rgb - r.x, signed=True) if r.rgb is not None and r.x is not None else ABSENT
        fields = (points(r.rgb), points(r.x), points(r.fused), gap, integer(r.stage))
        rows.append((clean(r.concept), "yes" if r.found else "NO", clean(r.kind), *fields))
    return Table(
        "Planted truth",
        ("concept", "found", "visible in", "rgb", x, "fused", f"rgb-{x}", "stage"),
        tuple(rows),
        "<<<>>>>>",
        "It is known where each concept of these scenes is visible; found: the probes agree. Concept set IoU in points,"
        " best stage of each stream; stage: that of the best of all.",
    )


def _part(d: Dissection) -> Part | None:
    table = planted(d)
    return None if table is None else Part("Planted truth", table=table, note=table.note)


SECTION = Section("planted", planted, part=_part)
