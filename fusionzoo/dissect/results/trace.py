"""From the confusion counts of a trace to its result: effects with errors, rankings, and what each class rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fusionzoo.dissect.effects import ERRORS, ClassTrace, Rest, Scores, Setting, Trace, TraceRow
from fusionzoo.dissect.intervention import ABLATIONS, CLEAN, Intervention
from fusionzoo.dissect.measures.base import number, numbers
from fusionzoo.dissect.measures.scores import difference, miou_and_classes, score

__all__ = ["rests_on", "tables"]

LITTLE = 0.2
"""A class that loses no more than this share of its IoU without either modality rests on neither."""
RECOGNISED = 0.05
"""Clean IoU below which nothing is said about what a class rests on."""


def tables(plan: Sequence[Intervention], counts: Mapping[str, Tensor], kinds: Sequence[str], setting: Setting) -> Trace:
    """The result of a trace.

    Args:
        plan: every intervention that was run.
        counts: its key -> (G, K, K) confusion counts in image groups.
        kinds: the edits that were asked for.
    """
    clean = score(counts[CLEAN.key], setting.task)
    absent = {one.absent: one for one in plan if one.edit == "absent"}
    rows = [_row(one, counts, absent, setting.task) for one in plan if one.edit != "clean"]
    classes = _classes(setting, clean, counts, _streams(plan, kinds), rows)
    return Trace(
        setting=setting,
        clean=clean,
        absent={m: score(counts[one.key], setting.task) for m, one in absent.items()},
        edits=list(kinds),
        rows=rows,
        ranking=_ranking(rows, next((k for k in kinds if k in ABLATIONS), "")),
        restored=_ranking(rows, "restore"),
        classes=classes,
        found=_verdict(classes),
    )


def _row(one: Intervention, counts: Mapping[str, Tensor], absent: Mapping[str, Intervention], task: str) -> TraceRow:
    clean, own = counts[CLEAN.key], counts[one.key]
    if one.edit == "restore":
        without = counts[absent[one.absent].key]
        value, error = difference(own, without, task)
        whole = difference(clean, without, task)[0][0]
    else:
        value, error = difference(clean, own, task)
        whole = miou_and_classes(clean.sum(0), task)[0]
    return TraceRow(
        point=one.points[0] if len(one.points) == 1 else "",
        stream=one.stream,
        stage=one.stage,
        edit=one.edit,
        reach=one.reach,
        part=one.part,
        absent=one.absent if one.edit == "restore" else "",
        miou=number(miou_and_classes(own.sum(0), task)[0]),
        effect=number(value[0]),
        effect_error=number(error[0]),
        share=number(value[0] / whole) if abs(float(whole)) > 1e-9 else None,
        class_effect=numbers(value[1:]),
        class_effect_error=numbers(error[1:]),
    )


def _single(rows: Sequence[TraceRow], edit: str) -> list[TraceRow]:
    """Rows of one stage of rgb or x each, the stage by itself where the model lets it."""
    of = [r for r in rows if r.edit == edit and r.stage is not None and r.stream in ("rgb", "x")]
    of = [r for r in of if edit != "restore" or r.absent == r.stream]
    return [r for r in of if r.reach == "fusion"] or [r for r in of if r.reach == "onward"]


def _ranking(rows: Sequence[TraceRow], edit: str) -> list[Rest]:
    found = [
        Rest(r.stream, r.stage, r.point, r.effect, r.effect_error, r.share, r.signal)
        for r in _single(rows, edit)
        if r.effect is not None and r.stage is not None
    ]
    return sorted(found, key=lambda r: -r.effect)


def _streams(plan: Sequence[Intervention], kinds: Sequence[str]) -> dict[str, Intervention]:
    """Stream -> the intervention that takes the whole stream away: all its stages by the first kind of ablation, its
    only stage, or else the input."""
    edit = next((k for k in kinds if k in ABLATIONS), None)
    found = {}
    for stream in ("rgb", "x"):
        of = [one for one in plan if one.stream == stream]
        whole = [one for one in of if one.edit == edit and one.reach == "stream"]
        lone = [one for one in of if one.edit == edit and one.reach == "onward"]
        best = whole or (lone if len(lone) == 1 else []) or [one for one in of if one.edit == "absent"]
        if best:
            found[stream] = best[0]
    return found


def _classes(
    setting: Setting,
    clean: Scores,
    counts: Mapping[str, Tensor],
    streams: Mapping[str, Intervention],
    rows: Sequence[TraceRow],
) -> list[ClassTrace]:
    base = counts[CLEAN.key]
    loss = {s: difference(base, counts[one.key], setting.task) for s, one in streams.items()}
    apart = None
    if len(loss) == 2:  # (IoU without x) - (IoU without rgb): how much more rgb costs
        apart = difference(counts[streams["x"].key], counts[streams["rgb"].key], setting.task)
    edit = next((one.edit for one in streams.values() if one.edit != "absent"), "")
    single = _single(rows, edit) if edit else _single(rows, "restore")
    table = []
    for k, name in enumerate(setting.class_names):
        cost = {s: (number(v[k + 1]), number(e[k + 1])) for s, (v, e) in loss.items()}
        row = ClassTrace(
            name,
            setting.concepts.get(name, ""),
            clean.iou[k],
            *cost.get("rgb", (None, None)),
            *cost.get("x", (None, None)),
            rests_on="",
        )
        if row.iou is not None and row.iou >= RECOGNISED and cost:
            between = None if apart is None else (float(apart[0][k + 1]), float(apart[1][k + 1]))
            row.rests_on = rests_on(row.iou, cost, between)
            best = max(single, key=lambda r: r.class_effect[k] or 0.0, default=None)
            if best is not None and _sure(best.class_effect[k], best.class_effect_error[k]):
                row.point, row.stage = best.point, best.stage
        table.append(row)
    return table


def _sure(value: float | None, error: float | None) -> bool:
    """A loss that is more than ERRORS standard errors above zero."""
    return value is not None and error is not None and value > ERRORS * error and value > 0


def rests_on(
    iou: float, cost: Mapping[str, tuple[float | None, float | None]], between: tuple[float, float] | None
) -> str:
    """See `fusionzoo.dissect.effects.ClassTrace`.

    Args:
        iou: clean.
        cost: stream -> (IoU lost without it, error).
        between: (how much more rgb costs than x, error of that).
    """
    lost = [s for s, (value, error) in cost.items() if _sure(value, error)]
    if any(error is None for _, error in cost.values()):
        return ""  # images of one group only
    if between is not None and abs(between[0]) > ERRORS * between[1]:
        more = "rgb" if between[0] > 0 else "x"
        if more in lost:
            return more
    elif lost:
        return "both" if len(lost) == 2 else (lost[0] if len(cost) == 1 else "unclear")
    bounds = [value + ERRORS * error for value, error in cost.values() if value is not None and error is not None]
    return "neither" if bounds and max(bounds) <= LITTLE * iou else "unclear"


def _verdict(classes: Sequence[ClassTrace]) -> bool | None:
    """Whether classes that one modality alone shows rest on it; None without any that is recognised."""
    judged = [c for c in classes if c.kind in ("rgb", "x") and c.rests_on]
    return all(c.rests_on == c.kind for c in judged) if judged else None
