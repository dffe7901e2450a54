"""From when on the tables call a probe saturated."""

from __future__ import annotations

from typing import Any

from fusionzoo.report.sections.health import probes
from tests.report.conftest import typed


def test_half_of_the_values_at_an_end_is_saturated(example: dict[str, Any]) -> None:
    probe = example["probes"][0]
    example["probes"] = [probe | {"name": str(share), "dead": 0, "saturated": share} for share in (0.49, 0.5, 0.51)]
    table = probes(typed(example), only_flagged=True)
    assert [row[0] for row in table.rows] == ["0.5", "0.51"]
    assert "3 probe points: 0 with dead channels (no variance), 2 saturated (at least 50%" in table.note
