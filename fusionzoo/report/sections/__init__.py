"""The sections of the report, one a measure; what the terminal, the page and the card show, in their order."""

from __future__ import annotations

from fusionzoo.report.sections import (
    concepts,
    contribution,
    dictionary,
    exchange,
    health,
    information,
    modalities,
    planted,
    robustness,
    saliency,
    scores,
    similarity,
    specificity,
    stages,
    trace,
)
from fusionzoo.report.sections.base import Section

__all__ = ["CARD", "PAGE", "PLOTS", "TERMINAL", "register"]

TERMINAL: list[Section] = [
    scores.SECTION, saliency.SECTION, contribution.SECTION, stages.STAGES, modalities.SECTION, stages.SHARING,
    information.SECTION, concepts.BEST, dictionary.SECTION, exchange.SECTION, planted.SECTION, trace.SECTION,
    robustness.SECTION, robustness.FAILURES,
]  # fmt: skip
"""Tables, in this order; the health of the probes follows them."""
PAGE: list[Section] = [
    scores.SECTION, saliency.SECTION, contribution.SECTION, trace.SECTION, stages.SHARING, information.SECTION,
    similarity.SECTION, concepts.VARIANCE, concepts.BEST, specificity.SECTION, exchange.SECTION, planted.SECTION,
    concepts.MAP, dictionary.SECTION, robustness.SECTION, modalities.SECTION,
]  # fmt: skip
"""Boxes in columns; the health of the probes and the facts follow over the whole width."""
CARD: list[Section] = [
    scores.SECTION, saliency.SECTION, stages.STAGES, stages.SHARING, concepts.BEST, planted.SECTION,
]  # fmt: skip
PLOTS: dict[str, tuple[str, Section]] = {
    "modalities.svg": ("mIoU with both modalities and without either", scores.SECTION),
    "similarity.svg": ("Similarity of the two streams at each stage", similarity.SECTION),
    "variance.svg": ("Semantic variance at each stage", concepts.VARIANCE),
    "streams.svg": ("Which stream encodes what", concepts.BEST),
}
"""Pictures of the card: file name -> title and section."""
HEALTH = health.SECTION


def register(section: Section) -> None:
    """Shows a section in terminal, page and card, after the others."""
    for place in (TERMINAL, PAGE, CARD):
        place.append(section)
