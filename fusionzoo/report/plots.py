"""Dissection -> the plots of a model card: SVG files that stand alone, drawn as on the page."""

from __future__ import annotations

from typing import Any

from fusionzoo.report import style, tables
from fusionzoo.report.html import _segmentation, _similarity, _streams, _variance

__all__ = ["plots"]

_DRAWN = {
    "modalities.svg": ("mIoU with both modalities and without either", _segmentation),
    "similarity.svg": ("Similarity of the two streams at each level", _similarity),
    "variance.svg": ("Semantic variance at each level", _variance),
    "streams.svg": ("Which stream encodes what", _streams),
}

_FONT = "svg{font-family:system-ui,sans-serif}"


def plots(dissection: Any) -> dict[str, tuple[str, str]]:
    """File name -> (title, SVG text) for each plot that the dissection has numbers for.

    Args:
        dissection: a Dissection or its dictionary.
    """
    d = tables.as_dict(dissection)
    out = {}
    for name, (title, section) in _DRAWN.items():
        page = section(d)
        start, stop = page.find("<svg"), page.find("</svg>")
        if start >= 0:
            head, _, content = page[start : stop + len("</svg>")].partition(">")
            back = '<rect width="100%" height="100%" style="fill:var(--back)"/>'
            out[name] = (title, f"{head}><style>{style.sheet()}{_FONT}</style>{back}{content}\n")
    return out
