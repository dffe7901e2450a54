"""A curve over steps as inline SVG, for more points than signs fit; what the page of a training run draws."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fusionzoo.report.shapes import WIDTH, drawing, element, legend, nice_ticks, rulers, text
from fusionzoo.report.svg import Series

__all__ = ["POINTS", "curve", "thinned"]

POINTS = 240
"""Points of a curve at most; each is the mean of its neighbours."""
LEFT, RIGHT, TOP, TALL = 44.0, 12.0, 30.0, 150.0


def thinned(values: Sequence[float | None], count: int = POINTS) -> list[tuple[float, float]]:
    """(position, value) pairs of a curve, positions from 1: means over equal stretches where there are many.

    >>> thinned([1.0, 3.0, None, 5.0], 2)
    [(1.5, 2.0), (4.0, 5.0)]
    """
    out = []
    stretch = max(1, math.ceil(len(values) / count))
    for start in range(0, len(values), stretch):
        there = [(i + 1, v) for i, v in enumerate(values[start : start + stretch], start) if v is not None]
        if there:
            out.append((sum(i for i, _ in there) / len(there), sum(v for _, v in there) / len(there)))
    return out


def curve(
    key: str,
    title: str,
    description: str,
    series: Sequence[Series],
    *,
    x_label: str = "step",
    high: float | None = None,
) -> str:
    """Line chart over positions 1..n from zero up; the values of a `Series` are one a position, None leaves it out.

    Args:
        key: of the drawing's ids on the page. title, description: for a reader who does not see it.
        high: fixes the upper end.
    """
    length = max((len(s.values) for s in series), default=1)
    shown = [v for s in series for v in s.values if v is not None]
    top = max(shown, default=1.0) if high is None else high
    ticks = nice_ticks(0.0, top if top > 0 else 1.0)
    base, span = TOP + TALL, WIDTH - LEFT - RIGHT
    at = lambda v: base - TALL * v / ticks[-1]  # noqa: E731
    out = [
        legend([(s.stream, s.name) for s in series], 10, draw_line=True, signs=False),
        *rulers(ticks, at, LEFT, WIDTH - RIGHT, "g"),
    ]
    for tick in (t for t in nice_ticks(0, length) if t <= length):
        out.append(text(LEFT + span * tick / length, base + 16, f"{tick:g}", "tick", "middle"))
    out.append(text(LEFT + span / 2, base + 31, x_label, "tick", "middle"))
    for s in series:
        points = [(LEFT + span * i / length, at(v)) for i, v in thinned(s.values)]
        path = "".join(f"{'L' if k else 'M'}{x:.1f} {y:.1f}" for k, (x, y) in enumerate(points))
        if len(points) == 1:
            path += "h3"
        if path:
            out.append(element("path", d=path, class_=f"stroke {s.stream}"))
    return drawing(key, title, description, base + 38, "".join(out))
