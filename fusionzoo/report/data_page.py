"""What `fusionzoo.data.inspect` found -> tables for a terminal and one HTML page with pictures that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fusionzoo.modalities import METRIC, split
from fusionzoo.report import svg
from fusionzoo.report.overlay import palette
from fusionzoo.report.page import PICTURES, render
from fusionzoo.report.pictures import image_tag, key_entry, over, scale_of, seen
from fusionzoo.report.sections.base import Part, Plot
from fusionzoo.report.shapes import escape
from fusionzoo.report.table import ABSENT, WIDTH, Table, clean, number, points, text_table
from fusionzoo.report.verdict import Said
from fusionzoo.tasks import is_whole

__all__ = ["html", "tables", "text", "verdict"]

BUDGET = 2_600_000
"""Bytes of pictures in a page, which has to stay below 3 MB."""

_LISTED = 50  # rows of the lists of files


def verdict(found: Any) -> str:
    """One sentence: whether all can be read, and how many images there are."""
    n = sum(s.n for s in found.splits)
    if found.ok:
        return f"all {n} images of {len(found.splits)} splits can be read."
    wrong = [f"{len(found.unreadable)} of {n} images cannot be used"] if found.unreadable else []
    wrong += [f"split {clean(split)} cannot be opened: {clean(why)}" for split, why in found.refused.items()]
    return "; ".join(wrong) + "."


def tables(found: Any) -> list[Table]:
    """Splits, x, classes; then, where there are any, unreadable files and equal images."""
    made = [_splits(found), _x(found), _classes(found)]
    if found.unreadable:
        rows = [(clean(u.split), clean(u.id), clean(u.error)) for u in found.unreadable]
        made.append(_list("Images that cannot be used", ("split", "image", "why"), rows))
    if found.equal:
        rows = [
            (clean("/".join(e.first)), clean("/".join(e.second)), f"{e.bits} of 256 bits" if e.bits else "nothing")
            for e in found.equal
        ]
        made.append(_list("Equal images", ("image", "image", "differ in"), rows))
    return made


def text(found: Any, width: int = WIDTH) -> str:
    """The tables and remarks for a terminal."""
    lines = []
    for table in tables(found):
        lines += [table.title, *text_table(table, width), *([f"  {table.note}"] if table.note else []), ""]
    lines += [f"look at this: {clean(remark)}" for remark in found.remarks]
    return "\n".join(lines).rstrip() + "\n"


def html(found: Any) -> str:
    """The page of an `Inspection`: verdict, tables, class histogram, pictures of each split.

    rgb, x in a colour map and the classes over rgb; at most 3 MB, no script, nothing loaded from elsewhere.
    """
    splits, x, classes, *lists = tables(found)
    columns = [
        Part(splits.title, table=splits),
        Part(x.title, table=x),
        Part(classes.title, _histogram(found), classes),
    ]
    wide = [_gallery(found, split.split) for split in found.splits]
    wide += [Part(table.title, table=table) for table in lists]
    if found.facts:
        rows = tuple((key, clean(value)) for key, value in found.facts.items())
        wide.append(Part("Where it is from", table=Table("Where it is from", ("", ""), rows, "<<")))
    name = clean(found.name)
    return render(
        f"{name}: the data",
        "fusionzoo data",
        name,
        columns=columns,
        wide=[part for part in wide if part is not None],
        policy=PICTURES,
        verdict=verdict(found),
        good=found.ok,
        first=[Said("warn", clean(remark)) for remark in found.remarks],
    )


def _splits(found: Any) -> Table:
    rows = [
        (clean(s.split), str(s.n), _sizes(s.sizes), points(s.ignored), str(sum(count > 0 for count in s.pixels)))
        for s in found.splits
    ]
    columns = ("split", "images", "size", "unlabelled %", "classes seen")
    return Table("Splits", columns, tuple(rows), "<><>>")


def _sizes(sizes: dict[str, int]) -> str:
    named = list(sizes)
    return ABSENT if not named else named[0] + (f" and {len(named) - 1} others" if len(named) > 1 else "")


def _x(found: Any) -> Table:
    kind = clean(found.x_kind)
    unit = next((f" ({s.x.unit})" for s in found.splits if s.x.unit), "")
    rows = [
        (
            clean(s.split),
            number(s.x.low),
            *([number(v) for v in s.x.quantiles] or [ABSENT] * 5),
            number(s.x.high),
            points(s.x.missing),
            points(s.x.most),
        )
        for s in found.splits
    ]
    columns = ("split", "lowest", "1 %", "25 %", "50 %", "75 %", "99 %", "highest", "missing %", "in one image")
    note = "Quantiles of valid values; missing: mean share of pixels, and the largest of one image."
    return Table(f"Range of x: {kind}{unit}", columns, tuple(rows), note=note)


def _classes(found: Any) -> Table:
    totals = [max(1, sum(s.pixels)) for s in found.splits]
    rows = []
    for k, name in enumerate(found.class_names):
        row = [str(k), clean(name)]
        for s, total in zip(found.splits, totals, strict=True):
            row += [f"{100 * s.pixels[k] / total:.2f}", str(s.images[k])]
        rows.append(tuple(row))
    heads = [f"{clean(s.split)} {what}" for s in found.splits for what in ("%", "images")]
    return Table("Classes", ("", "class", *heads), tuple(rows), "><" + ">>" * len(found.splits))


def _list(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    note = f"The first {_LISTED} of {len(rows)}; data.json has all." if len(rows) > _LISTED else ""
    return Table(title, columns, tuple(rows[:_LISTED]), "<" * len(columns), note)


def _histogram(found: Any) -> Plot | None:
    """Shares of the labelled pixels of the first split, largest first."""
    split = found.splits[0]
    total = sum(split.pixels)
    if not total:
        return None
    order = sorted(range(len(split.pixels)), key=lambda k: -split.pixels[k])
    rows = [(clean(found.class_names[k]), 100 * split.pixels[k] / total, "both") for k in order]
    title = f"Share of the labelled pixels, {clean(split.split)}"
    said = ", ".join(f"{name} {share:.1f} %" for name, share, _ in rows)
    return Plot(svg.bars("classes", title, said, rows, max(rows[0][1], 1e-9)), f"{title}, in percent.")


def _gallery(found: Any, split: str) -> Part | None:
    """The pictures of one split, and which colour is which class."""
    shown = [e for e in found.examples if e.split == split]
    if not shown:
        return None
    scale = _scale(found)
    colours = found.palette or [tuple(map(int, c)) for c in palette(len(found.class_names))]
    cells: list[str] = []
    present: set[int] = set()
    room = BUDGET // max(1, len(found.splits))
    for e in shown:
        shows, told = [(e.rgb, "rgb"), *_seen(e, found.x_kind, scale)], e.id
        if is_whole(e.label.shape, e.rgb.shape[:2]):  # nothing to paint
            told += "".join(f": {found.class_names[k]}" for k in e.label[0].tolist() if k < len(found.class_names))
        else:
            shows.append((over(e.rgb, e.label, colours), "classes"))
            present |= set(np.unique(e.label).tolist())
        made = [image_tag(picture, f"{what} of {clean(e.id)}") for picture, what in shows]
        if sum(map(len, [*cells, *made])) > room:
            break
        cells += [*made, f"<p>{escape(clean(told))}</p>"]
    keys = [key_entry(clean(found.class_names[k]), colours[k]) for k in sorted(present) if k < len(found.class_names)]
    drawing = f'<div class="gallery">{"".join(cells)}</div><div class="key">{" ".join(keys)}</div>'
    unit = next((f" {s.x.unit}" for s in found.splits if s.x.unit), "")
    steps = ", ".join(f"{v:.3g}" for v in scale)
    shades = f" (dark to bright in equal steps: {steps}{unit}; missing pixels hatched)" if found.x_channels == 1 else ""
    painted = "; classes over rgb, unlabelled pixels bare" if present else ""
    caption = f"rgb; {clean(found.x_kind)}{shades}{painted}."
    return Part(f"Images of {clean(split)}", Plot(drawing, caption))


def _seen(e: Any, x_kind: str, scale: Sequence[float]) -> list[tuple[Any, str]]:
    """A picture of x, or of each of several modalities, which are painted on scales of their own; with its name."""
    if "+" not in x_kind:
        return [(seen(e.x, e.missing, scale), x_kind)]
    shown = []
    for part, own in split(e.x, x_kind):
        known = np.isfinite(own) & ((own > 0) if part.kind in METRIC else True)
        shown.append((seen(own, ~known.all(0), scale_of([own[known]])), part.name))
    return shown


def _scale(found: Any) -> tuple[float, ...]:
    """The quantiles of x over all splits, the outer ones as far out as in any: one scale for all pictures."""
    known = np.array([s.x.quantiles for s in found.splits if s.x.quantiles])  # (splits, 5)
    if not known.size:
        return (0.0, 1.0)
    inner = np.median(known[:, 1:4], axis=0)
    rising = np.maximum.accumulate([known[:, 0].min(), *inner, known[:, 4].max()])
    return tuple(float(v) for v in rising)
