"""Whether the concept measures find what was planted: data whose truth is known (`fusionzoo.data.Planted`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusionzoo.dissect.measures.base import STREAMS, Done, Metric
from fusionzoo.dissect.measures.concepts import Concepts, StageConcepts
from fusionzoo.schema import optional

__all__ = ["METRIC", "planted_table"]


@dataclass
class PlantedRow:
    """One planted concept: the best set IoU over stages in each stream, the stage of the best of all, the verdict.

    `streams`: of several modalities beside rgb each by its name, where the model shows them by themselves.
    """

    concept: str
    kind: str
    rgb: float | None
    x: float | None
    fused: float | None
    stage: int | None
    found: bool
    streams: dict[str, float | None] = optional()


@dataclass
class Planted:
    """Whether the dissection finds what was planted; the rule is that of `planted_table`."""

    rows: list[PlantedRow]
    found: bool


def compute(done: Done, results: Mapping[str, Any]) -> Planted | None:
    concepts: Concepts | None = results.get("concepts")
    if concepts is None or done.setup.concepts is not None:
        return None
    return planted_table(concepts.stages, concepts.names, done.setup.kinds, done.setup.own)


def planted_table(
    rows: Sequence[StageConcepts], class_names: Sequence[str], concepts: Mapping[str, str], own: Sequence[str] = ()
) -> Planted | None:
    """Whether the concept probes find the planted truth; None without concepts of one modality or without both streams.

    For each concept and each stream the best set IoU over the stages is taken (each stream at its own best stage, the
    same rule for all); `stage` is the stage of the best of all. A row is found when

    - "rgb" (visible in rgb only): rgb is above x; "x": the reverse;
    - "both": rgb and x differ less than they do on average for the concepts of one modality;
    - "joint", "joint: and", ... (only rgb and x together tell): fused is above rgb and above x;
    - "none" (visible nowhere): its best is below the best of every concept that one stream can see.

    The table is found when every "rgb" and "x" row is, and the "both" concepts differ less on average than the "rgb"
    ones and than the "x" ones. "joint" and "none" rows are shown but do not decide: a good fusion is no truth of the
    data, and a network can learn where invisible things tend to be. Concepts that no held-out image shows are no
    evidence either way.

    Of several modalities (`own`: their names beside rgb) a row whose concept one of them shows is found when that
    stream is above all others, one that several show ("rgb+depth") when each of those is above each of the others; the
    table is when every row of one modality is. Where the model has no streams of theirs, x stands for each of them.
    """
    if not set(concepts.values()) & {"rgb", "x", *own} or not any("rgb" in row.iou and "x" in row.iou for row in rows):
        return None
    table = []
    for k, name in enumerate(class_names):
        best: dict[str, tuple[float, int]] = {}
        for row in rows:
            for stream, iou in row.iou.items():
                value = iou[k]
                if value is not None and (stream not in best or value > best[stream][0]):
                    best[stream] = (value, row.stage)
        value, stage = max(best.values(), default=(None, None), key=lambda pair: pair[0])
        rgb, x, fused = (best[s][0] if s in best else None for s in STREAMS)
        streams: dict[str, float | None] = {s: best[s][0] for s in own if s in best}
        table.append(PlantedRow(name, concepts.get(name, ""), rgb, x, fused, stage, False, streams))
    return _judge_several(table, ("rgb", *own)) if own else _judge(table)


def _judge_several(table: list[PlantedRow], names: Sequence[str]) -> Planted:
    for r in table:
        best = {"rgb": r.rgb, **(r.streams or {"x": r.x})}
        known = [v for v in best.values() if v is not None]
        if len(known) < 2:
            continue
        if r.kind.startswith("joint"):
            r.found = r.fused is not None and r.fused > max(known)
            continue
        homes = {name if name in best else "x" for name in r.kind.split("+") if name in names}
        inside, outside = ([v for s, v in best.items() if v is not None and (s in homes) == there] for there in (1, 0))
        r.found = bool(inside) and (not outside or min(inside) > max(outside))
    seen = {r.concept: [v for v in (r.rgb, r.x, *r.streams.values()) if v is not None] for r in table}
    lowest = min((max(seen[r.concept]) for r in table if r.kind in names and seen[r.concept]), default=None)
    for r in table:
        if r.kind == "none" and seen[r.concept]:
            r.found = lowest is not None and max(seen[r.concept]) < lowest
    apart = [r.found for r in table if r.kind in names and r.rgb is not None]
    return Planted(table, bool(apart) and all(apart))


def _judge(table: list[PlantedRow]) -> Planted:
    seen = [r for r in table if r.rgb is not None and r.x is not None]
    gap = lambda kind: _mean([abs(r.rgb - r.x) for r in seen if r.kind == kind])  # type: ignore[operator]  # noqa: E731
    single, shared = [g for g in (gap("rgb"), gap("x")) if g is not None], gap("both")
    usual = _mean(single)
    lowest = min((max(r.rgb, r.x) for r in seen if r.kind in ("rgb", "x", "both")), default=None)  # type: ignore[type-var]
    for r in seen:
        assert r.rgb is not None and r.x is not None
        best = max(r.rgb, r.x)
        if r.kind == "rgb":
            r.found = r.rgb > r.x
        elif r.kind == "x":
            r.found = r.x > r.rgb
        elif r.kind == "both":
            r.found = usual is not None and abs(r.rgb - r.x) < usual
        elif r.kind.startswith("joint"):
            r.found = r.fused is not None and r.fused > best
        elif r.kind == "none":
            r.found = lowest is not None and best < lowest
    apart = [r.found for r in seen if r.kind in ("rgb", "x")]
    alike = shared is None or all(shared < g for g in single)
    return Planted(table, bool(apart) and all(apart) and alike)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


METRIC = Metric("planted", (), Planted, None, compute)  # it is read off the concepts
