"""Images that the dissection chose, side by side: inputs, label, predictions, errors, which modality drives what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from fusionzoo.dissect.measures.images import Chosen
from fusionzoo.dissect.results.examples import Example
from fusionzoo.report.inside import HOW_TO_READ, inside
from fusionzoo.report.panels import Panel, colours_of, harm_words, legend_words, panels, present, x_scale
from fusionzoo.report.pictures import harm_legend, image_tag, key_entry, modality_legend, resized
from fusionzoo.report.sections.base import Part, Plot
from fusionzoo.report.shapes import element, escape
from fusionzoo.report.table import clean, points

__all__ = ["BUDGET", "cells", "class_key", "fitting", "gallery", "legend", "reasons", "right", "told"]

BUDGET = 2_200_000
"""Bytes of pictures in a page, which has to stay below 3 MB."""
WIDTHS = (320, 240, 160, 120)
"""Pixels across a picture at most: the first with which all fit into the budget."""
TINY = 80
"""A picture of so few pixels across is a map of features: lossless, and shown pixel by pixel."""


def gallery(examples: Sequence[Example]) -> Part | None:
    """The box of the page; None without examples."""
    if not examples:
        return None
    scale = x_scale(examples)
    shown = [panels(e, scale) for e in examples]
    rows = fitting(
        lambda widest: [_row(e, made, widest, not i) for i, (e, made) in enumerate(zip(examples, shown, strict=True))]
    )
    drawn = legend(examples[0]) + "".join(rows) + class_key(examples)
    caption = f"Chosen by rule from the held-out images, by their share of right pixels.{told(examples[0], scale)}" + (
        f" {HOW_TO_READ}" if any(e.inside for e in examples) else ""
    )
    return Part("Images", Plot(drawn, caption))


def fitting(rows: Callable[[int], list[str]]) -> list[str]:
    """The rows of pictures that fit into the budget: all of them as large as possible, else the first ones.

    Args:
        rows: pixels across a picture at most -> the rows.
    """
    made: list[str] = []
    for widest in WIDTHS:
        made = rows(widest)
        if sum(map(len, made)) <= BUDGET:
            break
    while sum(map(len, made)) > BUDGET:
        made.pop()
    return made


def class_key(examples: Sequence[Example]) -> str:
    """The colours of the classes that occur."""
    first, classes = examples[0], sorted({k for e in examples for k in present(e)})
    return element("div", "".join(key_entry(clean(first.class_names[k]), colours_of(first)[k]) for k in classes),
                   class_="key")  # fmt: skip


def told(e: Example, scale: Sequence[float]) -> str:
    """How to read the picture of x, and what is hatched."""
    unit = " m" if e.x_kind in ("depth", "inverse_depth") else ""
    steps = ", ".join(f"{v:.3g}" for v in scale)
    painted = f" {clean(e.modalities[1])} from dark to bright in equal steps: {steps}{unit}." if len(e.x) < 3 else ""
    return f"{painted} Pixels without a value or a label are hatched."


def reasons(chosen: Chosen, x: str) -> str:
    """Why an image is shown, in words.

    >>> reasons(Chosen(3, ["typical", "x helps most"], {}), "depth")
    'Typical; depth helps most'
    """
    words = "; ".join(x + rule[1:] if rule.startswith("x ") else rule for rule in chosen.why)
    return words[:1].upper() + words[1:]


def right(e: Example) -> str:
    """How much of an image that was chosen is right, with both modalities and without either."""
    x, a = clean(e.modalities[1]), {} if e.chosen is None else e.chosen.accuracy
    parts = [("with both", "both"), (f"without {x}", "without_x"), ("without rgb", "without_rgb")]
    return f"Pixels right, in percent: {', '.join(f'{points(a.get(key))} {words}' for words, key in parts)}."


def _row(e: Example, made: Sequence[Panel], widest: int, opened: bool) -> str:
    head = ""
    if e.chosen is not None:
        why = element("b", escape(reasons(e.chosen, clean(e.modalities[1]))))
        head = element("p", f"{why}: {escape(clean(e.id))}. {escape(right(e))}")
    return element("div", head + cells(made, widest), class_="panels") + _inside(e, widest // 2, opened)


def _inside(e: Example, widest: int, opened: bool) -> str:
    """The streams of one image, behind a click but for the first."""
    rows = "".join(
        element("p", escape(group.title)) + cells(group.panels, widest, group.kind, TINY) for group in inside(e)
    )
    words = element("summary", f"Inside the streams: {escape(clean(e.id))}")
    return element("details", words + rows, open="" if opened else None, class_="inside") if rows else ""


def cells(shown: Iterable[Panel], widest: int, kind: str = "", tiny: int = 0) -> str:
    """Pictures side by side, each with its title; at most `widest` pixels across, and lossless up to `tiny`.

    `kind`: how they are laid out, see `Group`.
    """
    return element("div", "".join(_cell(panel, widest, tiny) for panel in shown), class_=f"cells {kind}".rstrip())


def _cell(panel: Panel, widest: int, tiny: int) -> str:
    width = panel.picture.shape[1]
    picture = panel.picture if width <= widest else resized(panel.picture, widest, panel.smooth)
    drawn = image_tag(picture, panel.words, raw=width <= tiny)
    return element("div", drawn + element("span", escape(panel.title)))


def legend(e: Example) -> str:
    """The legends of the modality map."""
    x = clean(e.modalities[1])
    words = f"Legend of the modality map: from blue ({x}) over dark grey (both alike) to orange (rgb); pale: no matter."
    ends = element("span", escape(x)) + element("span", "both alike") + element("span", "rgb")
    scale = element("div", image_tag(modality_legend(), words) + element("div", ends))
    harm = element("div", image_tag(harm_legend(), "Legend of the modality map: blue and orange, both striped."))
    pairs = ((scale, legend_words(e)), (harm, harm_words(e)))
    return "".join(element("div", drawn + element("p", escape(told)), class_="balance") for drawn, told in pairs)
