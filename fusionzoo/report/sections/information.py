"""Partial information: what rgb alone, x alone, either, or only both together tell of fused features and concepts."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.dissect.measures.information import Decomposition, Information
from fusionzoo.dissect.results import Dissection
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section, said
from fusionzoo.report.svg import Series
from fusionzoo.report.table import ABSENT, Table, hundred, mean, number, points, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "brief", "information"]

ABOUT = {"fused": "the fused features", "concepts": "the concepts"}
PARTS = ("unique_rgb", "redundant", "unique_x", "synergistic")


def _rows(d: Dissection, about: str) -> list[tuple[int, Decomposition]]:
    found: Information | None = d.results.get("information")
    rows = [] if found is None else [(row.stage, getattr(row, about)) for row in found.stages]
    return [(stage, made) for stage, made in rows if made is not None]


def information(d: Dissection) -> Table | None:
    """One row a stage and target; None where nothing was measured."""
    rows, kept = [], []
    for about in ABOUT:
        for stage, made in _rows(d, about):
            held = points(mean(made.variance[:2])), points(made.variance[2])
            rows.append((str(stage), about, *_cells(made), *held))
            kept.append(made.components)
    if not rows:
        return None
    x, most = x_name(d), [max(column) for column in zip(*kept, strict=True)]
    return Table(
        "Partial information",
        ("stage", "about", "nats", "rgb alone %", "either %", f"{x} alone %", "only both %", "kept %", "of it %"),
        tuple(rows),
        "<<>>>>>>>",
        f"Gaussian partial information of rgb and {x}, positions as samples, ± standard error. Kept: variance in the"
        f" leading components of the streams (at most {max(most[:2])}); of it: in those of the target (at most"
        f" {most[2]}), read with noise of {points(d.results['information'].ridge)} % of its variance. Concepts count"
        f" as Gaussian.{_few(rows, 2)}",
    )


def brief(d: Dissection) -> Table | None:
    """One row a stage: what the streams tell of the concepts, or of the fused features where there are none."""
    about = _about(d)
    rows = tuple((str(stage), *_cells(made)) for stage, made in _rows(d, about))
    if not rows:
        return None
    columns = ("stage", "nats", "rgb alone %", "either %", f"{x_name(d)} alone %", "only both %")
    note = "Gaussian partial information, in percent of what both streams together tell, ± standard error."
    return Table(_title(d), columns, rows, note=note + _few(rows, 1))


def _cells(made: Decomposition) -> tuple[str, ...]:
    """Nats, marked where they are overestimated, and the four shares in percent, each with its error."""
    nats, error = number(made.information.value, 2), made.information.error
    nats += f" ±{error:.2f}" if error is not None and nats != ABSENT else ""
    shares = [getattr(made.shares, part) for part in PARTS]
    return nats + ("~" if made.few else ""), *(with_error(share.value, share.error) for share in shares)


def _few(rows: Sequence[tuple[str, ...]], column: int) -> str:
    marked = any("~" in row[column] for row in rows)
    return " ~: too few positions for the components, information is overestimated." if marked else ""


def _about(d: Dissection) -> str:
    return "concepts" if _rows(d, "concepts") else "fused"


def _title(d: Dissection) -> str:
    return f"What each modality tells of {ABOUT[_about(d)]}"


def _plot(d: Dissection) -> Plot | None:
    about = _about(d)
    rows = _rows(d, about)
    if not rows:
        return None
    names = {"unique_rgb": ("rgb alone", "rgb"), "redundant": ("either", "fused"),
             "unique_x": (f"{x_name(d)} alone", "x"), "synergistic": ("only both", "both")}  # fmt: skip
    parts = [
        Series(name, stream, [hundred(getattr(made.shares, key).value) for _, made in rows])
        for key, (name, stream) in names.items()
    ]
    places = [str(stage) for stage, _ in rows]
    drawing = svg.stacked("information", _title(d), "In percent; " + said(places, parts, 1), places, parts)
    return Plot(drawing, f"Percent of what both streams together tell of {ABOUT[about]} (linearly, as Gaussians).")


SECTION = Section("information", brief, _plot, _title, detail=information)
