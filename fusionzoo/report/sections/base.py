"""What a section of the report is: the table and the plot of one measure, for terminal, page and card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fusionzoo.dissect.results import Dissection
from fusionzoo.report.svg import Series
from fusionzoo.report.table import Table, number

__all__ = ["Fold", "Part", "Plot", "Section", "positions", "said"]


@dataclass(frozen=True)
class Plot:
    """A drawing and what stands under it; the drawing is SVG text by `fusionzoo.report.svg`."""

    drawing: str
    caption: str


@dataclass(frozen=True)
class Fold:
    """What the page shows behind a click: a plot, a table, or both."""

    title: str
    table: Table
    plot: Plot | None = None
    note: bool = True


@dataclass(frozen=True)
class Part:
    """A titled box of the page: a plot with its numbers behind a fold, or the table itself; `more` tables below."""

    title: str
    plot: Plot | None = None
    table: Table | None = None
    note: str = ""
    more: Sequence[Table] = ()
    folds: Sequence[Fold] = ()


def _nothing(d: Dissection) -> None:
    return None


@dataclass(frozen=True)
class Section:
    """One measure in the report. Each function gives None where the measure was not taken.

    Args:
        name: for the list of sections.
        table: of the terminal and the card.
        plot: of the page and the card.
        title: of the page's box, by default the table's.
        detail: the table behind the plot, where it is another one than `table`.
        folds: more of the page, behind clicks.
        part: the page's box, where it is not made of the above.
    """

    name: str
    table: Callable[[Dissection], Table | None] = _nothing
    plot: Callable[[Dissection], Plot | None] = _nothing
    title: Callable[[Dissection], str] | None = None
    detail: Callable[[Dissection], Table | None] | None = None
    folds: Callable[[Dissection], Sequence[Fold]] = lambda d: ()
    part: Callable[[Dissection], Part | None] | None = None

    def box(self, d: Dissection) -> Part | None:
        """The box of the page."""
        if self.part is not None:
            return self.part(d)
        plot, table = self.plot(d), (self.detail or self.table)(d)
        if table is None or (plot is None and not table.rows):
            return None
        return Part(self.title(d) if self.title else table.title, plot, table, folds=self.folds(d))


def positions(d: Dissection) -> list[str]:
    """What stands under curves over the stages."""
    return [str(at.stage) for at in d.stages]


def said(places: Iterable[str], series: Iterable[Series], digits: int) -> str:
    """The values of a line chart in words, for a reader who does not see it."""
    rows = []
    for s in series:
        values = ", ".join(f"{p}: {number(v, digits)}" for p, v in zip(places, s.values, strict=True))
        rows.append(f"{s.name} at stage {values}")
    return "; ".join(rows)
