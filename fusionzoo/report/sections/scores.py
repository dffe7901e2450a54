"""Segmentation scores with both modalities and without: table and bars."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.dissect.conditions import Condition, subsets
from fusionzoo.dissect.measures.scores import Segmentation
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import inputs
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section
from fusionzoo.report.table import ABSENT, Table, clean, hundred, points
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "labels", "scores"]


def labels(d: Dissection) -> dict[Condition, str]:
    """Condition -> how a table calls it, in the order of its rows."""
    names = inputs(d.model.modalities)
    if len(names) > 2:
        return {c: _told(c, names) for c in subsets(names)}
    spelled = {"rgb": "rgb", "x": x_name(d)}
    without = {Condition.without(s): f"without {name}" for s, name in spelled.items()}
    return {Condition.BOTH: "both", **without, Condition.NEITHER: "without either"}


def _told(condition: Condition, names: Sequence[str]) -> str:
    """One of the subsets of several modalities in words."""
    gone = [name for name in names if condition.lacks(name)]
    if len(gone) in (0, len(names)):
        return "none" if gone else "all"
    left = [name for name in names if name not in gone]
    return f"only {clean(left[0])}" if len(left) == 1 else clean(f"without {', '.join(gone)}")


def _fill(condition: Condition, names: Sequence[str]) -> str:
    """The colour says whether rgb is left, and whether anything else is."""
    rgb, other = not condition.lacks("rgb"), any(not condition.lacks(name) for name in names[1:])
    return ("both" if other else "rgb") if rgb else "x" if other else "band"


def scores(d: Dissection) -> Table:
    """mIoU and pixel accuracy with both modalities and without either."""
    both = d.segmentation.get(Condition.BOTH)
    rows = []
    for condition, label in labels(d).items():
        part = d.segmentation.get(condition)
        if part is not None:
            change = "" if condition == Condition.BOTH else _change(None if both is None else both.miou, part)
            rows.append((label, points(part.miou), change, points(part.pixel_accuracy)))
    return Table(
        "Segmentation",
        ("modalities", "mIoU", "change", "pixel accuracy"),
        tuple(rows),
        note=f"Points (± standard error). A modality that is taken away is replaced by: {clean(d.protocol.absence)}."
        + (" Pictures of images and modality maps are for two modalities." if len(d.model.modalities) > 2 else ""),
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
    names = inputs(d.model.modalities)
    left = {} if len(names) > 2 else {Condition.WITHOUT_RGB: f" ({x_name(d)} only)", Condition.WITHOUT_X: " (rgb only)"}
    rows, words = [], []
    for condition, label in labels(d).items():
        part = d.segmentation.get(condition)
        if part is not None:
            rows.append((label, hundred(part.miou), _fill(condition, names)))
            words.append(f"{label}{left.get(condition, '')} {points(part.miou)}")
    title = "mIoU with both modalities and without either" if len(names) == 2 else "mIoU with each set of modalities"
    drawing = svg.bars("seg", title, "mIoU in points: " + ", ".join(words), rows)
    says = "which modality is left" if len(names) == 2 else "whether rgb is left alone, with others, or not at all"
    return Plot(drawing, f"In points; the colour of a bar says {says}.")


SECTION = Section("segmentation", scores, _plot, lambda d: "Segmentation: mIoU")
