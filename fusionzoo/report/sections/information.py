"""Partial information: what rgb alone, x alone, either, or only both together tell of fused features and concepts."""

from __future__ import annotations

from fusionzoo.dissect.measures.information import Decomposition, Information
from fusionzoo.dissect.results import Dissection
from fusionzoo.report import svg
from fusionzoo.report.sections.base import Plot, Section, said
from fusionzoo.report.svg import Series
from fusionzoo.report.table import ABSENT, Table, hundred, mean, number, points, with_error
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "information"]

ABOUT = {"fused": "the fused features", "concepts": "the concepts"}


def _rows(d: Dissection, about: str) -> list[tuple[int, Decomposition]]:
    found: Information | None = d.results.get("information")
    rows = [] if found is None else [(row.stage, getattr(row, about)) for row in found.stages]
    return [(stage, made) for stage, made in rows if made is not None]


def information(d: Dissection) -> Table | None:
    """One row a stage and target; None where nothing was measured."""
    rows, kept = [], []
    for about in ABOUT:
        for stage, made in _rows(d, about):
            s, few = made.shares, "~" if made.few else ""
            cells = (with_error(v.value, v.error) for v in (s.unique_rgb, s.redundant, s.unique_x, s.synergistic))
            nats = number(made.information.value, 2)
            error = made.information.error
            nats += f" ±{error:.2f}" if error is not None and nats != ABSENT else ""
            rows.append(
                (str(stage), about, nats + few, *cells, points(mean(made.variance[:2])), points(made.variance[2]))
            )
            kept.append(made.components)
    if not rows:
        return None
    x, most = x_name(d), [max(column) for column in zip(*kept, strict=True)]
    few = (
        " ~: too few positions for the components, information is overestimated."
        if any("~" in r[2] for r in rows)
        else ""
    )
    return Table(
        "Partial information",
        ("stage", "about", "nats", "rgb alone %", "either %", f"{x} alone %", "only both %", "kept %", "of it %"),
        tuple(rows),
        "<<>>>>>>>",
        f"Gaussian partial information of rgb and {x}, positions as samples, ± standard error. Kept: variance in the"
        f" leading components of the streams (at most {max(most[:2])}); of it: in those of the target (at most"
        f" {most[2]}), read with noise of {points(d.results['information'].ridge)} % of its variance. Concepts count"
        f" as Gaussian.{few}",
    )


def _title(d: Dissection) -> str:
    about = "concepts" if _rows(d, "concepts") else "fused"
    return f"What each modality tells of {ABOUT[about]}"


def _plot(d: Dissection) -> Plot | None:
    about = "concepts" if _rows(d, "concepts") else "fused"
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


SECTION = Section("information", information, _plot, _title)
