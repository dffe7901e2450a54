"""Dissection -> the plots of a model card: SVG files that stand alone, drawn as on the page."""

from __future__ import annotations

from typing import Any

from fusionzoo.report import style
from fusionzoo.report.sections import PLOTS
from fusionzoo.report.verdict import as_dissection
from fusionzoo.tasks import spoken

__all__ = ["plots"]


def plots(dissection: Any) -> dict[str, tuple[str, str]]:
    """File name -> (title, SVG text) for each plot that the dissection has numbers for.

    Args:
        dissection: a Dissection or its dictionary.
    """
    d, out = as_dissection(dissection), {}
    for name, (title, section) in PLOTS.items():
        title, plot = spoken((title, section.plot(d)), d.data.task)
        if plot is not None:
            out[name] = (title, style.alone(plot.drawing))
    return out
