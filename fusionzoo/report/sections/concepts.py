"""What each stream encodes: semantic variance, concepts at the best stage, concepts over the stages."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.base import STREAMS
from fusionzoo.dissect.results import Dissection, Stage
from fusionzoo.dissect.words import inputs
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section, positions, said
from fusionzoo.report.sections.stages import best_stage, stages
from fusionzoo.report.svg import Series
from fusionzoo.report.table import ABSENT, Table, clean, hundred, number, points
from fusionzoo.report.verdict import x_name

__all__ = ["BEST", "MAP", "VARIANCE", "concepts"]


# --------------------------------------------------------------------------------------------------- semantic variance


def _variances(d: Dissection) -> list[Series]:
    x = x_name(d)
    pairs = (("rgb_x", f"rgb-{x}", "both"), ("rgb_fused", "rgb-fused", "rgb"), ("x_fused", f"{x}-fused", "x"))
    series = []
    for key, name, stream in pairs:
        entries = [row.concepts.variance.get(key) for row in d.rows]
        values = [None if e is None else hundred(e.value) for e in entries]
        if any(v is not None for v in values):
            series.append(Series(name, stream, values))
    return series


def _variance_plot(d: Dissection) -> Plot | None:
    series = _variances(d)
    if not series:
        return None
    entries = [row.concepts.variance for row in d.rows]
    first = [e.get("rgb_x") or next(iter(e.values()), None) for e in entries]
    floor = [None if e is None else hundred(e.floor) for e in first]
    known = any(f is not None for f in floor)
    words = said(positions(d), [*series, *([Series("noise floor", "band", floor)] if known else [])], 1)
    title = "Semantic variance per stage"
    drawing = svg.lines("sv", title, "In points; " + words, positions(d), series, floor=floor if known else None)
    caption = "How much the concept IoUs of two streams differ, in points; higher is more different."
    if known:
        caption += f" Grey: noise floor of rgb-{x_name(d)}; a value in the grey is no difference."
    return Plot(drawing, caption)


VARIANCE = Section(
    "variance",
    plot=_variance_plot,
    title=lambda d: "Semantic variance",
    detail=lambda d: stages(d) if _variances(d) else None,
)


# ---------------------------------------------------------------------------------------------------- at the best stage


def _at(values: Sequence[float | None] | None, index: int) -> float | None:
    return values[index] if values is not None and index < len(values) else None


def concepts(d: Dissection, at: Stage | None = None) -> Table:
    """One row a concept: class IoU with both and without either, and concept IoU of rgb, x, fused at one stage."""
    x = x_name(d)
    at = best_stage(d) if at is None else at
    probed = {} if at is None else at.concepts.iou
    scores = d.segmentation if d.protocol.concepts == "labels" else {}
    kinds = d.data.concepts
    rows = []
    for k, name in enumerate(d.concept_names):
        r, v, f = (_at(probed.get(s), k) for s in STREAMS)
        gap = points(r - v, signed=True) if r is not None and v is not None else ABSENT
        alone = Condition.without(*inputs(d.model.modalities)[1:])
        parts = [scores.get(c) for c in (Condition.BOTH, Condition.WITHOUT_RGB, alone)]
        tasks = (points(None if part is None else _at(part.iou, k)) for part in parts)
        kind = (clean(kinds.get(name, ABSENT)),) if kinds else ()
        rows.append((clean(name), *kind, *tasks, points(r), points(v), points(f), gap))
    kind_column = ("visible in",) if kinds else ()
    where = f" at stage {at.stage} (the highest mean)" if at is not None else ""
    return Table(
        "Concepts",
        ("concept", *kind_column, "both", "no rgb", f"no {x}", "rgb", x, "fused", f"rgb-{x}"),
        tuple(rows),
        "<" + "<" * len(kind_column) + ">>>>>>>",
        f"both, no rgb, no {x}: IoU of the prediction. rgb, {x}, fused: concept set IoU of features{where}. Points.",
    )


def _best_title(d: Dissection) -> str:
    best = best_stage(d)
    return f"Which stream encodes what: stage {'-' if best is None else best.stage}"


def _best_plot(d: Dissection) -> Plot | None:
    best = best_stage(d)
    if best is None:
        return None
    iou = best.concepts.iou
    names = {s: n for s, n in (("rgb", "rgb"), ("x", x_name(d)), ("fused", "fused")) if s in iou}
    rows = [
        (clean(name), {s: hundred(iou[s][k]) for s in STREAMS if s in iou}) for k, name in enumerate(d.concept_names)
    ]
    spoken = "; ".join(
        f"{label}: " + ", ".join(f"{names[s]} {number(v, 1)}" for s, v in row.items()) for label, row in rows
    )
    drawing = svg.dumbbell("streams", _best_title(d), f"Concept set IoU in points. {spoken}", rows, names)
    return Plot(drawing, "Concept set IoU of each stream's features, in points, at the stage with the highest mean.")


BEST = Section("concepts", concepts, _best_plot, _best_title, lambda d: concepts(d) if best_stage(d) else None)


# ----------------------------------------------------------------------------------------------------- over the stages


def _panels(d: Dissection) -> list[tuple[str, list[str], list[list[float | None]]]]:
    """(stream, stages, [concept][stage] in points) of each stream."""
    label = {"rgb": "rgb", "x": x_name(d), "fused": "fused"}
    found = []
    for s in STREAMS:
        chosen = [row for row in d.rows if s in row.concepts.iou]
        if chosen:
            grid = [[hundred(row.concepts.iou[s][k]) for row in chosen] for k in range(len(d.concept_names))]
            found.append((label[s], [str(row.stage) for row in chosen], grid))
    return found


def _map_table(d: Dissection) -> Table | None:
    panels = _panels(d)
    if not panels:
        return None
    rows = []
    for k, name in enumerate(d.concept_names):
        values = [v for _, _, grid in panels for v in grid[k]]
        rows.append((clean(name), *(points(None if v is None else v / 100) for v in values)))
    columns = ["concept", *(f"{name} {c}" for name, cs, _ in panels for c in cs)]
    return Table(
        "Concept set IoU by stream and stage", tuple(columns), tuple(rows),
        note="Points; column names give stream and stage.",
    )  # fmt: skip


def _map_plot(d: Dissection) -> Plot | None:
    table = _map_table(d)
    if table is None:
        return None
    names = [clean(n) for n in d.concept_names]
    drawing = svg.heatmap("map", table.title, "The table below holds every value.", names, _panels(d))
    return Plot(drawing, "Concept set IoU in points; columns are stages.")


MAP = Section("map", plot=_map_plot, title=lambda d: "Concepts over stages", detail=_map_table)
