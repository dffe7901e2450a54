"""What the prediction rests on: ablation and restoration of each stage, what each class loses; a trace by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fusionzoo.dissect.effects import Rest, Setting, Trace, TraceRow
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import modality
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Fold, Plot, Section
from fusionzoo.report.table import ABSENT, Table, clean, points, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "answers", "tables", "trace"]

REACH = {"fusion": "alone", "onward": "onward"}
"""What an ablation at a stage changes: its fusion block's input alone, or the stream from there on."""
MOST = 3
"""Places of a ranking that a sentence names."""

Rows = Mapping[tuple[int, str, str], TraceRow]


def _found(d: Dissection) -> Trace | None:
    return None if d.effects is None else d.effects.trace


def _rows(found: Trace, edit: str = "mean") -> dict[tuple[int, str, str], TraceRow]:
    """(stage, reach, stream) -> row of one kind of edit; of "restore" only the missing modality's own stages."""
    rows = {}
    for r in found.rows:
        own = edit != "restore" or r.stream == r.absent
        if r.edit == edit and r.stage is not None and own:
            rows[r.stage, r.reach, r.stream] = r
    return rows


def _columns(rows: Rows) -> list[tuple[str, str]]:
    return [(s, reach) for s in ("rgb", "x") for reach in REACH if any(k[1:] == (reach, s) for k in rows)]


def trace(d: Dissection) -> Table | None:
    """mIoU lost by ablating each stage of each modality, and what restoring it brings back; None if not traced."""
    found = _found(d)
    if found is None:
        return None
    ablated, restored = _rows(found), _rows(found, "restore")
    columns = _columns(ablated)
    back = list({s: (s, reach) for s, reach in reversed(_columns(restored))}.values())[::-1]  # alone where it is there
    body = []
    for stage in sorted({k[0] for k in (*ablated, *restored)}):
        cells = [_effect(ablated.get((stage, reach, s))) for s, reach in columns]
        body.append((str(stage), *cells, *(_back(restored.get((stage, reach, s))) for s, reach in back)))
    named = {"rgb": "rgb", "x": x_name(d)}
    head = ["stage", *(f"{named[s]} {REACH[r]}" for s, r in columns), *(f"{named[s]} back" for s, _ in back)]
    return Table(
        "Causal tracing",
        tuple(head),
        tuple(body),
        note="mIoU lost, in points, when the stage is replaced by its mean: for its fusion block alone, or for the"
        " stream from there on. Back: share of what is lost without the modality that the stage's clean value brings"
        " back.",
    )


def _effect(row: TraceRow | None) -> str:
    return ABSENT if row is None else with_error(row.effect, row.effect_error)


LEAST = 0.01
"""A loss of mIoU below which no share of it is told."""


def _back(row: TraceRow | None) -> str:
    """The share of what was lost; not of less than a point, which a share only blows up."""
    if row is None or row.share is None or row.effect is None or abs(row.effect) < abs(row.share) * LEAST:
        return ABSENT
    return f"{100 * row.share:.0f} %"


def _lost(value: float | None) -> float | None:
    """Points, nothing below zero: a gain is no loss."""
    return None if value is None else max(0.0, 100 * value)


def _plot(d: Dissection) -> Plot | None:
    """Heat map over stages."""
    found = _found(d)
    rows = _rows(found) if found is not None else {}
    if not rows:
        return None
    stages = sorted({k[0] for k in rows})
    panels = []
    for s, name in (("rgb", "rgb"), ("x", x_name(d))):
        chosen = [r for r in REACH if any(k[1:] == (r, s) for k in rows)]
        grid = [[_lost(rows[v, r, s].effect if (v, r, s) in rows else None) for r in chosen] for v in stages]
        panels.append((name, [REACH[r] for r in chosen], grid))
    words = "mIoU lost in points when a stage is ablated; the table below holds every value."
    drawing = svg.heatmap("trace", "What the prediction rests on", words, [f"stage {v}" for v in stages], panels)
    return Plot(drawing, "Points of mIoU lost when a stage is ablated; darker rests on it more.")


def _classes(d: Dissection) -> Sequence[Fold]:
    """What each class loses by ablating one stage's block input: heat map and table."""
    found = _found(d)
    rows = _rows(found) if found is not None else {}
    reach = next((r for r in REACH if any(k[1] == r for k in rows)), None)
    if found is None or reach is None:
        return ()
    names = [clean(n) for n in found.setting.class_names]
    stages = sorted({k[0] for k in rows if k[1] == reach})
    panels = []
    cells: list[list[str]] = [[name] for name in names]
    for s, called in (("rgb", "rgb"), ("x", x_name(d))):
        chosen = [rows[v, reach, s] for v in stages if (v, reach, s) in rows]
        places = [str(r.stage) for r in chosen]
        panels.append((called, places, [[_lost(r.class_effect[k]) for r in chosen] for k in range(len(names))]))
        for k in range(len(names)):
            cells[k] += [with_error(r.class_effect[k], r.class_effect_error[k]) for r in chosen]
    head = ["class", *(f"{name} {c}" for name, columns, _ in panels for c in columns)]
    table = Table(
        "Classes over stages", tuple(head), tuple(map(tuple, cells)),
        note=f"IoU of the class lost, in points, when that stage is ablated ({REACH[reach]}).",
    )  # fmt: skip
    drawing = svg.heatmap("classes", table.title, "The table below holds every value.", names, panels)
    return (Fold("Classes over stages", table, Plot(drawing, "")),)


SECTION = Section("trace", trace, _plot, lambda d: "What the prediction rests on", folds=_classes)


# ---------------------------------------------------------------------------------------------------- a trace by itself


def _called(s: Setting, stream: str) -> str:
    """How a sentence calls a stream."""
    return modality(s.modalities, stream)


def answers(found: Trace) -> list[str]:
    """The ranking and the verdict in sentences."""
    said = []
    s = found.setting
    for title, ranking in (("The prediction rests most on", found.ranking), ("Most comes back from", found.restored)):
        places = [r for r in ranking if r.signal and r.effect > 0][:MOST]
        if places:
            said.append(f"{title} {', '.join(_place(s, r) for r in places)}.")
        elif ranking:
            said.append("No stage of either modality by itself matters measurably.")
    if found.found is not None:
        verdict = "rest on it" if found.found else "do NOT all rest on it"
        said.append(f"Planted truth: the recognised classes that one modality alone shows {verdict}.")
    return said


def _place(s: Setting, r: Rest) -> str:
    return f"{_called(s, r.stream)} at stage {r.stage} ({with_error(r.effect, r.effect_error)})"


def _stages_table(found: Trace) -> Table:
    """mIoU lost by each ablation, stage by stage: the stage's block alone, and the stream from there on."""
    rows = []
    for edit in [e for e in found.edits if e in ("mean", "zero", "swap")]:
        at, of = _rows(found, edit), [r for r in found.rows if r.edit == edit]
        for stage in sorted({k[0] for k in at}):
            fused = next((r for k, r in at.items() if k[0] == stage and k[2] == "fused"), None)
            rows.append((edit, str(stage), *_cells(at, stage, _effect), _effect(fused)))
        whole = [_effect(next((r for r in of if r.reach == "stream" and r.stream == s), None)) for s in ("rgb", "x")]
        if any(c != ABSENT for c in whole):
            rows.append((edit, "all", ABSENT, ABSENT, *whole, ABSENT))
        rows += [(edit, r.point, *[ABSENT] * 4, _effect(r)) for r in of if r.stage is None and r.reach == "after"]
    absent = {r.stream: r for r in found.rows if r.edit == "absent"}
    rows.append(("absent", "input", ABSENT, ABSENT, *(_effect(absent.get(s)) for s in ("rgb", "x")), ABSENT))
    x = _called(found.setting, "x")
    columns = ("edit", "stage", "rgb alone", f"{x} alone", "rgb onward", f"{x} onward", "fused")
    note = (
        "mIoU lost in points. Alone: what the stage's fusion block gets; onward: the stream from this stage on;"
        " ± one standard error."
    )
    return Table("Ablation", columns, tuple(rows), "<<>>>>>", note)


def _cells(at: Rows, stage: int, cell: Callable[[TraceRow | None], str]) -> list[str]:
    return [cell(at.get((stage, reach, stream))) for reach in REACH for stream in ("rgb", "x")]


def _restored_table(found: Trace) -> Table:
    at, x = _rows(found, "restore"), _called(found.setting, "x")
    rows = tuple((str(stage), *_cells(at, stage, _back)) for stage in sorted({k[0] for k in at}))
    note = "Share of the mIoU lost without the modality that comes back when this stage gets its clean value;"
    note += f" {ABSENT} where less than a point is lost."
    return Table("Restoration", ("stage", "rgb alone", f"{x} alone", "rgb onward", f"{x} onward"), rows, note=note)


def _classes_table(found: Trace) -> Table:
    rows = []
    for c in found.classes:
        place = f"{c.point}" if c.point else "-"
        cells = (points(c.iou), with_error(c.rgb, c.rgb_error), with_error(c.x, c.x_error))
        rows.append((clean(c.name), c.kind or "-", *cells, _called(found.setting, c.rests_on) or "-", place))
    columns = ("class", "shows in", "IoU", "rgb costs", f"{_called(found.setting, 'x')} costs", "rests on", "most at")
    note = "IoU lost in points when a whole stream is ablated; the point whose ablation costs the class most."
    return Table("Classes", columns, tuple(rows), "<<>>><<", note)


def _parts_table(found: Trace) -> Table:
    """The largest effects of channel groups and concept directions."""
    of = [r for r in found.rows if r.edit in ("channels", "concept") and r.effect is not None]
    of.sort(key=lambda r: -(r.effect or 0.0))
    names = found.setting.class_names
    rows = []
    for r in of[:20]:
        own = "-"
        if r.edit == "concept":
            k = names.index(r.part)
            own = with_error(r.class_effect[k], r.class_effect_error[k])
        rows.append((r.edit, r.point, clean(r.part), with_error(r.effect, r.effect_error), own))
    columns = ("edit", "point", "part", "mIoU lost", "the class's IoU lost")
    return Table("Channels and concepts, largest effects", columns, tuple(rows), "<<<>>")


def tables(found: Trace) -> list[Table]:
    """All tables of a trace, those without rows left out."""
    made = (_stages_table(found), _restored_table(found), _classes_table(found), _parts_table(found))
    return [table for table in made if table.rows]
