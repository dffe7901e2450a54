"""Several checkpoints on one page: their numbers in tables, and the same images, one row of pictures a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.results.examples import Example
from fusionzoo.report.page import PICTURES, POLICY, render
from fusionzoo.report.panels import Panel, panels, x_scale
from fusionzoo.report.sections.base import Part, Plot
from fusionzoo.report.sections.gallery import cells, class_key, fitting, legend, reasons, right, told
from fusionzoo.report.sections.stages import comparison, contributions
from fusionzoo.report.shapes import element, escape
from fusionzoo.report.table import clean

__all__ = ["Compared", "html"]

INPUTS = ("rgb", "x", "label")
OUTPUTS = ("predicted_both", "errors", "modality_map_predicted")


@dataclass(frozen=True)
class Compared:
    """A checkpoint: how it is called, its dissection, and what it makes of the images that the first one chose; none
    where its images or its classes are others."""

    name: str
    dissection: Dissection
    examples: Sequence[Example] = ()


def html(checkpoints: Sequence[Compared]) -> str:
    """The page as text, at most 3 MB."""
    found = [c.dissection for c in checkpoints]
    tables = [t for t in (comparison(found), contributions(found)) if t.rows]
    boxes = [Part(t.title, table=t) for t in tables]
    shown = _images(checkpoints)
    where = clean(f"{found[0].data.name}, {found[0].data.split} split, {found[0].data.n} images")
    policy = POLICY if shown is None else PICTURES
    head = f"{len(checkpoints)} checkpoints compared"
    return render(head, f"fusionzoo check on {where}", head, wide=[*boxes, *([shown] if shown else [])], policy=policy)


def _images(checkpoints: Sequence[Compared]) -> Part | None:
    seen = [c for c in checkpoints if c.examples]
    if not seen:
        return None
    first = seen[0]
    by_image = [[(c, e) for c in seen for e in c.examples if e.id == shown.id] for shown in first.examples]
    scale = x_scale(first.examples)
    rows = fitting(lambda widest: [_row(row, scale, widest) for row in by_image])
    missing = [clean(c.name) for c in checkpoints if not c.examples]
    caption = (
        f"Chosen by rule from the held-out images, by the share of pixels that {clean(first.name)}, the first, has"
        f" right.{told(first.examples[0], scale)}"
        + (f" Of other images or classes, so not shown: {', '.join(missing)}." if missing else "")
    )
    everything = [e for c in seen for e in c.examples]
    drawn = legend(first.examples[0]) + "".join(rows) + class_key(everything)
    return Part("The same images", Plot(drawn, caption))


def _row(row: Sequence[tuple[Compared, Example]], scale: Sequence[float], widest: int) -> str:
    """One image: the inputs and the label, then what each checkpoint makes of it, column under column."""
    shown = row[0][1]
    why = "" if shown.chosen is None else reasons(shown.chosen, clean(shown.modalities[1]))
    lines = [
        element("p", element("b", escape(why)) + escape(f": {clean(shown.id)}")),
        cells(_named(shown, INPUTS, scale), widest, "three"),
    ]
    for checkpoint, e in row:
        name = element("b", escape(clean(checkpoint.name)))
        lines += [element("p", f"{name}. {escape(right(e))}"), cells(_named(e, OUTPUTS, scale), widest, "three")]
    return element("div", "".join(lines), class_="panels")


def _named(e: Example, names: Sequence[str], scale: Sequence[float]) -> list[Panel]:
    return [panel for panel in panels(e, scale) if panel.name in names]
