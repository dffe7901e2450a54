"""Small functions that draw one plot each as inline SVG text. No script, no external resource, no fixed colour.

Every function returns a `<figure>`-ready `<svg>` with title and description; every text is escaped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusionzoo.report.shapes import WIDTH, drawing, element, escape, fit, legend, mark, nice_ticks, posts, rulers, text

__all__ = [
    "Panel",
    "Series",
    "bars",
    "dumbbell",
    "element",
    "escape",
    "heatmap",
    "lines",
    "multiples",
    "nice_ticks",
    "signed",
    "stacked",
]

Values = Sequence[float | None]


def bars(
    key: str, title: str, description: str, rows: Sequence[tuple[str, float | None, str]], top: float = 100
) -> str:
    """Horizontal bars: rows of (label, value, class of the fill), 0..`top`, the value printed at the end of its bar."""
    left, right, step = 96.0, 44.0, 28
    span = WIDTH - left - right
    out = []
    for i, (label, value, fill) in enumerate(rows):
        y = 4 + i * step
        out.append(text(left - 8, y + 15, fit(label, left - 8), anchor="end"))
        length = span * min(max((value or 0) / top, 0), 1)
        out.append(element("rect", x=left, y=y, width=span, height=20, class_="track"))
        out.append(element("rect", x=left, y=y, width=length, height=20, class_=f"fill {fill}"))
        out.append(text(left + span + 6, y + 15, "-" if value is None else f"{value:.1f}", "value"))
    return drawing(key, title, description, 4 + len(rows) * step, "".join(out))


@dataclass(frozen=True)
class Series:
    """One line: its name, the class that colours it, one value a position (None leaves a gap)."""

    name: str
    stream: str
    values: Values


def lines(
    key: str,
    title: str,
    description: str,
    positions: Sequence[str],
    series: Sequence[Series],
    *,
    floor: Values | None = None,
    x_label: str = "stage",
    high: float | None = None,
) -> str:
    """Line chart over named positions; `floor` fills a band from zero to a noise floor; `high` fixes the upper end."""
    shown = [v for s in series for v in s.values if v is not None] + [v for v in floor or () if v is not None]
    bottom = min([0.0, *shown])
    ticks = [t for t in nice_ticks(bottom, max(shown, default=1.0) if high is None else high) if t >= bottom]
    left, right, top, tall = 38.0, 14.0, 30.0, 150.0
    base = top + tall
    step = (WIDTH - left - right) / max(len(positions), 1)
    xs = [left + step * (i + 0.5) for i in range(len(positions))]
    under = 6.0 if bottom < 0 else 0.0  # room for a sign below the axis
    scale = (tall - under) / (ticks[-1] - bottom)
    at = lambda v: base - under - (v - bottom) * scale  # noqa: E731
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    names = [(s.stream, s.name) for s in series]
    out = [legend(names, 10, draw_line=True)]
    if floor is not None:
        out.append(_band(xs, step, [None if f is None else (at(0), at(f)) for f in floor]))
    out += rulers(ticks, at, left, WIDTH - right, f".{digits}f")
    for x, name in zip(xs, positions, strict=True):
        out.append(text(x, base + 16, name, "tick", "middle"))
    out.append(text((left + WIDTH - right) / 2, base + 31, x_label, "tick", "middle"))
    for s in series:
        points = [(x, at(v), v) for x, v in zip(xs, s.values, strict=True) if v is not None]
        for (x1, y1, _), (x2, y2, _) in itertools.pairwise(points):
            out.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=f"stroke {s.stream}"))
        out += [mark(s.stream, x, y, hint=f"{s.name}: {v:.{digits + 1}f}") for x, y, v in points]
    return drawing(key, title, description, base + 38, "".join(out))


def _band(xs: Sequence[float], step: float, spans: Sequence[tuple[float, float] | None]) -> str:
    """One hatched block a position from zero to the floor."""
    blocks = []
    for x, span in zip(xs, spans, strict=True):
        if span is not None:
            zero, top = span
            blocks.append(
                element("rect", x=x - step / 2, y=min(zero, top), width=step, height=abs(zero - top), class_="band")
            )
            blocks.append(element("line", x1=x - step / 2, y1=top, x2=x + step / 2, y2=top, class_="bandedge"))
    return "".join(blocks)


def dumbbell(
    key: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Mapping[str, float | None]]],
    names: Mapping[str, str],
) -> str:
    """One row a concept: the streams' values as signs on a line from the lowest to the highest."""
    shown = [v for _, row in rows for v in row.values() if v is not None]
    ticks = nice_ticks(0, max(shown, default=1.0))
    left, right, step, head = 108.0, 16.0, 22, 42
    span = WIDTH - left - right
    at = lambda v: left + span * v / ticks[-1]  # noqa: E731
    bottom = head + step * len(rows)
    out = [legend(names.items(), 10), *posts(ticks, at, head - 8, bottom - 6, gap=5)]
    for i, (label, row) in enumerate(rows):
        y = head + step * i + 4
        there = {s: v for s, v in row.items() if v is not None}
        out.append(text(left - 8, y + 4, fit(label, left - 8), anchor="end"))
        if there:
            out.append(
                element("line", x1=at(min(there.values())), y1=y, x2=at(max(there.values())), y2=y, class_="link")
            )
        else:
            out.append(text(left + 6, y + 4, "absent", "tick"))
        out += [mark(s, at(v), y, 4.2, f"{label}, {names.get(s, s)}: {v:.1f}") for s, v in there.items()]
    return drawing(key, title, description, bottom, "".join(out))


def heatmap(
    key: str,
    title: str,
    description: str,
    rows: Sequence[str],
    panels: Sequence[tuple[str, Sequence[str], Sequence[Values]]],
    top: float | None = None,
    written: bool = False,
) -> str:
    """Panels side by side that share their rows: each (name, column names, values[row][column]); darker is more.

    The value sets the opacity of one hue, so the map works on light and dark; the largest is `top`, else the maximum.
    Names of columns that are too long for their column stand aslant.

    Args:
        written: each value stands in its cell as a whole number.
    """
    shown = [v for _, _, grid in panels for row in grid for v in row if v is not None]
    most = (max(shown, default=1.0) if top is None else top) or 1.0
    longest = 16 + 6.5 * max(map(len, rows), default=0)
    left, tall, space = min(max(108.0, longest), 150.0) if written else 108.0, 17.0, 8.0
    names = [column for _, columns, _ in panels for column in columns]
    wide = (WIDTH - left - space * (len(panels) - 1) - 2) / max(len(names), 1)
    across = 5.6 * max(map(len, names), default=0)
    aslant = across > wide
    head = 46.0 if not aslant else max(46.0, 34 + across * math.sin(math.radians(_SLANT)))
    out, x = [], left
    for name, columns, grid in panels:
        out.append(text(x + wide * len(columns) / 2, 24 if not aslant else 12, name, anchor="middle"))
        for j, column in enumerate(columns):
            middle = x + wide * (j + 0.5)
            turn = f"rotate({_SLANT} {middle + 3:.1f} {head - 5:.1f})" if aslant else None
            place = {"x": middle + 3, "y": head - 5} if aslant else {"x": middle, "y": head - 6}
            anchor = "end" if aslant else "middle"
            out.append(element("text", escape(column), **place, class_="tick", text_anchor=anchor, transform=turn))
            for i, label in enumerate(rows):
                value, y = grid[i][j], head + tall * i
                tip = element(
                    "title", escape(f"{label}, {name}, {column}: {'absent' if value is None else f'{value:.1f}'}")
                )
                shape = {"x": x + wide * j + 0.5, "y": y + 0.5, "width": wide - 1, "height": tall - 1}
                shade = None if value is None else 0.04 + 0.96 * min(value / most, 1)
                class_ = "void" if shade is None else "heat"
                out.append(element("rect", tip, **shape, class_=class_, fill_opacity=shade))
                if written and value is not None:
                    inside = "inside" if shade is not None and shade > 0.62 else "value"
                    out.append(text(middle, y + 12.5, f"{value:.0f}", inside, "middle"))
        x += wide * len(columns) + space
    for i, label in enumerate(rows):
        out.append(text(left - 8, head + tall * i + 13, fit(label, left - 8), anchor="end"))
    out.append(_key(most))
    return drawing(key, title, description, head + tall * len(rows) + 2, "".join(out))


_SLANT = 40
"""Degrees."""


def _key(most: float) -> str:
    """The scale of a heat map: five cells from 0 to the largest value."""
    cells = [
        element("rect", x=4 + 14 * i, y=4, width=13, height=10, class_="heat", fill_opacity=0.04 + 0.24 * i)
        for i in range(5)
    ]
    return text(4, 27, "0", "tick") + "".join(cells) + text(73, 27, f"{most:.0f}", "tick", "end")


def signed(
    key: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, float | None, float | None, str]],
) -> str:
    """Bars from zero to either side: rows of (label, value, standard error, class of the fill), the error as a line."""
    ends = [v + k * (e or 0) for _, v, e, _ in rows if v is not None for k in (-1, 1)]
    ticks = nice_ticks(min(0.0, *ends) if ends else 0.0, max(0.0, *ends) if ends else 1.0)
    left, right, step = 96.0, 74.0, 28
    span = WIDTH - left - right
    at = lambda v: left + span * (v - ticks[0]) / (ticks[-1] - ticks[0])  # noqa: E731
    bottom = 6 + step * len(rows)
    out = [element("line", x1=at(t), y1=2, x2=at(t), y2=bottom, class_="grid" if t else "axis") for t in ticks]
    out += [text(at(t), bottom + 14, f"{t:g}", "tick", "middle") for t in ticks]
    for i, (label, value, error, fill) in enumerate(rows):
        y = 6 + i * step
        out.append(text(left - 8, y + 14, fit(label, left - 8), anchor="end"))
        if value is not None:
            low, high = sorted((at(0), at(value)))
            out.append(element("rect", x=low, y=y, width=high - low, height=18, class_=f"fill {fill}"))
            if error:
                a, b = at(value - error), at(value + error)
                out.append(element("line", x1=a, y1=y + 9, x2=b, y2=y + 9, class_="error"))
        words = "-" if value is None else f"{value:.1f}" + ("" if error is None else f" ±{error:.1f}")
        out.append(text(WIDTH - right + 8, y + 14, words, "value"))
    return drawing(key, title, description, bottom + 20, "".join(out))


def stacked(
    key: str,
    title: str,
    description: str,
    positions: Sequence[str],
    parts: Sequence[Series],
) -> str:
    """One column a position, from 0 to 100, filled from below by the parts' values; values below zero are not drawn."""
    left, right, top, tall = 38.0, 14.0, 30.0, 150.0
    base, step = top + tall, (WIDTH - left - right) / max(len(positions), 1)
    at = lambda v: base - tall * v / 100  # noqa: E731
    out = [legend([(s.stream, s.name) for s in parts], 10)]
    out += rulers((0, 25, 50, 75, 100), at, left, WIDTH - right, "d")
    for i, name in enumerate(positions):
        x, wide, low = left + step * (i + 0.5), min(step * 0.6, 46.0), 0.0
        out.append(text(x, base + 16, name, "tick", "middle"))
        for s in parts:
            value = min(max(s.values[i] or 0.0, 0.0), 100 - low)
            tip = element("title", escape(f"{s.name}, {name}: {value:.1f}"))
            y = at(low + value)
            out.append(
                element("rect", tip, x=x - wide / 2, y=y, width=wide, height=at(low) - y, class_=f"fill {s.stream}")
            )
            if value >= 9:
                out.append(text(x, y + (at(low) - y) / 2 + 4, f"{value:.0f}", "inside", "middle"))
            low += value
    out.append(text((left + WIDTH - right) / 2, base + 31, "stage", "tick", "middle"))
    return drawing(key, title, description, base + 38, "".join(out))


@dataclass(frozen=True)
class Panel:
    """One small chart of `multiples`: its name, one value and standard error a position, the class of its line."""

    name: str
    positions: Sequence[str]
    values: Values
    errors: Values
    stream: str


def multiples(key: str, title: str, description: str, panels: Sequence[Panel], low: float | None = 0.0) -> str:
    """Small line charts, two side by side, which share the vertical axis; a thin line shows two standard errors.

    Args:
        low: the lower end of the axis; None takes the smallest value.
    """
    shown = [v for p in panels for v in p.values if v is not None]
    floor = min([0.0, *shown]) if low is None else low
    ticks = [t for t in nice_ticks(floor, max(shown, default=1.0)) if t >= floor or low is None]
    left, wide, tall, head, foot = 34.0, 138.0, 78.0, 20.0, 24.0
    out = []
    for i, panel in enumerate(panels):
        x0, y0 = left + (i % 2) * (wide + 44), (i // 2) * (head + tall + foot) + head
        base = y0 + tall
        at = lambda v, base=base: base - tall * (v - ticks[0]) / (ticks[-1] - ticks[0])  # noqa: E731
        out.append(text(x0, y0 - 7, fit(panel.name, wide), "value"))
        out += rulers(ticks, at, x0, x0 + wide, "g", gap=4, axis=ticks[0])
        count = max(len(panel.positions) - 1, 1)
        xs = [x0 + 6 + (wide - 12) * j / count for j in range(len(panel.positions))]
        every = 1 + int(max(map(len, panel.positions), default=0) * 6.4 > (wide - 12) / count)
        for x, name in list(zip(xs, panel.positions, strict=True))[::every]:
            out.append(text(x, base + 13, fit(name, every * (wide - 12) / count, 6.0), "tick", "middle"))
        points = [(x, v, e) for x, v, e in zip(xs, panel.values, panel.errors, strict=True) if v is not None]
        for (x1, v1, _), (x2, v2, _) in itertools.pairwise(points):
            out.append(element("line", x1=x1, y1=at(v1), x2=x2, y2=at(v2), class_=f"stroke {panel.stream}"))
        for x, v, e in points:
            if e:
                out.append(element("line", x1=x, y1=at(v - 2 * e), x2=x, y2=at(v + 2 * e), class_="error"))
            out.append(mark(panel.stream, x, at(v), 3.4, f"{panel.name}: {v:.1f}"))
    rows = -(-len(panels) // 2)
    return drawing(key, title, description, rows * (head + tall + foot) + 2, "".join(out))
