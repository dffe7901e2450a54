"""Dissection -> text for a terminal: first the answer, then compact tables. At most 100 columns."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from fusionzoo.dissect.effects import Robustness, Trace
from fusionzoo.dissect.results import Dissection
from fusionzoo.report.sections import HEALTH, TERMINAL, robustness, trace
from fusionzoo.report.sections.health import probes
from fusionzoo.report.sections.stages import comparison as compared
from fusionzoo.report.sections.stages import contributions
from fusionzoo.report.table import WIDTH, Table, clean, shorten, text_table, with_error
from fusionzoo.report.verdict import (
    as_dissection,
    checks,
    effect_heading,
    heading,
    in_front,
    said,
    verdict,
    verification,
)
from fusionzoo.tasks import SEGMENTATION, spoken

__all__ = ["comparison", "robustness_text", "terminal", "trace_text", "use_colour"]

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


def _wrap(text: str, width: int, first: str = "  ", rest: str = "  ") -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest) or [first.rstrip()]


def terminal(
    dissection: Any,
    verified: Any = None,
    findings: Iterable[Any] = (),
    *,
    ok: bool | None = None,
    name: str = "",
    every: bool = True,
    colour: bool | None = None,
    width: int = WIDTH,
) -> str:
    """The whole report as text that ends with a newline.

    Args:
        dissection: a Dissection or its dictionary; None when the file checks failed and there is nothing to show.
        verified: the file checks, or None when none were made.
        findings: sentences or Findings, most important first.
        ok: overrides the verdict drawn from the file checks and the planted truth.
        name: of the checkpoint, for the heading where there is no dissection.
        every: all findings; False: those in front, with every warning and failure, and how many more there are.
        colour: None asks the terminal (no colour in a pipe or with NO_COLOR).
        width: columns of the text.
    """
    d = None if dissection is None else as_dissection(dissection)
    pen = _Pen(use_colour() if colour is None else colour)
    drawn, sentence = verdict(d, verified)
    good = drawn if ok is None else ok
    lines = [
        pen(shorten(clean(name) if d is None else heading(d), width), "bold"),
        *_verdict_lines(sentence, good, width, pen),
    ]
    bullets = _bullets(findings, every, width, pen)
    lines += ["", *bullets] if bullets else []
    failed = [r for r in checks(verified) if not r["ok"]]
    if failed:
        lines += _section(verification(failed), width, pen)
    if d is not None:
        lines += _evidence(d, width, pen)
    return "\n".join(lines) + "\n"


def _evidence(d: Dissection, width: int, pen: _Pen) -> list[str]:
    lines = []
    for section in TERMINAL:
        table = spoken(section.table(d), d.data.task)
        if table is not None and table.rows:
            lines += _section(table, width, pen)
    health = HEALTH.table(d) or probes(d)
    if health.rows:
        return lines + _section(health, width, pen)
    return [*lines, "", pen(health.title, "bold"), *_wrap(health.note, width)]


def trace_text(found: Trace, *, width: int = WIDTH) -> str:
    """A causal trace as text: the answer in sentences, then the tables."""
    return _effect_text(found, trace.answers(found), trace.tables(found), width)


def robustness_text(found: Robustness, *, width: int = WIDTH) -> str:
    """Robustness curves as text: the answer in sentences, then the tables."""
    return _effect_text(found, robustness.answers(found), robustness.tables(found), width)


def _effect_text(found: Trace | Robustness, answers: Iterable[str], tables: Iterable[Table], width: int) -> str:
    lines = [effect_heading(found.setting), f"mIoU {with_error(found.clean.miou, found.clean.miou_error)}"]
    lines, answers, tables = spoken((lines, list(answers), list(tables)), found.setting.task)
    for text in answers:
        lines += _wrap(text, width, "  * ", "    ")
    for table in tables:
        lines += _section(table, width, _Pen(False))
    return "\n".join(lines) + "\n"


def _verdict_lines(sentence: str, good: bool, width: int, pen: _Pen) -> list[str]:
    word = "OK" if good else "FAILED"
    first, *rest = _wrap(sentence, width, f"{word}: ", "  ")
    return [pen(word, "good" if good else "bad") + first[len(word) :], *rest]


def _bullets(findings: Iterable[Any], every: bool, width: int, pen: _Pen) -> list[str]:
    """`*` before a finding, `!` before a warning or a failure; after it the measure and the kind of evidence."""
    rows = said(findings)
    shown, more = (rows, []) if every else in_front(rows)
    lines = []
    for row in shown:
        text = f"{row.text} [{row.basis}]" if row.basis else row.text
        first, *rest = _wrap(text, width, "  * " if row.level == "info" else "  ! ", "    ")
        lines += [first if row.level == "info" else "  " + pen("!", "bad") + first[3:], *rest]
    if more:
        lines.append(pen(f"    {len(more)} more finding{'s' if len(more) > 1 else ''}: --findings all", "faint"))
    return lines


def _section(table: Table, width: int, pen: _Pen) -> list[str]:
    head, rule, *rows = text_table(table, width)
    note = [pen(line, "faint") for line in _wrap(table.note, width)] if table.note else []
    return ["", pen(table.title, "bold"), head, pen(rule, "faint"), *rows, *note]


def comparison(dissections: Sequence[Any], *, colour: bool | None = None, width: int = WIDTH) -> str:
    """Several checkpoints side by side, one a row, as text that ends with a newline."""
    pen = _Pen(use_colour() if colour is None else colour)
    values = [as_dissection(d) for d in dissections]
    task = values[0].data.task if values else SEGMENTATION
    lines = _section(spoken(compared(values), task), width, pen)
    more = spoken(contributions(values), task)
    lines += _section(more, width, pen) if more.rows else []
    return "\n".join(lines[1:]) + "\n"
