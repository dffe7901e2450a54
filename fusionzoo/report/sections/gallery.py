"""Images that the dissection chose, side by side: inputs, label, predictions, errors, which modality drives what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusionzoo.dissect.measures.images import Chosen
from fusionzoo.dissect.results.examples import Example
from fusionzoo.report.panels import Panel, colours_of, legend_words, panels, present, x_scale
from fusionzoo.report.pictures import image_tag, key_entry, modality_legend, resized
from fusionzoo.report.sections.base import Part, Plot
from fusionzoo.report.shapes import element, escape
from fusionzoo.report.table import clean, points

__all__ = ["BUDGET", "gallery", "reasons"]

BUDGET = 2_200_000
"""Bytes of pictures in a page, which has to stay below 3 MB."""
WIDTHS = (320, 240, 160, 120)
"""Pixels across a picture at most: the first with which all fit into the budget."""


def gallery(examples: Sequence[Example]) -> Part | None:
    """The box of the page; None without examples."""
    if not examples:
        return None
    scale = x_scale(examples)
    shown = [panels(e, scale) for e in examples]
    rows: list[str] = []
    for widest in WIDTHS:
        rows = [_row(e, made, widest) for e, made in zip(examples, shown, strict=True)]
        if sum(map(len, rows)) <= BUDGET:
            break
    while sum(map(len, rows)) > BUDGET:
        rows.pop()
    first = examples[0]
    classes = sorted({k for e in examples for k in present(e)})
    keys = "".join(key_entry(clean(first.class_names[k]), colours_of(first)[k]) for k in classes)
    drawn = _legend(first) + "".join(rows) + element("div", keys, class_="key")
    unit = " m" if first.x_kind in ("depth", "inverse_depth") else ""
    steps = ", ".join(f"{v:.3g}" for v in scale)
    told = (
        f" {clean(first.modalities[1])} from dark to bright in equal steps: {steps}{unit}." if len(first.x) < 3 else ""
    )
    caption = (
        f"Chosen by rule from the held-out images, by their share of right pixels.{told} Pixels without a value or a"
        f" label are hatched. {legend_words(first)}"
    )
    return Part("Images", Plot(drawn, caption))


def reasons(chosen: Chosen, x: str) -> str:
    """Why an image is shown, in words.

    >>> reasons(Chosen(3, ["typical", "x helps most"], {}), "depth")
    'Typical; depth helps most'
    """
    words = "; ".join(x + rule[1:] if rule.startswith("x ") else rule for rule in chosen.why)
    return words[:1].upper() + words[1:]


def _row(e: Example, made: Sequence[Panel], widest: int) -> str:
    head = ""
    if e.chosen is not None:
        x, a = clean(e.modalities[1]), e.chosen.accuracy
        parts = [("with both", "both"), (f"without {x}", "without_x"), ("without rgb", "without_rgb")]
        scores = ", ".join(f"{points(a.get(key))} {words}" for words, key in parts)
        why = element("b", escape(reasons(e.chosen, x)))
        head = element("p", f"{why}: {escape(clean(e.id))}. Pixels right, in percent: {escape(scores)}.")
    cells = "".join(_cell(panel, widest) for panel in made)
    return element("div", head + element("div", cells, class_="cells"), class_="panels")


def _cell(panel: Panel, widest: int) -> str:
    width = panel.picture.shape[1]
    picture = panel.picture if width <= widest else resized(panel.picture, widest, panel.smooth)
    return element("div", image_tag(picture, panel.words) + element("span", escape(panel.title)))


def _legend(e: Example) -> str:
    x = clean(e.modalities[1])
    words = f"Legend of the modality map: from blue ({x}) over dark grey (both alike) to orange (rgb); pale: no matter."
    ends = element("span", escape(x)) + element("span", "both alike") + element("span", "rgb")
    picture = image_tag(np.ascontiguousarray(modality_legend()), words)
    scale = element("div", picture + element("div", ends))
    return element("div", scale + element("p", escape(legend_words(e))), class_="balance")
