"""Complete sums -> the tables of a Dissection. Pure functions of a finished Tally."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from fusionzoo.dissect import agree, relate, vectors
from fusionzoo.dissect.plan import ABSENT, CONDITIONS, FITS, Task
from fusionzoo.dissect.relate import PAIRS, number
from fusionzoo.dissect.results import (
    STREAMS,
    Contribution,
    Drop,
    Estimate,
    GateHealth,
    Level,
    Planted,
    PlantedRow,
    ProbeHealth,
    Segmentation,
    Variance,
)
from fusionzoo.dissect.tally import Tally
from fusionzoo.metrics import ChannelHealth, ConceptCurve, ConfusionMatrix, GateStatistics, jackknife, semantic_variance
from fusionzoo.metrics.cooperation.contribution import Estimate as Scored
from fusionzoo.metrics.cooperation.contribution import contribution, perceptual_scores
from fusionzoo.metrics.segmentation.confusion import iou_from_confusion
from fusionzoo.probes import Probe

__all__ = [
    "PAIRS",
    "Reducer",
    "contribution_table",
    "health",
    "levels",
    "number",
    "numbers",
    "planted_table",
    "segmentation",
]

Reducer = str | Callable[[Tensor, Tensor], Tensor]


def segmentation(tally: Tally) -> dict[str, Segmentation]:
    """Scores of each condition, and what is lost against both modalities."""
    matrices = {c: m for c, m in _matrices(tally).items() if c in ABSENT}
    table = {}
    for condition, matrix in matrices.items():
        scores = matrix.compute()
        drop = None if condition == "both" or "both" not in matrices else _drop(matrices["both"], matrix)
        table[condition] = Segmentation(number(scores.miou), number(scores.pixel_accuracy), numbers(scores.iou), drop)
    return table


def _matrices(tally: Tally) -> dict[str, ConfusionMatrix]:
    found = {c: tally.sums.get(Task("confusion", condition=c).key) for c in CONDITIONS}
    return {c: sums for c, sums in found.items() if isinstance(sums, ConfusionMatrix)}


def contribution_table(
    tally: Tally, absence: str, points: Mapping[int, Mapping[str, str]] | None = None
) -> Contribution | None:
    """V(S), Shapley values, interaction and perceptual scores; None unless all four subsets were scored."""
    matrices = _matrices(tally)
    if not all(condition in matrices for condition in ABSENT):
        return None
    subsets = {("rgb", "x"): "both", ("rgb",): "no_x", ("x",): "no_rgb", (): "none"}
    found = contribution({subset: matrices[condition] for subset, condition in subsets.items()})
    other = {s: matrices.get(f"no_{s}" if absence == "permute" else f"other_{s}") for s in ("rgb", "x")}
    names = {
        frozenset({"rgb", "x"}): "both",
        frozenset({"rgb"}): "rgb",
        frozenset({"x"}): "x",
        frozenset[str](): "none",
    }
    return Contribution(
        absence,
        {name: _estimate(found.score[subset]) for subset, name in names.items()},
        {name: _estimate(found.shapley[name]) for name in ("rgb", "x")},
        _estimate(next(iter(found.interaction.values()))),
        {s: _estimate(perceptual_scores(matrices["both"], m)) for s, m in other.items() if m is not None},
        vectors.contributions(tally, points or {}),
    )


def _estimate(found: Scored) -> Estimate:
    return Estimate(number(found.mean), number(found.mean_se), numbers(found.classes), numbers(found.classes_se))


def _drop(both: ConfusionMatrix, without: ConfusionMatrix) -> Drop:
    """(both - without), standard errors by leaving out one image group at a time, of both conditions together."""

    def difference(a: Tensor, b: Tensor) -> Tensor:
        first, second = iou_from_confusion(a), iou_from_confusion(b)
        return torch.cat([(first.nanmean() - second.nanmean())[None], first - second])  # (1 + K,)

    value, error = jackknife(difference, [both.state_dict()["counts"], without.state_dict()["counts"]])
    return Drop(number(value[0]), number(error[0]), numbers(value[1:]), numbers(error[1:]))


def levels(
    tally: Tally, points: Mapping[int, Mapping[str, str]], reducer: Reducer = "mean_abs", names: Sequence[str] = ()
) -> list[Level]:
    """One row for each level, coarse levels last. `names`: of the concepts."""
    names = names or [str(k) for k in range(tally.settings.num_concepts)]
    rows = [_level(tally, level, dict(points[level]), reducer, names) for level in sorted(points)]
    for row in rows:
        vectors.fill(row, tally, points)
    return rows


def _level(tally: Tally, level: int, at: dict[str, str], reducer: Reducer, names: Sequence[str]) -> Level:
    row = Level(level, at)
    relate.fill(row, tally)
    curves: dict[str, dict[str, ConceptCurve]] = {}
    for stream in (s for s in STREAMS if s in at):
        found = {fit: tally.sums.get(Task("curve", (at[stream],), variant=fit).key) for fit in FITS}
        fits = {fit: sums for fit, sums in found.items() if isinstance(sums, ConceptCurve)}
        if fits:
            curves[stream] = fits
    iou = {stream: {fit: c.compute() for fit, c in fits.items()} for stream, fits in curves.items()}
    for stream, scores in iou.items():
        row.concept_iou[stream] = numbers(scores["full"].iou)
        row.concept_error[stream] = numbers(scores["full"].iou_se)
        row.concept_floor[stream] = numbers((scores["half0"].iou - scores["half1"].iou).abs())
    name = reducer if isinstance(reducer, str) else getattr(reducer, "__name__", "callable")
    for a, b in PAIRS:
        if a in iou and b in iou:
            value, error = agree.variance(curves[a]["full"], curves[b]["full"], reducer)
            floors = [semantic_variance(iou[s]["half0"].iou, iou[s]["half1"].iou, reducer) for s in (a, b)]
            floor = None if any(math.isnan(f) for f in floors) else max(floors, key=abs)
            interval = None if value is None or error is None else [value - 1.96 * error, value + 1.96 * error]
            row.semantic_variance[f"{a}_{b}"] = Variance(value, name, floor, error, interval)
    if "rgb" in iou and "x" in iou:
        halves = [scores["half0"].iou - scores["half1"].iou for scores in (iou["rgb"], iou["x"])]
        row.agreement = agree.agreement(curves["rgb"]["full"], curves["x"]["full"], halves, names)
        if "fused" in iou:
            halves.append(iou["fused"]["half0"].iou - iou["fused"]["half1"].iou)
            agree.fill_fused(row.agreement, [curves[s]["full"] for s in STREAMS], halves, names)
    return row


def health(tally: Tally, points: Mapping[str, Probe]) -> list[ProbeHealth]:
    """One row for each probe point whose health was measured, in model order."""
    rows = []
    for name, point in points.items():
        sums = tally.sums.get(Task("health", (name,)).key)
        if isinstance(sums, ChannelHealth):
            s = sums.compute()
            values = (number(s.mean), number(s.std), number(s.effective_rank), s.saturated)
            gate = _gate(tally.sums.get(Task("gate", (name,)).key))
            rows.append(ProbeHealth(name, s.channels, s.dead, *values, point.modality, point.role, gate))
    return rows


def _gate(sums: object) -> GateHealth | None:
    if not isinstance(sums, GateStatistics):
        return None
    s = sums.compute()
    return GateHealth(*map(number, (s.entropy, s.shut, s.open, s.by_channel, s.by_image, s.by_position)))


def planted_table(rows: Sequence[Level], class_names: Sequence[str], concepts: Mapping[str, str]) -> Planted | None:
    """Whether the concept probes find the planted truth; None without concepts or without both streams.

    For each concept and each stream the best set IoU over the levels is taken (each stream at its own best level, the
    same rule for all); `level` is the level of the best of all. A row is found when

    - "rgb" (visible in colour only): rgb is above x; "x": the reverse;
    - "both": rgb and x differ less than they do on average for the concepts of one modality;
    - "joint" (only colour and x together tell): fused is above rgb and above x;
    - "none" (visible nowhere): its best is below the best of every concept that one stream can see.

    The table is found when every "rgb" and "x" row is, and the "both" concepts differ less on average than the "rgb"
    ones and than the "x" ones. "joint" and "none" rows are shown but do not decide: a good fusion is no truth of the
    data, and a network can learn where invisible things tend to be. Concepts that no held-out image shows are no
    evidence either way.
    """
    if not concepts or not any("rgb" in row.concept_iou and "x" in row.concept_iou for row in rows):
        return None
    table = []
    for k, name in enumerate(class_names):
        best: dict[str, tuple[float, int]] = {}
        for row in rows:
            for stream, iou in row.concept_iou.items():
                value = iou[k]
                if value is not None and (stream not in best or value > best[stream][0]):
                    best[stream] = (value, row.level)
        value, level = max(best.values(), default=(None, None), key=lambda pair: pair[0])
        rgb, x, fused = (best[s][0] if s in best else None for s in STREAMS)
        table.append(PlantedRow(name, concepts.get(name, ""), rgb, x, fused, level, False))
    return _judge(table)


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
        elif r.kind == "joint":
            r.found = r.fused is not None and r.fused > best
        elif r.kind == "none":
            r.found = lowest is not None and best < lowest
    apart = [r.found for r in seen if r.kind in ("rgb", "x")]
    alike = shared is None or all(shared < g for g in single)
    return Planted(table, bool(apart) and all(apart) and alike)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def numbers(values: Tensor) -> list[float | None]:
    """(N,) -> floats, None for NaN."""
    return [number(v) for v in values.tolist()]
