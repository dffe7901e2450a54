"""Tables of strings, which the terminal, the page and the card lay out each in its own way; how numbers are written.

IoU and semantic variance are fractions in the results and points (x100) in the tables. A value that is absent is `-`.
Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fusionzoo.hub.markdown import clean

__all__ = [
    "ABSENT",
    "WIDTH",
    "Table",
    "clean",
    "hundred",
    "integer",
    "mean",
    "number",
    "points",
    "shorten",
    "text_table",
    "with_error",
]

ABSENT = "-"
WIDTH = 100
"""Columns of a terminal."""


@dataclass(frozen=True)
class Table:
    """Strings in columns. `align` has one `<` (text) or `>` (number) per column; by default all but the first are
    numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        if not self.align:
            object.__setattr__(self, "align", "<" + ">" * (len(self.columns) - 1))
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong or len(self.align) != len(self.columns):
            raise ValueError(
                f"table {self.title!r}: {len(self.columns)} columns, align {self.align!r}, rows {wrong[:1]}"
            )


def points(value: float | None, signed: bool = False) -> str:
    """A fraction in points with one decimal; `-` for None and NaN.

    >>> points(0.4567), points(None), points(0.061, signed=True)
    ('45.7', '-', '+6.1')
    """
    if value is None or math.isnan(value):
        return ABSENT
    text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def number(value: float | None, digits: int = 3) -> str:
    """A plain number, `-` for None and NaN; large and tiny ones in scientific form.

    >>> number(0.51234), number(None), number(1234567.0), number(-0.0001)
    ('0.512', '-', '1.23e+06', '-0.0001')
    """
    if value is None or math.isnan(value):
        return ABSENT
    if value and not 10**-digits <= abs(value) < 10**5:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def integer(value: int | None) -> str:
    """A whole number, `-` for None."""
    return ABSENT if value is None else str(value)


def with_error(value: float | None, error: float | None, signed: bool = False) -> str:
    """Points and their standard error.

    >>> with_error(0.301, 0.008), with_error(0.301, None), with_error(None, None)
    ('30.1 ±0.8', '30.1', '-')
    """
    return points(value, signed) + (f" ±{points(error)}" if value is not None and error is not None else "")


def mean(values: Iterable[float | None]) -> float | None:
    """Mean over the values that are there; None when there is none."""
    there = [v for v in values if v is not None and not math.isnan(v)]
    return sum(there) / len(there) if there else None


def hundred(value: float | None) -> float | None:
    """A fraction in points; None stays None."""
    return None if value is None else 100 * value


def shorten(text: str, width: int) -> str:
    """Cut to `width` characters, with two dots where something is missing."""
    return text if len(text) <= width else text[: max(width - 2, 1)] + ".."


def text_table(table: Table, width: int = WIDTH, indent: int = 2) -> list[str]:
    """Header, rule and rows as lines of at most `width`; text columns are cut when it does not fit.

    >>> for line in text_table(Table("t", ("name", "mIoU"), (("both", "45.7"), ("none", "3.0")), "<>")):
    ...     print(line)
      name  mIoU
      ----------
      both  45.7
      none   3.0
    """
    size = [max(len(row[i]) for row in (table.columns, *table.rows)) for i in range(len(table.columns))]
    gap = 2
    room = width - indent - gap * (len(size) - 1)
    text = [i for i, a in enumerate(table.align) if a == "<"]
    while sum(size) > room and text:
        longest = max(text, key=lambda i: size[i])
        if size[longest] <= 8:
            break
        size[longest] -= 1

    def line(row: Sequence[str]) -> str:
        cells = [f"{shorten(c, s):{a}{s}}" for c, s, a in zip(row, size, table.align, strict=True)]
        return (" " * indent + (" " * gap).join(cells)).rstrip()

    rule = " " * indent + "-" * (sum(size) + gap * (len(size) - 1))
    return [line(table.columns), rule, *(line(row) for row in table.rows)]
