"""A Dissection in plain words: first, in three lines, whether the model uses both modalities, where, and for what.

Each finding states its claim, its measure and its kind of evidence; a claim is stated once, by the strongest. Every
rule that turns a number into a word stands in these files as a named constant. Nothing within its own error or below
its noise floor is called a difference.
"""

from __future__ import annotations

from collections.abc import Iterable

from fusionzoo.dissect.findings import checks, classes, several, stages, use
from fusionzoo.dissect.findings.effects import effect_findings
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import Finding, once
from fusionzoo.tasks import spoken

__all__ = ["Finding", "effect_findings", "findings"]


def findings(d: Dissection) -> list[Finding]:
    """What the dissection says: the three lines in front, then the rest, most important first."""
    if len(d.model.modalities) > 2:
        first = (several.answer(d), several.contribution(d), several.classes(d), checks.left_out(d))
        rest = (checks.planted(d), stages.streams(d), stages.agreement(d), checks.health(d))
        return spoken(once(finding for part in (*first, *rest) for finding in part), d.data.task)
    parts: Iterable[Iterable[Finding]] = (
        use.answer(d),
        stages.where(d),
        classes.breaks(d),
        checks.left_out(d),
        checks.planted(d),
        use.contribution(d),
        effect_findings(d.effects, use.called(d, "x")),
        stages.streams(d),
        stages.together(d),
        stages.agreement(d),
        stages.encoded(d),
        stages.fused(d),
        checks.health(d),
    )
    return spoken(once(finding for part in parts for finding in part), d.data.task)
