"""What each modality gives: Shapley values and interaction."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.base import Estimate
from fusionzoo.dissect.results import Dissection
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Fold, Plot, Section
from fusionzoo.report.table import ABSENT, Table, clean, hundred, number, points, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "contribution", "sentence"]


def _whole(e: Estimate | None, signed: bool = False) -> str:
    return ABSENT if e is None else with_error(e.miou, e.miou_error, signed)


def contribution(d: Dissection) -> Table | None:
    """What each modality gives to the mIoU; None where it was not measured."""
    made = d.contribution
    if made is None:
        return None
    alone = [made.values.get(c) for c in (Condition.WITHOUT_X, Condition.WITHOUT_RGB)]
    shapley = [made.shapley.get(s) for s in ("rgb", "x")]
    known = [e.miou for e in shapley if e is not None and e.miou is not None]
    total = sum(known) if len(known) == 2 else None
    rows = [
        ("score with it alone", *map(_whole, alone), _whole(made.values.get(Condition.BOTH))),
        ("Shapley value", *map(_whole, shapley), points(total)),
    ]
    if total:
        rows.append(("share of the sum", *(f"{100 * (v / total):.0f} %" for v in known), ""))
    rows.append(("interaction", "", "", _whole(made.interaction, True)))
    if made.perceptual:
        rows.append(("perceptual score", *(_whole(made.perceptual.get(s)) for s in ("rgb", "x")), ""))
    return Table(
        "Contribution",
        ("of the mIoU", "rgb", x_name(d), "both"),
        tuple(rows),
        "<>>>",
        f"Points (± standard error). Neither: {_whole(made.values.get(Condition.NEITHER))}. Interaction above 0: the"
        " modalities help each other, below 0: they give the same. Perceptual score: percent lost with that modality of"
        " another image.",
    )


def sentence(d: Dissection) -> str:
    """The contribution in one line; "" where it was not measured."""
    made = d.contribution
    if made is None:
        return ""
    named = (("rgb", made.shapley.get("rgb")), (x_name(d), made.shapley.get("x")))
    parts = ", ".join(f"{name} {_whole(e)}" for name, e in named if e is not None)
    return f"Contribution to the mIoU (Shapley values): {parts} points; interaction {_whole(made.interaction, True)}."


def _plot(d: Dissection) -> Plot | None:
    made = d.contribution
    if made is None:
        return None
    x = x_name(d)
    named = (("rgb", "rgb", made.shapley.get("rgb")), (x, "x", made.shapley.get("x")))
    rows = [
        (label, None if e is None else hundred(e.miou), None if e is None else hundred(e.miou_error), fill)
        for label, fill, e in (*named, ("interaction", "both", made.interaction))
    ]
    words = ", ".join(f"{label} {number(value, 1)}" for label, value, _, _ in rows)
    drawing = svg.signed("contribution", "What each modality gives to the mIoU", f"In points: {words}.", rows)
    caption = "Shapley values in points with standard errors; interaction above 0: synergy, below 0: redundancy."
    return Plot(drawing, caption)


def _classes(d: Dissection) -> Sequence[Fold]:
    """Shapley values and interaction of every class."""
    made = d.contribution
    if made is None:
        return ()
    parts = {"rgb": made.shapley.get("rgb"), x_name(d): made.shapley.get("x"), "interaction": made.interaction}
    rows = []
    for k, name in enumerate(d.data.class_names):
        cells = [with_error(e.iou[k], e.iou_error[k]) if e else ABSENT for e in parts.values()]
        rows.append((clean(name), *cells))
    table = Table("Contribution to each class", ("class", *parts), tuple(rows), "<>>>", "Points of the class's IoU.")
    return (Fold("Classes", table),)


SECTION = Section(
    "contribution",
    contribution,
    _plot,
    lambda d: "Contribution of each modality",
    folds=_classes,
    sentence=sentence,
)
