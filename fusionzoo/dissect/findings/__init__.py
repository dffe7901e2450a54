"""A Dissection in plain words: first the answer (does the model use both modalities?), then the evidence.

Every rule that turns a number into a word stands in these files as a named constant. Nothing within its own error or
below its noise floor is called a difference.
"""

from __future__ import annotations

from collections.abc import Iterable

from fusionzoo.dissect.findings import checks, information, stages, use
from fusionzoo.dissect.findings.effects import effect_findings
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import Finding

__all__ = ["Finding", "effect_findings", "findings"]


def findings(d: Dissection) -> list[Finding]:
    """What the dissection says, most important first."""
    parts: Iterable[Iterable[Finding]] = (
        use.answer(d),
        checks.few_images(d),
        checks.planted(d),
        use.adds(d),
        use.contribution(d),
        effect_findings(d.effects, use.called(d, "x")),
        stages.streams(d),
        stages.matters(d),
        information.together(d),
        stages.agreement(d),
        use.classes(d),
        stages.encoded(d),
        stages.fused(d),
        checks.health(d),
    )
    return [finding for part in parts for finding in part]
