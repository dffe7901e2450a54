"""Dissection -> text for a terminal: first the answer, then compact tables. At most 100 columns."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from fusionzoo.report import cooperation, effects, tables
from fusionzoo.report.tables import Table

__all__ = ["comparison", "terminal", "text_table"]

WIDTH = 100
_STYLES = {"bold": "1", "good": "1;32", "bad": "1;31", "faint": "2"}


def use_colour(stream: Any = None) -> bool:
    """Whether to colour: the stream is a terminal, NO_COLOR is unset or empty, TERM is not dumb."""
    stream = sys.stdout if stream is None else stream
    is_tty = bool(getattr(stream, "isatty", lambda: False)())
    return is_tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Pen:
    def __init__(self, colour: bool) -> None:
        self.colour = colour

    def __call__(self, text: str, style: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.colour else text


def _shorten(text: str, width: int) -> str:
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
        cells = [f"{_shorten(c, s):{a}{s}}" for c, s, a in zip(row, size, table.align, strict=True)]
        return (" " * indent + (" " * gap).join(cells)).rstrip()

    rule = " " * indent + "-" * (sum(size) + gap * (len(size) - 1))
    return [line(table.columns), rule, *(line(row) for row in table.rows)]


def _wrap(text: str, width: int, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest) or [first.rstrip()]


def terminal(
    dissection: Any,
    verification: Any = None,
    findings: Iterable[Any] = (),
    *,
    ok: bool | None = None,
    name: str = "",
    colour: bool | None = None,
    width: int = WIDTH,
) -> str:
    """The whole report as text that ends with a newline.

    Args:
        dissection: a Dissection or its dictionary; None when the file checks failed and there is nothing to show.
        verification: the file checks, or None when none were made.
        findings: sentences or Findings, most important first.
        ok: overrides the verdict drawn from the file checks and the planted truth.
        name: of the checkpoint, for the heading where there is no dissection.
        colour: None asks the terminal (no colour in a pipe or with NO_COLOR).
        width: columns of the text.
    """
    d = None if dissection is None else tables.as_dict(dissection)
    pen = _Pen(use_colour() if colour is None else colour)
    drawn, sentence = tables.verdict(d, verification)
    good = drawn if ok is None else ok
    lines = [
        pen(_shorten(tables.clean(name) if d is None else tables.heading(d), width), "bold"),
        *_verdict_lines(sentence, good, width, pen),
    ]
    said = _bullets(findings, width, pen)
    lines += ["", *said] if said else []
    failed = [r for r in tables.checks(verification) if not r["ok"]]
    if failed:
        lines += _section(tables.verification(failed), width, pen)
    if d is not None:
        lines += _evidence(d, width, pen)
    return "\n".join(lines) + "\n"


def _evidence(d: dict[str, Any], width: int, pen: _Pen) -> list[str]:
    lines = []
    first = (tables.segmentation(d), cooperation.contribution(d), tables.levels(d), cooperation.sharing(d))
    for table in (*first, tables.concepts(d), tables.planted(d), *effects.tables(d)):
        if table is not None and table.rows:
            lines += _section(table, width, pen)
    health = tables.probes(d, only_flagged=True)
    if health.rows:
        lines += _section(health, width, pen)
    else:
        lines += ["", pen(health.title, "bold"), *_wrap(health.note, width)]
    return lines


def _verdict_lines(sentence: str, good: bool, width: int, pen: _Pen) -> list[str]:
    word = "OK" if good else "FAILED"
    first, *rest = _wrap(sentence, width, f"{word}: ", "  ")
    return [pen(word, "good" if good else "bad") + first[len(word) :], *rest]


def _bullets(findings: Iterable[Any], width: int, pen: _Pen) -> list[str]:
    """`*` before a finding, `!` before a warning or a failure."""
    lines = []
    for level, text in tables.said(findings):
        first, *rest = _wrap(text, width, "  * " if level == "info" else "  ! ", "    ")
        lines += [first if level == "info" else "  " + pen("!", "bad") + first[3:], *rest]
    return lines


def _section(table: Table, width: int, pen: _Pen) -> list[str]:
    head, rule, *rows = text_table(table, width)
    note = [pen(line, "faint") for line in _wrap(table.note, width)] if table.note else []
    return ["", pen(table.title, "bold"), head, pen(rule, "faint"), *rows, *note]


def comparison(dissections: Sequence[Any], *, colour: bool | None = None, width: int = WIDTH) -> str:
    """Several checkpoints side by side, one a row, as text that ends with a newline."""
    pen = _Pen(use_colour() if colour is None else colour)
    values = [tables.as_dict(d) for d in dissections]
    lines = _section(tables.comparison(values), width, pen)
    more = cooperation.contributions(values)
    lines += _section(more, width, pen) if more.rows else []
    return "\n".join(lines[1:]) + "\n"
