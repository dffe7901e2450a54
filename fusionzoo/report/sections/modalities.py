"""Several modalities beside rgb, each by itself: how alike its features are to those of rgb, stage by stage."""

from __future__ import annotations

from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import inputs
from fusionzoo.report.sections.base import Section
from fusionzoo.report.sections.stages import variance_cells
from fusionzoo.report.table import ABSENT, Table, clean, mean, number, points

__all__ = ["SECTION", "modalities"]


def modalities(d: Dissection) -> Table | None:
    """One row for each stage and modality; None with one modality beside rgb, or where a model shows none by itself."""
    names = inputs(d.model.modalities)[1:]
    rows = []
    for row in d.rows:
        for name in names if len(names) > 1 else ():
            if name not in row.points:
                continue
            alike, iou = row.similarity.pairs.get(f"rgb_{name}", {}), row.concepts.iou.get(name) or ()
            cka = [number(alike[view].cka.value) if view in alike else ABSENT for view in ("gap", "pix")]
            kinds = None if row.specificity is None else row.specificity.modalities.get(name)
            counts = [ABSENT] * 3 if kinds is None else [str(len(v)) for v in (kinds.consistent, kinds.rgb, kinds.x)]
            variance = variance_cells(row.concepts.variance.get(f"rgb_{name}"))
            rows.append((str(row.stage), clean(name), *cka, *variance, points(mean(iou)), *counts))
    if not rows:
        return None
    return Table(
        "Each modality against rgb",
        ("stage", "modality", "CKA gap", "CKA pix", "SV", "floor", "IoU", "consistent", "only rgb", "only it"),
        tuple(rows),
        "<<>>>>>>>>",
        "Features of each modality before they are merged to x, against those of rgb; columns as under Stages. Concepts"
        " that both encode alike, and that one of the two encodes.",
    )


SECTION = Section("modalities", modalities)
