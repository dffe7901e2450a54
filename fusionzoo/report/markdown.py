"""Tables and text in GitHub's Markdown; whatever comes from a record or a data set is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fusionzoo.report.table import Table, clean

__all__ = ["escape", "grid", "table"]


def escape(text: object) -> str:
    """One line in which no character is markup.

    >>> escape("a|b <i> [c](d) *e* `f`")
    'a\\\\|b \\\\<i\\\\> \\\\[c\\\\](d) \\\\*e\\\\* \\\\`f\\\\`'
    """
    return re.sub(r"([\\|`*<>\[\]#~])", r"\\\1", clean(text)).replace(" _", r" \_")


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A table with its cells escaped. `align`: `<` or `>` for each column."""
    ruler = ["---:" if a == ">" else "---" for a in align]
    lines = [[escape(c) for c in columns], ruler, *([escape(c) for c in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def table(values: Table) -> str:
    """A `Table` with its note below."""
    note = f"\n{escape(values.note)}\n" if values.note else ""
    return grid(values.columns, values.rows, values.align) + note
