"""Robustness curves and failing modalities; robustness by itself."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.dissect.effects import Curve, Failures, Robustness
from fusionzoo.dissect.results import Dissection
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Fold, Plot, Section
from fusionzoo.report.table import ABSENT, Table, clean, hundred, points, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["FAILURES", "SECTION", "answers", "failures", "robustness", "tables"]


def _found(d: Dissection) -> Robustness | None:
    return None if d.effects is None else d.effects.robustness


def robustness(d: Dissection) -> Table | None:
    """One row a corruption; None if not measured."""
    found = _found(d)
    if found is None or not found.curves:
        return None
    units = "; ".join(f"{clean(c.corruption)}: {clean(c.unit)}" for c in found.curves)
    note = f"Clean mIoU {points(found.clean.miou)}. Kept: mean over the severities, of the clean mIoU. Units: {units}."
    return _curves_table("Robustness", found.curves, note)


def _curves_table(title: str, curves: Sequence[Curve], note: str, units: bool = False) -> Table:
    """One row a corruption, with a column of `units` where they do not stand in the note."""
    most = max((len(c.severities) for c in curves), default=1) - 1
    rows = []
    for c in curves:
        cells = [f"{s:g}: {points(v)}" for s, v in zip(c.severities[1:], c.miou[1:], strict=True)]
        kept = ABSENT if c.kept is None else f"{100 * c.kept:.0f} %"
        name = (clean(c.corruption), _unit(c.unit)) if units else (clean(c.corruption),)
        rows.append((*name, *cells, *[""] * (most - len(cells)), kept))
    head = ("corruption", "unit") if units else ("corruption",)
    columns = (*head, *["severity: mIoU", *[""] * (most - 1)][:most], "kept")
    return Table(title, columns, tuple(rows), "<" * (len(columns) - 1) + ">", note)


def failures(d: Dissection) -> Table | None:
    """The failure protocols; None if not measured."""
    found = _found(d)
    if found is None or not found.failures:
        return None
    note = (
        "mIoU with that modality failing: missing (EMM), missing in random regions (RMM), noisy (NM); average over the"
        " failures; expectation when each fails by itself with probability p."
    )
    return _failures_table("Failing modalities", found.failures, x_name(d), note)


def _failures_table(title: str, found: Sequence[Failures], x: str, note: str) -> Table:
    chances = found[0].probability if found else []
    columns = ("protocol", "rgb", x, "both", "average", *(f"p={p:g}" for p in chances))
    return Table(title, columns, tuple(map(_row, found)), note=note)


def _row(f: Failures) -> tuple[str, ...]:
    expected = [with_error(v, e) for v, e in zip(f.expected, f.expected_error, strict=True)]
    single = [points(f.conditions.get(c)) for c in ("rgb", "x", "both")]
    return (clean(f.name), *single, with_error(f.average, f.average_error), *expected)


def _plot(d: Dissection) -> Plot | None:
    """Small charts side by side, one a corruption."""
    found = _found(d)
    if found is None or not found.curves:
        return None
    panels = []
    for c in found.curves:
        values, errors = [hundred(v) for v in c.miou], [hundred(e) for e in c.miou_error]
        stream = c.modality if c.modality in ("rgb", "x") else "both"
        panels.append(svg.Panel(clean(c.corruption), [f"{s:g}" for s in c.severities], values, errors, stream))
    words = "; ".join(f"{p.name}: " + ", ".join("-" if v is None else f"{v:.1f}" for v in p.values) for p in panels)
    drawing = svg.multiples("robust", "mIoU against the severity of each corruption", words, panels)
    return Plot(drawing, "mIoU in points against severity; thin lines: two standard errors.")


def _folds(d: Dissection) -> Sequence[Fold]:
    table = failures(d)
    return () if table is None else (Fold(table.title, table, note=False),)


SECTION = Section("robustness", robustness, _plot, lambda d: "Robustness", folds=_folds)
FAILURES = Section("failures", failures)


# ------------------------------------------------------------------------------------------------- curves by themselves


def answers(found: Robustness) -> list[str]:
    """Under what the model keeps least."""
    known = [(c.kept, c) for c in found.curves if c.kept is not None]
    if not known:
        return []
    kept, worst = min(known, key=lambda pair: pair[0])
    return [f"It keeps least under {worst.corruption}: {100 * kept:.0f} % of its mIoU, averaged over the severities."]


def tables(found: Robustness) -> list[Table]:
    """All tables of robustness curves, those without rows left out."""
    note = "Kept: mean mIoU over the severities, of the clean mIoU. Errors and classes are in the JSON."
    curves = _curves_table("Curves", found.curves, note, units=True)
    note = "mIoU with that modality failing; mean over failures; expectation when each fails with probability p. "
    note += "; ".join(f"{f.name}: {f.note}" for f in found.failures)
    return [table for table in (curves, _failures_table("Failures", found.failures, "x", note)) if table.rows]


def _unit(unit: str) -> str:
    """What fits a column: the unit itself, without what it is the unit of."""
    short = unit.rpartition(", ")[2]
    return {"grey levels of 255": "grey", "stops (halvings of the light)": "stops"}.get(
        short, short.replace(" of the area", "").replace(" of the model's input", "")
    )
