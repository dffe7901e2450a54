"""Every row of the published tables of faults is a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("page", "columns", "least"), [("hub", 4, 30), ("data", 3, 35)])
def test_every_row_of_the_table_is_a_test(page: str, columns: int, least: int) -> None:
    table = (ROOT / "fusionzoo" / page / "README.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if re.match(r"\| (?!fault|situation|---)", line)]
    defined = set(
        re.findall(r"^def (test_\w+)", "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py")), re.M)
    )
    assert len(rows) >= least
    for row in rows:
        cells = [c.strip() for c in row.strip("|").split("|")]
        assert len(cells) == columns and all(cells), row
        assert cells[-1] in defined, cells[-1]
