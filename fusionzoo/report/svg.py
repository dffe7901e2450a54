"""Small functions that draw one plot each as inline SVG text. No script, no external resource, no fixed colour.

Colours come from classes (`rgb`, `x`, `fused`, `band`, ...) that the page's style sheet fills: one SVG serves both.
Streams differ by shape and dash as well as by colour. The drawing is 360 units wide: on a phone one unit is one pixel.
Every function returns a `<figure>`-ready `<svg>` with title and description; every text is escaped.
"""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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

WIDTH = 360
Values = Sequence[float | None]


def escape(text: object) -> str:
    """Text that is safe in HTML content and attributes; characters that XML forbids become spaces.

    >>> escape('<a href="x">&\\x00')
    '&lt;a href=&quot;x&quot;&gt;&amp; '
    """
    return html.escape("".join(c if c.isprintable() or c == "\n" else " " for c in str(text)), quote=True)


def element(tag: str, content: str = "", /, **attributes: object) -> str:
    """One element. `content` is markup already; attribute values are escaped; `class_`, `x_y` become `class`, `x-y`."""
    rows = (f' {k.rstrip("_").replace("_", "-")}="{escape(_short(v))}"' for k, v in attributes.items() if v is not None)
    head = f"<{tag}{''.join(rows)}"
    return f"{head}>{content}</{tag}>" if content or tag not in ("line", "rect", "circle", "path") else f"{head}/>"


def _short(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def text(x: float, y: float, words: object, class_: str = "", anchor: str = "start") -> str:
    """A line of text at its baseline."""
    return element("text", escape(words), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def _fit(words: str, units: float, size: float = 6.2) -> str:
    """Cut to what fits into `units`, at about `size` units a character."""
    room = int(units / size)
    return words if len(words) <= room else words[: max(room - 1, 1)] + "…"


def _svg(key: str, title: str, description: str, height: float, content: str) -> str:
    head = element("title", escape(title), id=f"{key}-t") + element("desc", escape(description), id=f"{key}-d")
    return element(
        "svg",
        head + content,
        viewBox=f"0 0 {WIDTH} {math.ceil(height)}",
        role="img",
        aria_labelledby=f"{key}-t {key}-d",
        xmlns="http://www.w3.org/2000/svg",
    )


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers that cover [low, high]; steps are 1, 2 or 5 times a power of ten.

    >>> nice_ticks(0, 0.93, 5)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> nice_ticks(-0.1, 0.4)
    [-0.2, 0.0, 0.2, 0.4]
    """
    if not high > low:
        high = low + 1
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def mark(stream: str, x: float, y: float, r: float = 4.5, hint: str = "") -> str:
    """The sign of a stream: rgb a circle, x a square, fused a diamond, anything else a triangle."""
    tip = element("title", escape(hint)) if hint else ""
    if stream == "rgb":
        return element("circle", tip, cx=x, cy=y, r=r, class_=f"mark {stream}")
    if stream == "x":
        return element(
            "rect", tip, x=x - r * 0.9, y=y - r * 0.9, width=1.8 * r, height=1.8 * r, class_=f"mark {stream}"
        )
    k = 1.25 * r
    shape = f"M{x:.1f} {y - k:.1f}L{x + k:.1f} {y:.1f}L{x:.1f} {y + k:.1f}L{x - k:.1f} {y:.1f}Z"
    if stream not in ("rgb", "x", "fused"):
        shape = f"M{x:.1f} {y - k:.1f}L{x + k:.1f} {y + r:.1f}L{x - k:.1f} {y + r:.1f}Z"
    return element("path", tip, d=shape, class_=f"mark {stream}")


def _legend(entries: Iterable[tuple[str, str]], y: float, draw_line: bool = False) -> str:
    """Signs with names in one row; wraps nothing, so keep names short."""
    out, x = [], 4.0
    for stream, name in entries:
        if draw_line:
            out.append(element("line", x1=x, y1=y, x2=x + 22, y2=y, class_=f"stroke {stream}"))
            out.append(mark(stream, x + 11, y, 4))
            x += 27
        else:
            out.append(mark(stream, x + 5, y))
            x += 14
        out.append(text(x, y + 4, name))
        x += 6.3 * len(name) + 14
    return "".join(out)


def bars(
    key: str, title: str, description: str, rows: Sequence[tuple[str, float | None, str]], top: float = 100
) -> str:
    """Horizontal bars: rows of (label, value, class of the fill), 0..`top`, the value printed at the end of its bar."""
    left, right, step = 96.0, 44.0, 28
    span = WIDTH - left - right
    out = []
    for i, (label, value, fill) in enumerate(rows):
        y = 4 + i * step
        out.append(text(left - 8, y + 15, _fit(label, left - 8), anchor="end"))
        length = span * min(max((value or 0) / top, 0), 1)
        out.append(element("rect", x=left, y=y, width=span, height=20, class_="track"))
        out.append(element("rect", x=left, y=y, width=length, height=20, class_=f"fill {fill}"))
        out.append(text(left + span + 6, y + 15, "-" if value is None else f"{value:.1f}", "value"))
    return _svg(key, title, description, 4 + len(rows) * step, "".join(out))


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
    out = [_legend(names, 10, draw_line=True)]
    if floor is not None:
        out.append(_band(xs, step, [None if f is None else (at(0), at(f)) for f in floor]))
    for tick in ticks:
        out.append(
            element("line", x1=left, y1=at(tick), x2=WIDTH - right, y2=at(tick), class_="grid" if tick else "axis")
        )
        out.append(text(left - 6, at(tick) + 4, f"{tick:.{digits}f}", "tick", "end"))
    for x, name in zip(xs, positions, strict=True):
        out.append(text(x, base + 16, name, "tick", "middle"))
    out.append(text((left + WIDTH - right) / 2, base + 31, x_label, "tick", "middle"))
    for s in series:
        points = [(x, at(v), v) for x, v in zip(xs, s.values, strict=True) if v is not None]
        for (x1, y1, _), (x2, y2, _) in itertools.pairwise(points):
            out.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=f"stroke {s.stream}"))
        out += [mark(s.stream, x, y, hint=f"{s.name}: {v:.{digits + 1}f}") for x, y, v in points]
    return _svg(key, title, description, base + 38, "".join(out))


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
    top: float | None = None,
) -> str:
    """One row a concept: the streams' values as signs on a line from the lowest to the highest."""
    shown = [v for _, row in rows for v in row.values() if v is not None]
    ticks = nice_ticks(0, max(shown, default=1.0) if top is None else top, 4)
    left, right, step, head = 108.0, 16.0, 22, 42
    span = WIDTH - left - right
    at = lambda v: left + span * v / ticks[-1]  # noqa: E731
    bottom = head + step * len(rows)
    out = [_legend(names.items(), 10)]
    for tick in ticks:
        out.append(
            element("line", x1=at(tick), y1=head - 8, x2=at(tick), y2=bottom - 6, class_="grid" if tick else "axis")
        )
        out.append(text(at(tick), head - 13, f"{tick:g}", "tick", "middle"))
    for i, (label, row) in enumerate(rows):
        y = head + step * i + 4
        there = {s: v for s, v in row.items() if v is not None}
        out.append(text(left - 8, y + 4, _fit(label, left - 8), anchor="end"))
        if there:
            out.append(
                element("line", x1=at(min(there.values())), y1=y, x2=at(max(there.values())), y2=y, class_="link")
            )
        else:
            out.append(text(left + 6, y + 4, "absent", "tick"))
        out += [mark(s, at(v), y, 4.2, f"{label}, {names.get(s, s)}: {v:.1f}") for s, v in there.items()]
    return _svg(key, title, description, bottom, "".join(out))


def heatmap(
    key: str,
    title: str,
    description: str,
    rows: Sequence[str],
    panels: Sequence[tuple[str, Sequence[str], Sequence[Values]]],
    top: float | None = None,
) -> str:
    """Panels side by side that share their rows: each (name, column names, values[row][column]); darker is more.

    The value sets the opacity of one hue, so the map works on light and dark; the largest is `top`, else the maximum.
    """
    shown = [v for _, _, grid in panels for row in grid for v in row if v is not None]
    most = (max(shown, default=1.0) if top is None else top) or 1.0
    left, head, tall, space = 108.0, 46.0, 17.0, 8.0
    count = sum(len(columns) for _, columns, _ in panels)
    wide = (WIDTH - left - space * (len(panels) - 1) - 2) / max(count, 1)
    out, x = [], left
    for name, columns, grid in panels:
        out.append(text(x + wide * len(columns) / 2, head - 22, name, anchor="middle"))
        for j, column in enumerate(columns):
            out.append(text(x + wide * (j + 0.5), head - 6, column, "tick", "middle"))
            for i, label in enumerate(rows):
                value, y = grid[i][j], head + tall * i
                tip = element(
                    "title", escape(f"{label}, {name}, {column}: {'absent' if value is None else f'{value:.1f}'}")
                )
                shape = {"x": x + wide * j + 0.5, "y": y + 0.5, "width": wide - 1, "height": tall - 1}
                if value is None:
                    out.append(element("rect", tip, **shape, class_="void"))
                else:
                    out.append(
                        element("rect", tip, **shape, class_="heat", fill_opacity=0.04 + 0.96 * min(value / most, 1))
                    )
        x += wide * len(columns) + space
    for i, label in enumerate(rows):
        out.append(text(left - 8, head + tall * i + 13, _fit(label, left - 8), anchor="end"))
    out.append(_key(most))
    return _svg(key, title, description, head + tall * len(rows) + 2, "".join(out))


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
        out.append(text(left - 8, y + 14, _fit(label, left - 8), anchor="end"))
        if value is not None:
            low, high = sorted((at(0), at(value)))
            out.append(element("rect", x=low, y=y, width=high - low, height=18, class_=f"fill {fill}"))
            if error:
                a, b = at(value - error), at(value + error)
                out.append(element("line", x1=a, y1=y + 9, x2=b, y2=y + 9, class_="error"))
        words = "-" if value is None else f"{value:.1f}" + ("" if error is None else f" ±{error:.1f}")
        out.append(text(WIDTH - right + 8, y + 14, words, "value"))
    return _svg(key, title, description, bottom + 20, "".join(out))


def stacked(
    key: str,
    title: str,
    description: str,
    positions: Sequence[str],
    parts: Sequence[Series],
    x_label: str = "stage",
) -> str:
    """One column a position, from 0 to 100, filled from below by the parts' values; values below zero are not drawn."""
    left, right, top, tall = 38.0, 14.0, 30.0, 150.0
    base, step = top + tall, (WIDTH - 38.0 - 14.0) / max(len(positions), 1)
    at = lambda v: base - tall * v / 100  # noqa: E731
    out = [_legend([(s.stream, s.name) for s in parts], 10)]
    for tick in (0, 25, 50, 75, 100):
        kind = "grid" if tick else "axis"
        out.append(element("line", x1=left, y1=at(tick), x2=WIDTH - right, y2=at(tick), class_=kind))
        out.append(text(left - 6, at(tick) + 4, tick, "tick", "end"))
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
    out.append(text((left + WIDTH - right) / 2, base + 31, x_label, "tick", "middle"))
    return _svg(key, title, description, base + 38, "".join(out))


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
        out.append(text(x0, y0 - 7, _fit(panel.name, wide), "value"))
        for tick in ticks:
            kind = "grid" if tick != ticks[0] else "axis"
            out.append(element("line", x1=x0, y1=at(tick), x2=x0 + wide, y2=at(tick), class_=kind))
            out.append(text(x0 - 4, at(tick) + 4, f"{tick:g}", "tick", "end"))
        count = max(len(panel.positions) - 1, 1)
        xs = [x0 + 6 + (wide - 12) * j / count for j in range(len(panel.positions))]
        every = 1 + int(max(map(len, panel.positions), default=0) * 6.4 > (wide - 12) / count)
        for x, name in list(zip(xs, panel.positions, strict=True))[::every]:
            out.append(text(x, base + 13, _fit(name, every * (wide - 12) / count, 6.0), "tick", "middle"))
        points = [(x, v, e) for x, v, e in zip(xs, panel.values, panel.errors, strict=True) if v is not None]
        for (x1, v1, _), (x2, v2, _) in itertools.pairwise(points):
            out.append(element("line", x1=x1, y1=at(v1), x2=x2, y2=at(v2), class_=f"stroke {panel.stream}"))
        for x, v, e in points:
            if e:
                out.append(element("line", x1=x, y1=at(v - 2 * e), x2=x, y2=at(v + 2 * e), class_="error"))
            out.append(mark(panel.stream, x, at(v), 3.4, f"{panel.name}: {v:.1f}"))
    rows = -(-len(panels) // 2)
    return _svg(key, title, description, rows * (head + tall + foot) + 2, "".join(out))
