"""What each modality gives: Shapley values and interaction."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.base import Estimate
from fusionzoo.dissect.measures.contribution import Contribution
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import inputs
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Fold, Plot, Section
from fusionzoo.report.table import ABSENT, Table, clean, hundred, number, points, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "contribution", "sentence"]


def _whole(e: Estimate | None, signed: bool = False) -> str:
    return ABSENT if e is None else with_error(e.miou, e.miou_error, signed)


def _named(d: Dissection) -> dict[str, str]:
    """Modality -> how it is spelled."""
    return {s: x_name(d) if s == "x" else clean(s) for s in inputs(d.model.modalities)}


def _joint(made: Contribution) -> dict[str, Estimate]:
    """The interaction, or that of each pair of several modalities."""
    pairs = {f"{pair.replace('+', ', ')}": e for pair, e in made.interactions.items()}
    return {"interaction": made.interaction} if made.interaction is not None else pairs


def contribution(d: Dissection) -> Table | None:
    """What each modality gives to the mIoU; None where it was not measured."""
    made, names = d.contribution, list(_named(d))
    if made is None:
        return None
    several = len(names) > 2
    alone = [made.values.get(Condition.without(*(o for o in names if o != s))) for s in names]
    shapley = [made.shapley.get(s) for s in names]
    known = [e.miou for e in shapley if e is not None and e.miou is not None]
    total = sum(known) if len(known) == len(names) else None
    rows = [
        ("score with it alone", *map(_whole, alone), _whole(made.values.get(Condition.BOTH))),
        ("Shapley value", *map(_whole, shapley), points(total)),
    ]
    if total:
        rows.append(("share of the sum", *(f"{100 * (v / total):.0f} %" for v in known), ""))
    if several:
        for i, first in enumerate(names[:-1]):
            cells = [_whole(made.interactions.get(f"{first}+{s}"), True) if j > i else "" for j, s in enumerate(names)]
            rows.append((f"interaction, {clean(first)}", *cells, ""))
    else:
        rows.append(("interaction", "", "", _whole(made.interaction, True)))
    if made.perceptual:
        rows.append(("perceptual score", *(_whole(made.perceptual.get(s)) for s in names), ""))
    return Table(
        "Contribution",
        ("of the mIoU", *_named(d).values(), "all" if several else "both"),
        tuple(rows),
        note=f"Points (± standard error). {'None' if several else 'Neither'}:"
        f" {_whole(made.values.get(Condition.NEITHER))}. Interaction above 0: the{' two' if several else ''} modalities"
        " help each other, below 0: they give the same. Perceptual score: percent lost with that modality of another"
        " image.",
    )


def sentence(d: Dissection) -> str:
    """The contribution in one line; "" where it was not measured."""
    made = d.contribution
    if made is None:
        return ""
    named = ((name, made.shapley.get(s)) for s, name in _named(d).items())
    parts = ", ".join(f"{name} {_whole(e)}" for name, e in named if e is not None)
    joint = "" if made.interaction is None else f"; interaction {_whole(made.interaction, True)}"
    return f"Contribution to the mIoU (Shapley values): {parts} points{joint}."


def _plot(d: Dissection) -> Plot | None:
    made = d.contribution
    if made is None:
        return None
    named = ((name, "rgb" if s == "rgb" else "x", made.shapley.get(s)) for s, name in _named(d).items())
    rows = [
        (label, None if e is None else hundred(e.miou), None if e is None else hundred(e.miou_error), fill)
        for label, fill, e in (*named, *((label, "both", e) for label, e in _joint(made).items()))
    ]
    words = ", ".join(f"{label} {number(value, 1)}" for label, value, _, _ in rows)
    drawing = svg.signed("contribution", "What each modality gives to the mIoU", f"In points: {words}.", rows)
    pairs = "" if made.interaction is not None else "of two modalities "
    caption = (
        f"Shapley values in points with standard errors; interaction {pairs}above 0: synergy, below 0: redundancy."
    )
    return Plot(drawing, caption)


def _classes(d: Dissection) -> Sequence[Fold]:
    """Shapley values and interaction of every class."""
    made = d.contribution
    if made is None:
        return ()
    parts = {name: made.shapley.get(s) for s, name in _named(d).items()} | _joint(made)
    rows = []
    for k, name in enumerate(d.data.class_names):
        cells = [with_error(e.iou[k], e.iou_error[k]) if e else ABSENT for e in parts.values()]
        rows.append((clean(name), *cells))
    table = Table(
        "Contribution to each class",
        ("class", *parts),
        tuple(rows),
        note="Points of the class's IoU.",
    )
    return (Fold("Classes", table),)


SECTION = Section(
    "contribution",
    contribution,
    _plot,
    lambda d: "Contribution of each modality",
    folds=_classes,
)
