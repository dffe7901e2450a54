"""What the fusion blocks take from each modality by their own exchange masks and mixture weights."""

from __future__ import annotations

from fusionzoo.dissect.measures.exchange import Exchange
from fusionzoo.dissect.results import Dissection
from fusionzoo.report.sections.base import Section
from fusionzoo.report.table import ABSENT, Table, clean, number, points
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "exchange"]


def exchange(d: Dissection) -> Table | None:
    """One row an exchange or mixture; None for a model without any."""
    found: Exchange | None = d.results.get("exchange")
    if found is None:
        return None
    masks = (
        (clean(m.name), "replaced", points(m.rgb), points(m.x), f"{points(m.rgb_std)}/{points(m.x_std)}",
         points(m.both), ABSENT)
        for m in found.masks
    )  # fmt: skip
    weights = (
        (clean(w.name), "weight", points(w.rgb), points(w.x), ABSENT, ABSENT, number(w.entropy, 2))
        for w in found.weights
    )
    return Table(
        "Exchange and weights",
        ("at", "kind", "rgb %", f"{x_name(d)} %", "varies", "both %", "entropy"),
        (*masks, *weights),
        "<<>>>>>",
        "replaced: percent of the stream's places that take the other's value; varies: its standard deviation over"
        " images (0/0: the weights alone decide); both: replaced in both at once, where the streams swap. weight: mean"
        " weight of the modality; entropy: 0, one has all, to 1, equal parts.",
    )


SECTION = Section("exchange", exchange)
