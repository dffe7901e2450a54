"""Saliency scores with both modalities and without either: table."""

from __future__ import annotations

from dataclasses import astuple

from fusionzoo.dissect.measures.saliency import Saliency
from fusionzoo.dissect.results import Dissection
from fusionzoo.report.sections.base import Section
from fusionzoo.report.sections.scores import labels
from fusionzoo.report.table import Table, number

__all__ = ["SECTION", "saliency"]


def saliency(d: Dissection) -> Table | None:
    """One row a condition; None for data of another task."""
    found: dict[str, Saliency] | None = d.results.get("saliency")
    if found is None:
        return None
    rows = [
        (label, *(number(value, 3) for value in astuple(found[condition])))
        for condition, label in labels(d).items()
        if condition in found
    ]
    return Table(
        "Saliency",
        ("modalities", "S", "E adaptive", "E mean", "E max", "F adaptive", "F mean", "F max", "MAE"),
        tuple(rows),
        note="S-, E- and F-measure and mean absolute error of the probability of the salient class, each image's map"
        " brought to 0..1 first, as the field's evaluation code does.",
    )


SECTION = Section("saliency", saliency)
