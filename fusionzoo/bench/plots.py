"""Plots of a benchmark as inline SVG: intervals over rows, and accuracy against cost with the Pareto front."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from fusionzoo.report.shapes import WIDTH, drawing, element, mark, nice_ticks, posts, rulers, text

__all__ = ["Interval", "Point", "intervals", "pareto", "scatter"]

Interval = tuple[str, float, float, float, str]
"""Label, value, low, high, class of the sign ("rgb", "x", "fused" or "both")."""
Point = tuple[str, float, float]
"""Label, cost, score."""


def intervals(key: str, title: str, description: str, rows: Sequence[Interval], zero: bool = False) -> str:
    """One row a label: a sign at its value on a line from low to high.

    Args:
        zero: draw a line at 0, and see to it that it is in sight.
    """
    ends = [v for _, value, low, high, _ in rows for v in (value, low, high)] + ([0.0] if zero else [])
    ticks = nice_ticks(min(ends, default=0.0), max(ends, default=1.0))
    left, right, step, head = 132.0, 14.0, 17, 22
    span, bottom = WIDTH - left - right, head + step * len(rows)
    at = lambda v: left + span * (v - ticks[0]) / (ticks[-1] - ticks[0])  # noqa: E731
    out = posts(ticks, at, head - 6, bottom, axis=0.0 if zero else None)
    for i, (label, value, low, high, sign) in enumerate(rows):
        y = head + step * i + 6
        words = label if len(label) <= 20 else label[:19] + "…"
        out.append(text(left - 8, y + 4, words, anchor="end"))
        out.append(element("line", x1=at(low), y1=y, x2=at(high), y2=y, class_="link"))
        out.append(mark(sign, at(value), y, 3.8, f"{label}: {value:.2f} ({low:.2f} to {high:.2f})"))
    return drawing(key, title, description, bottom + 4, "".join(out))


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
    key: str, title: str, description: str, points: Sequence[Point], x_label: str, *, gain: bool = False
) -> str:
    """Score over cost, the Pareto front named and joined; the others tell on pointing.

    Args:
        points: (label, cost > 0, score).
        gain: the second number is no cost, on a logarithmic axis, but a gain, on a linear one.
    """
    front = pareto([(label, -v if gain else v, score) for label, v, score in points])
    place = (lambda v: v) if gain else math.log10
    places, scores = [place(p[1]) for p in points], [p[2] for p in points]
    low, high = min(places), max(places)
    room = high - low or 0.2
    low, high = low - 0.05 * room, high + 0.3 * room  # room for names
    ticks = nice_ticks(min(scores), max(scores))
    left, right, top, tall = 36.0, 10.0, 14.0, 190.0
    base = top + tall
    across = lambda v: left + (WIDTH - left - right) * (place(v) - low) / (high - low)  # noqa: E731
    up = lambda v: base - tall * (v - ticks[0]) / (ticks[-1] - ticks[0])  # noqa: E731
    out = rulers(ticks, up, left, WIDTH - right, "g", gap=5, axis=ticks[0])
    for value in _marks(low, high, gain):
        out.append(element("line", x1=across(value), y1=base, x2=across(value), y2=base + 4, class_="axis"))
        out.append(text(across(value), base + 16, _short(value), "tick", "middle"))
    out.append(text((left + WIDTH - right) / 2, base + 31, x_label, "tick", "middle"))
    there = {label: (across(cost), up(score)) for label, cost, score in points}
    for a, b in itertools.pairwise(front):
        (x1, y1), (x2, y2) = there[a], there[b]
        out.append(element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_="link"))
    for label, cost, score in points:
        x, y = there[label]
        named = label in front
        out.append(mark("fused" if named else "both", x, y, 4 if named else 3, f"{label}: {score:.2f} at {cost:.4g}"))
        if named:
            out.append(text(x + 6, y - 4, label))
    return drawing(key, title, description, base + 38, "".join(out))


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
