"""How alike the streams are at each stage: CKA."""

from __future__ import annotations

from fusionzoo.dissect.results import Dissection
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section, positions, said
from fusionzoo.report.sections.stages import stages
from fusionzoo.report.svg import Series
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION"]

NAMES = {"gap": ("pooled (gap)", "both"), "pix": ("pixels (pix)", "fused")}


def _title(d: Dissection) -> str:
    return f"Similarity of the rgb and the {x_name(d)} stream (CKA)"


def _series(d: Dissection) -> list[Series]:
    found = []
    for view, (name, stream) in NAMES.items():
        values = [getattr(row.similarity.cka, view) for row in d.rows]
        cka = [None if v is None else v.unbiased for v in values]
        if any(v is not None for v in cka):
            found.append(Series(name, stream, cka))
    return found


def _plot(d: Dissection) -> Plot | None:
    series = _series(d)
    if not series:
        return None
    drawing = svg.lines("cka", _title(d), said(positions(d), series, 2), positions(d), series, high=1.0)
    return Plot(drawing, "Unbiased linear CKA per stage: 1 is the same up to rotation and scale, 0 is unrelated.")


SECTION = Section("similarity", plot=_plot, title=_title, detail=lambda d: stages(d) if _series(d) else None)
