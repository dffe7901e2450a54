"""Segmentation scores with both modalities and without: table and bars."""

from __future__ import annotations

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.scores import Segmentation
from fusionzoo.dissect.results import Dissection
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section
from fusionzoo.report.table import ABSENT, Table, clean, hundred, points
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "scores"]


def _labels(d: Dissection) -> dict[Condition, str]:
    names = {"rgb": "rgb", "x": x_name(d)}
    without = {Condition.without(s): f"without {name}" for s, name in names.items()}
    return {Condition.BOTH: "both", **without, Condition.NEITHER: "without either"}


def scores(d: Dissection) -> Table:
    """mIoU and pixel accuracy with both modalities and without either."""
    both = d.segmentation.get(Condition.BOTH)
    rows = []
    for condition, label in _labels(d).items():
        part = d.segmentation.get(condition)
        if part is not None:
            change = "" if condition == Condition.BOTH else _change(None if both is None else both.miou, part)
            rows.append((label, points(part.miou), change, points(part.pixel_accuracy)))
    return Table(
        "Segmentation",
        ("modalities", "mIoU", "change", "pixel accuracy"),
        tuple(rows),
        "<>>>",
        f"Points (± standard error). A modality that is taken away is replaced by: {clean(d.protocol.absence)}.",
    )


def _change(full: float | None, part: Segmentation) -> str:
    """Change against both modalities in points, with its standard error where the dissection has one."""
    if full is None or part.miou is None:
        return ABSENT
    error = None if part.drop is None else part.drop.miou_error
    return points(part.miou - full, signed=True) + (f" ±{points(error)}" if error is not None else "")


def _plot(d: Dissection) -> Plot | None:
    if not d.segmentation:
        return None
    left = {Condition.BOTH: "", Condition.WITHOUT_RGB: f" ({x_name(d)} only)", Condition.WITHOUT_X: " (rgb only)"}
    fills = {Condition.BOTH: "both", Condition.WITHOUT_RGB: "x", Condition.WITHOUT_X: "rgb", Condition.NEITHER: "band"}
    rows, words = [], []
    for condition, label in _labels(d).items():
        part = d.segmentation.get(condition)
        if part is not None:
            rows.append((label, hundred(part.miou), fills[condition]))
            words.append(f"{label}{left.get(condition, '')} {points(part.miou)}")
    drawing = svg.bars(
        "seg", "mIoU with both modalities and without either", "mIoU in points: " + ", ".join(words), rows
    )
    return Plot(drawing, "In points; the colour of a bar says which modality is left.")


SECTION = Section("segmentation", scores, _plot, lambda d: "Segmentation: mIoU")
