"""Concepts without labels: how many elements the streams share, how many each has alone; and what these look like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusionzoo.dissect.measures.dictionary import FOUND_AGAIN, Dictionary
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.results.examples import Exemplars
from fusionzoo.report import svg
from fusionzoo.report.pictures import Picture, image_tag, resized, scale_of, seen
from fusionzoo.report.sections.base import Part, Plot, Section, said
from fusionzoo.report.shapes import element, escape
from fusionzoo.report.svg import Series
from fusionzoo.report.table import Table, clean, integer, points
from fusionzoo.report.verdict import x_name

__all__ = ["SECTION", "dictionary", "strips"]

TITLE = "What the streams share, without labels"
WIDE, GAP = 56, 4
"""Pixels across a piece, and between two."""
MOST = 48
"""Strips shown at most."""


def _kinds(x: str) -> dict[str, str]:
    return {"shared": "shared", "rgb": "rgb alone", "x": f"{x} alone", "mixed": "mixed"}


def dictionary(d: Dissection) -> Table | None:
    """One row a stage; None where no dictionary was fitted."""
    found: Dictionary | None = d.results.get("dictionary")
    if found is None:
        return None
    x, rows = x_name(d), []
    for row in found.stages:
        kinds = [e.kind for e in row.elements]
        again = sum(e.again >= FOUND_AGAIN for e in row.elements)
        counts = (integer(n) for n in (row.n, len(kinds), *(kinds.count(k) for k in _kinds(x)), again, row.dead))
        rows.append((str(row.stage), *counts, points(row.held_rgb), points(row.held_x)))
    return Table(
        TITLE,
        ("stage", "n", "elements", *_kinds(x).values(), "again", "dead", "of rgb %", f"of {x} %"),
        tuple(rows),
        note=f"Joint independent components of rgb and {x} at n positions, one code for both. Shared: both streams tell"
        " much of the code and some of the same, by linear maps; alone: one tells more than twice as much; mixed: each"
        f" tells another part. Again: found by a second fit (correlation {FOUND_AGAIN:g}); dead: never above 1"
        " standard deviation. Of: share of the stream's variance that they hold.",
    )


def _plot(d: Dissection) -> Plot | None:
    found: Dictionary | None = d.results.get("dictionary")
    if found is None:
        return None
    places, signs = [str(row.stage) for row in found.stages], ("fused", "rgb", "x", "both")
    series = [
        Series(name, sign, [float(sum(e.kind == kind for e in row.elements)) for row in found.stages])
        for (kind, name), sign in zip(_kinds(x_name(d)).items(), signs, strict=True)
    ]
    drawing = svg.lines("dictionary", TITLE, said(places, series, 0), places, series)
    return Plot(drawing, "Number of elements of a dictionary of both streams, by whose they are.")


SECTION = Section("dictionary", dictionary, _plot, lambda d: TITLE)


def strips(shown: Sequence[Exemplars]) -> Part | None:
    """The box of pictures; None without any."""
    if not shown:
        return None
    shown = shown[:MOST]
    x = clean(shown[0].modalities[1])
    scale = scale_of(e.x[:, :1][~e.missing[:, None]] for e in shown)
    rows = []
    for stage in dict.fromkeys(e.stage for e in shown):
        cells = "".join(_cell(e, x, scale) for e in shown if e.stage == stage)
        rows.append(element("p", f"Stage {stage}") + element("div", cells, class_="cells"))
    caption = (
        f"Elements of the dictionary that a second fit finds again, of each kind those that hold most variance: where"
        f" their code is largest, one piece an image, rgb above {x}. Percent: how much of the code the stream alone"
        " tells. Nobody named them."
    )
    return Part("What the elements look like", Plot(element("div", "".join(rows), class_="panels"), caption))


def _cell(e: Exemplars, x: str, scale: Sequence[float]) -> str:
    title = f"{_kinds(x)[e.element.kind]}: rgb {points(e.element.rgb)}, {x} {points(e.element.x)}"
    words = f"Stage {e.stage}, element {e.number + 1}, {title} percent; {len(e.rgb)} pieces of images, rgb above {x}"
    return element("div", image_tag(strip(e, scale), words) + element("span", escape(title)))


def strip(e: Exemplars, scale: Sequence[float]) -> Picture:
    """The pieces of rgb in a row, those of x below."""
    pairs = [(rgb, seen(x, missing, scale)) for rgb, x, missing in zip(e.rgb, e.x, e.missing, strict=True)]
    made = np.full((2 * WIDE + GAP, len(pairs) * (WIDE + GAP) - GAP, 3), 128, np.uint8)
    for i, pair in enumerate(pairs):
        for j, piece in enumerate(pair):
            top, left = j * (WIDE + GAP), i * (WIDE + GAP)
            made[top : top + WIDE, left : left + WIDE] = resized(piece, WIDE, smooth=j == 0)
    return made
