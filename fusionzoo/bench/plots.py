"""Plots of a benchmark as inline SVG: intervals over rows and panels, accuracy against cost with the Pareto front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from fusionzoo.report.shapes import WIDTH, drawing, element, escape, fit, legend, mark, nice_ticks, posts, rulers, text

__all__ = ["Interval", "Point", "forest", "intervals", "pareto", "scatter"]

Interval = tuple[str, float, float, float, str]
"""Label, value, low, high, class of the sign ("rgb", "x", "fused" or "both")."""
Point = tuple[str, float, float]
"""Label, cost, score."""
Box = tuple[float, float, float, float]
Place = tuple[int, int, str]

_STEP = 17
_PLACES = ((6, -4, "start"), (6, 11, "start"), (-6, -4, "end"), (-6, 11, "end"), (0, -8, "middle"), (0, 16, "middle"))
_FRONT = ((-5, -6, "end"), (0, -9, "middle"), *_PLACES)  # up and left of a front nothing stands


def intervals(
    key: str,
    title: str,
    description: str,
    rows: Sequence[Interval],
    zero: bool = False,
    *,
    signs: Sequence[tuple[str, str]] = (),
    spec: str = "",
    window: tuple[float, float] | None = None,
) -> str:
    """One row a label: a sign at its value on a line from low to high.

    Args:
        zero: draw a line at 0, and see to it that it is in sight.
        signs: (class, name) of the signs, for a legend above.
        spec: format in which the value stands at the end of its row; "": it does not.
        window: the axis reaches no further than these ends; a value beyond is an arrow at the edge.
    """
    ends = [v for _, value, low, high, _ in rows for v in (value, low, high)] + ([0.0] if zero else [])
    if window is not None:
        ends = [v for v in ends if window[0] <= v <= window[1]]
    ticks = nice_ticks(min(ends, default=0.0), max(ends, default=1.0))
    left, right, head = _margin([row[0] for row in rows]), 46.0 if spec else 14.0, 42 if signs else 22
    span, bottom = WIDTH - left - right, head + _STEP * len(rows)
    inside = lambda v: min(max(v, ticks[0]), ticks[-1])  # noqa: E731
    at = lambda v: left + span * (inside(v) - ticks[0]) / (ticks[-1] - ticks[0])  # noqa: E731
    out = [legend(signs, 8)] if signs else []
    out += posts(ticks, at, head - 6, bottom, axis=0.0 if zero else None)
    for i, (label, value, low, high, sign) in enumerate(rows):
        y = head + _STEP * i + 6.0
        out.append(text(left - 8, y + 4, fit(label, left - 8, 6.0), anchor="end"))
        out.append(element("line", x1=at(low), y1=y, x2=at(high), y2=y, class_="link"))
        hint = f"{label}: {value:.2f} ({low:.2f} to {high:.2f})"
        if inside(value) == value:
            out.append(mark(sign, at(value), y, 3.8, hint))
        else:
            side = -8.0 if value < ticks[0] else 8.0
            shape = f"M{at(value):.1f} {y:.1f}l{-side:.1f} -5v10z"
            out.append(element("path", element("title", escape(hint)), d=shape, class_=f"mark {sign}"))
        if spec:
            out.append(text(WIDTH - 2, y + 4, format(value, spec), "tick", "end"))
    return drawing(key, title, description, bottom + 4, "".join(out))


def forest(
    key: str,
    title: str,
    description: str,
    labels: Sequence[str],
    panels: Sequence[tuple[str, Sequence[tuple[float, float, float] | None]]],
) -> str:
    """Panels side by side that share their rows: correlations in [-1, 1] with their intervals.

    A diamond has an interval without 0, a triangle one with it.

    Args:
        panels: (name, a value, low and high for each label; None: not there).
    """
    left, room, head = _margin(labels), 20.0, 56
    wide = (WIDTH - left - 6 - room * (len(panels) - 1)) / max(len(panels), 1)
    bottom = head + _STEP * len(labels)
    out = [legend((("fused", "interval without 0"), ("both", "with 0")), 8)]
    for i, label in enumerate(labels):
        out.append(text(left - 8, head + _STEP * i + 10, fit(label, left - 8, 6.0), anchor="end"))
    for j, (name, cells) in enumerate(panels):
        start = left + j * (wide + room)
        at = lambda v, start=start: start + wide * (v + 1) / 2  # noqa: E731
        out.append(text(start + wide / 2, 32, name, "", "middle"))
        out += posts((-1, 0, 1), at, head - 6, bottom)
        for i, cell in enumerate(cells):
            y = head + _STEP * i + 6.0
            if cell is None:
                continue
            value, low, high = cell
            out.append(element("line", x1=at(low), y1=y, x2=at(high), y2=y, class_="link"))
            hint = f"{labels[i]}, {name}: {value:+.2f} ({low:+.2f} to {high:+.2f})"
            out.append(mark("fused" if low > 0 or high < 0 else "both", at(value), y, 3.8, hint))
    return drawing(key, title, description, bottom + 4, "".join(out))


def _margin(labels: Sequence[str]) -> float:
    """Room for labels before a chart."""
    return min(max(16 + 6.0 * max(map(len, labels), default=0), 60.0), 190.0)


def pareto(points: Sequence[Point]) -> list[str]:
    """Labels of those that no other beats in score at the same cost or less, cheapest first.

    >>> pareto([("a", 1, 0.5), ("b", 2, 0.4), ("c", 3, 0.6)])
    ['a', 'c']
    """
    front: list[str] = []
    best = -math.inf
    for label, _, score in sorted(points, key=lambda p: (p[1], -p[2])):
        if score > best:
            front.append(label)
            best = score
    return front


def scatter(
    key: str,
    title: str,
    description: str,
    points: Sequence[Point],
    x_label: str,
    *,
    y_label: str = "mIoU",
    gain: bool = False,
    floor: float | None = None,
    spans: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """Score over cost, the Pareto front named and joined; the others are named where there is room, and on pointing.

    Args:
        points: (label, cost > 0, score).
        gain: the second number is no cost, on a logarithmic axis, but a gain, on a linear one.
        floor: a lower score stands at the lower end of the axis, pointing down, its number beside its name.
        spans: label -> least and largest score of its seeds, a thin line.
    """
    front = pareto([(label, -v if gain else v, score) for label, v, score in points])
    place = (lambda v: v) if gain else math.log10
    ranges = {label: (spans or {}).get(label, (score, score)) for label, _, score in points}
    places, scores = [place(p[1]) for p in points], [v for span in ranges.values() for v in span]
    low, high = min(places), max(places)
    room = high - low or 0.2
    low, high = low - 0.2 * room, high + 0.2 * room  # room for names
    ticks = nice_ticks(min(v for v in scores if floor is None or v >= floor), max(scores))
    left, right, top, tall = 36.0, 10.0, 22.0, 190.0
    base = top + tall
    across = lambda v: left + (WIDTH - left - right) * (place(v) - low) / (high - low)  # noqa: E731
    up = lambda v: base - tall * (max(v, ticks[0]) - ticks[0]) / (ticks[-1] - ticks[0])  # noqa: E731
    out = [text(2, 10, y_label, "tick"), *rulers(ticks, up, left, WIDTH - right, "g", gap=5, axis=ticks[0])]
    for value in _marks(low, high, gain):
        out.append(element("line", x1=across(value), y1=base, x2=across(value), y2=base + 4, class_="axis"))
        out.append(text(across(value), base + 16, _short(value), "tick", "middle"))
    out.append(text((left + WIDTH - right) / 2, base + 31, x_label, "tick", "middle"))
    there = {label: (across(cost), up(score)) for label, cost, score in points}
    taken = [(0.0, up(t) - 6, left - 4, up(t) + 6) for t in ticks]
    taken += [(x - 4, y - 4, x + 4, y + 4) for x, y in there.values()]
    for a, b in itertools.pairwise(front):
        (x1, y1), (x2, y2) = there[a], there[b]
        out.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="link"))
        steps = [(x1 + (x2 - x1) * i / 20, y1 + (y2 - y1) * i / 20) for i in range(21)]
        taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in steps]
    for label, (least, most) in ranges.items():
        x = there[label][0]
        out.append(element("line", x1=x, y1=up(least), x2=x, y2=up(most), class_="axis"))
    for label, cost, score in sorted(points, key=lambda p: p[0] in front):
        x, y = there[label]
        hint = f"{label}: {score:.2f} at {cost:.4g}"
        if score < ticks[0]:
            shape = f"M{x:.1f} {y:.1f}l-5 -8h10z"
            out.append(element("path", element("title", escape(hint)), d=shape, class_="mark both"))
        else:
            named = label in front
            out.append(mark("fused" if named else "both", x, y, 4 if named else 3, hint))
    names: list[Box] = []
    said = {label: label if score >= ticks[0] else f"{label} {score:.1f}" for label, _, score in points}
    must = {*front, *(label for label, words in said.items() if words != label)}
    for label, (x, y) in sorted(there.items(), key=lambda item: (item[0] not in must, item[1][1])):
        around = _FRONT if label in front else _PLACES
        found = _free(x, y, said[label], taken, (0.0, 0.0, WIDTH, base), around)
        if found is None and label in must:  # over signs, if need be, but not over another name
            found = _free(x, y, said[label], names, (0.0, 0.0, WIDTH, base), around) or _PLACES[0]
        if found is not None:
            taken.append(_box(x, y, said[label], found))
            names.append(taken[-1])
            out.append(text(x + found[0], y + found[1], said[label], "" if label in front else "tick", found[2]))
    return drawing(key, title, description, base + 38, "".join(out))


def _box(x: float, y: float, words: str, place: Place) -> Box:
    """What `words` at a place beside the point (x, y) cover: left, top, right, bottom."""
    wide = 6.6 * len(words)
    start = x + place[0] - {"start": 0.0, "middle": wide / 2, "end": wide}[place[2]]
    return start, y + place[1] - 9, start + wide, y + place[1] + 2


def _free(x: float, y: float, words: str, taken: Sequence[Box], edge: Box, places: Sequence[Place]) -> Place | None:
    """The first place beside a point where its name covers nothing that is taken and stays within `edge`."""
    for place in places:
        a, b, c, d = _box(x, y, words, place)
        within = a >= edge[0] and b >= edge[1] and c <= edge[2] and d <= edge[3]
        if within and all(c <= box[0] or box[2] <= a or d <= box[1] or box[3] <= b for box in taken):
            return place
    return None


def _marks(low: float, high: float, linear: bool) -> list[float]:
    """Round values between the ends of the axis; on a logarithmic one (ends are exponents) 1, 2 and 5 times 10^n."""
    first, last = (low, high) if linear else (10**low, 10**high)
    if not linear:
        found = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
        kept = [v for v in found if first <= v <= last]
        if len(kept) >= 3:
            return kept if len(kept) <= 7 else kept[::3]
    return [v for v in nice_ticks(first, last) if first <= v <= last]


def _short(value: float) -> str:
    """A tick's number.

    >>> _short(2e6), _short(1500.0), _short(0.25)
    ('2M', '1.5k', '0.25')
    """
    for size, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{sign}"
    return f"{value:g}"
