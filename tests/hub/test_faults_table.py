"""Every row of the published table of faults is a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_row_of_the_table_is_a_test() -> None:
    table = (ROOT / "fusionzoo/hub/README.md").read_text(encoding="utf-8")
    rows = [line for line in table.splitlines() if re.match(r"\| (?!fault|---)", line)]
    defined = set(
        re.findall(r"^def (test_\w+)", "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*.py")), re.M)
    )
    assert len(rows) >= 30
    for row in rows:
        cells = [c.strip() for c in row.strip("|").split("|")]
        assert len(cells) == 4 and all(cells), row
        assert cells[3] in defined, cells[3]
