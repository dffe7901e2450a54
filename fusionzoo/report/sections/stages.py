"""Several measures side by side, stage by stage: similarity, variance and concepts; what is shared, what specific."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.dissect.measures.base import STREAMS, Measured
from fusionzoo.dissect.measures.concepts import Variance
from fusionzoo.dissect.measures.similarity import CKAValue
from fusionzoo.dissect.results import Dissection, Stage
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section, said
from fusionzoo.report.svg import Series
from fusionzoo.report.table import ABSENT, Table, clean, hundred, integer, mean, number, points, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["SHARING", "STAGES", "best_stage", "comparison", "contributions", "sharing", "stages", "variance_cells"]


def variance_cells(entry: Variance | None) -> tuple[str, str]:
    """Semantic variance and its floor in points; the value carries `~` when it is not above the floor."""
    if entry is None or entry.value is None:
        return ABSENT, ABSENT
    low = entry.floor is not None and entry.value <= entry.floor
    return points(entry.value) + ("~" if low else ""), points(entry.floor)


def _cka(value: CKAValue | None) -> str:
    return number(None if value is None else value.unbiased)


def stages(d: Dissection) -> Table:
    """One row a stage: similarity of the streams, semantic variance with its floor, mean concept IoU of each stream."""
    x = x_name(d)
    rows = []
    for row in d.rows:
        variance, iou = row.concepts.variance, row.concepts.iou
        rows.append(
            (
                str(row.stage),
                _cka(row.similarity.cka.gap),
                _cka(row.similarity.cka.pix),
                *variance_cells(variance.get("rgb_x")),
                variance_cells(variance.get("rgb_fused"))[0],
                variance_cells(variance.get("x_fused"))[0],
                *(points(mean(iou.get(s) or ())) for s in STREAMS),
            )
        )
    first = d.rows[0].concepts.variance if d.rows else {}
    reducer = next((v.reducer for v in first.values() if v.reducer), "")
    return Table(
        "Stages",
        ("stage", "CKA gap", "CKA pix", "SV rgb-x", "floor", "SV rgb-fus", f"SV {x[:3]}-fus", "IoU rgb", f"IoU {x}",
         "IoU fused"),
        tuple(rows),
        note=f"CKA: unbiased linear, rgb against {x} (gap: pooled, pix: pixels). SV: semantic variance in points"
        + (f" ({clean(reducer)})" if reducer else "")
        + "; ~ marks a value that is not above its noise floor. IoU: mean concept set IoU in points.",
    )  # fmt: skip


def best_stage(d: Dissection) -> Stage | None:
    """The stage whose fused (else best) stream has the highest mean concept IoU; None when no concept was measured."""
    known = [(row.mean_iou, row) for row in d.rows if row.mean_iou is not None]
    return max(known, key=lambda pair: pair[0])[1] if known else None


# ----------------------------------------------------------------------------------------------- shared and specific


def _share(entry: Measured | None) -> str:
    """A share of variance in percent with its error."""
    return ABSENT if entry is None else with_error(entry.value, entry.error)


def sharing(d: Dissection) -> Table | None:
    """One row a stage: what the fused features take from each modality, and which concepts the streams share; None
    where neither was measured."""
    x = x_name(d)
    rows = []
    for row in d.rows:
        shares, kinds = row.similarity.commonality.get("pix"), row.specificity
        if shares is None and kinds is None:
            continue
        lists = () if kinds is None else (kinds.consistent, kinds.rgb, kinds.x, kinds.gained, kinds.lost)
        counts = [str(len(names)) for names in lists] or [ABSENT] * 5
        parts = (None if shares is None else getattr(shares, k) for k in ("unique_rgb", "redundant", "unique_x"))
        rows.append((str(row.stage), *map(_share, parts), *counts))
    if not rows:
        return None
    return Table(
        "Shared and specific",
        ("stage", "rgb alone %", "shared %", f"{x} alone %", "consistent", "only rgb", f"only {x}", "gained", "lost"),
        tuple(rows),
        note="Percent of the fused features' variance that one modality alone explains, or either (shared; below 0:"
        " only both together). Concepts that both streams encode alike, that one encodes; that fusion gains or loses.",
    )


TITLE = "What the fused features take from each modality"


def _shares_plot(d: Dissection) -> Plot | None:
    rows = [(row.stage, row.similarity.commonality["pix"]) for row in d.rows if "pix" in row.similarity.commonality]
    if not rows:
        return None
    other = f"{x_name(d)} alone"
    names = (("unique_rgb", "rgb alone", "rgb"), ("redundant", "shared", "fused"), ("unique_x", other, "x"))
    parts = [
        Series(name, stream, [hundred(getattr(shares, key).value) for _, shares in rows]) for key, name, stream in names
    ]
    places = [str(stage) for stage, _ in rows]
    drawing = svg.stacked("shares", TITLE, "In percent; " + said(places, parts, 1), places, parts)
    return Plot(drawing, "Percent of their variance that linear maps explain; the rest is new or not linear.")


def _shares_table(d: Dissection) -> Table | None:
    return sharing(d) if any("pix" in row.similarity.commonality for row in d.rows) else None


STAGES = Section("stages", stages)
SHARING = Section("sharing", sharing, _shares_plot, lambda d: TITLE, _shares_table)


# ------------------------------------------------------------------------------------------------ several checkpoints


def _common_x(dissections: Sequence[Dissection]) -> str:
    names = {x_name(d) for d in dissections}
    return names.pop() if len(names) == 1 else "x"


def comparison(dissections: Sequence[Dissection]) -> Table:
    """One row a checkpoint: mIoU with both and without either, CKA and semantic variance at its best stage."""
    rows = []
    x = _common_x(dissections)
    for d in dissections:
        parts = [d.segmentation.get(c) for c in ("both", "without_rgb", "without_x")]
        miou = [points(None if part is None else part.miou) for part in parts]
        best = best_stage(d) or (d.rows[-1] if d.rows else None)
        variance = variance_cells(None if best is None else best.concepts.variance.get("rgb_x"))[0]
        cka = _cka(None if best is None else best.similarity.cka.gap)
        found = ABSENT if d.truth_found is None else ("yes" if d.truth_found else "NO")
        at = integer(None if best is None else best.stage)
        rows.append((clean(d.model.name), *miou, at, cka, variance, found))
    where = {clean(f"{d.data.name}, {d.data.split}, {d.data.n} images") for d in dissections}
    return Table(
        "Comparison",
        ("checkpoint", "mIoU", "no rgb", f"no {x}", "stage", "CKA gap", "SV rgb-x", "planted"),
        tuple(rows),
        "<>>>>>><",
        f"Points, on {'; '.join(sorted(where))}. CKA and SV (semantic variance) at the stage named.",
    )


def contributions(dissections: Sequence[Dissection]) -> Table:
    """One row a checkpoint: Shapley values and interaction, consistent and specific concepts at its best stage; no rows
    where nothing of that was measured."""
    rows = []
    for d in dissections:
        made, best = d.contribution, best_stage(d)
        kinds = None if best is None else best.specificity
        if made is None and kinds is None:
            continue
        three = [None] * 3 if made is None else [made.shapley.get("rgb"), made.shapley.get("x"), made.interaction]
        cells = [ABSENT if e is None else with_error(e.miou, e.miou_error, i == 2) for i, e in enumerate(three)]
        alike = ABSENT if kinds is None else str(len(kinds.consistent))
        only = ABSENT if kinds is None else f"{len(kinds.rgb)}/{len(kinds.x)}"
        rows.append((clean(d.model.name), *cells, integer(None if best is None else best.stage), alike, only))
    x = _common_x(dissections)
    return Table(
        "What each modality gives",
        ("checkpoint", "rgb", x, "interact.", "at", "alike", f"only rgb/{x}"),
        tuple(rows),
        note="Shapley values of the mIoU and their interaction (above 0: the modalities help each other), points ±"
        " standard error. At the stage named: concepts that both streams encode alike, and that only one does.",
    )
