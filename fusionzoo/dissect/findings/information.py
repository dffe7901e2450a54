"""What the streams tell of the concepts together: commonality cannot tell redundancy from synergy, this can."""

from __future__ import annotations

from fusionzoo.dissect.findings.use import called
from fusionzoo.dissect.measures.information import Information
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import Finding, points, real

__all__ = ["together"]

TOGETHER = 0.05
"""Share of the information that only both together tell, from which it is worth a word."""


def together(d: Dissection) -> list[Finding]:
    """Who tells what of the concepts at the stage that tells most, where a part of it is told by both together only."""
    found: Information | None = d.results.get("information")
    known = [(row.stage, row.concepts) for row in found.stages if row.concepts is not None] if found else []
    rows = [(stage, made, made.information.value) for stage, made in known if made.information.value is not None]
    if not rows:
        return []
    stage, made, nats = max(rows, key=lambda row: row[2])
    parts = made.shares
    if made.few or not real(parts.synergistic.value, parts.synergistic.error, TOGETHER):
        return []
    named = (("rgb alone", parts.unique_rgb), (f"{called(d, 'x')} alone", parts.unique_x), ("either", parts.redundant),
             ("only both together", parts.synergistic))  # fmt: skip
    shares = ", ".join(f"{name} {points(share.value or 0.0)} %" for name, share in named)
    text = f"what the streams tell of the concepts, most at stage {stage} ({nats:.1f} nats): {shares}"
    return [Finding("info", text, "told", "partial information of the concepts", "distribution")]
