"""Text and tables in GitHub's Markdown; whatever comes from a record or a data set is escaped. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["clean", "code", "escape", "grid"]


def clean(value: object) -> str:
    """One line without control characters: names may come from a foreign file, and a terminal obeys escape codes.

    >>> clean("a\\x1b[31mred\\n")
    'a [31mred'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def escape(text: object) -> str:
    r"""One line in which no character is markup.

    >>> escape("a|b <i> [c](d) *e* `f`")
    'a\\|b \\<i\\> \\[c\\](d) \\*e\\* \\`f\\`'
    """
    return re.sub(r"([\\|`*<>\[\]#~])", r"\\\1", clean(text)).replace(" _", r" \_")


def code(text: object) -> str:
    """One line as code; backticks in it, which would end it, are left out.

    >>> code("a `b`")
    '`a b`'
    """
    return f"`{clean(text).replace('`', '')}`"


def grid(columns: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    r"""A table with its cells escaped. `align`: `<` or `>` for each column.

    >>> print(grid(("a", "b"), [("x|y", "1")], "<>"), end="")
    | a | b |
    | --- | ---: |
    | x\|y | 1 |
    """
    ruler = ["---:" if a == ">" else "---" for a in align]
    lines = [[escape(c) for c in columns], ruler, *([escape(c) for c in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
