"""What the plots are made of: SVG elements as text, escaped; ticks of an axis, signs and legends of streams.

Colours come from classes (`rgb`, `x`, `fused`, `band`, ...) that the page's style sheet fills. Streams differ by shape
and dash as well as by colour.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence

__all__ = ["WIDTH", "drawing", "element", "escape", "fit", "legend", "mark", "nice_ticks", "posts", "rulers", "text"]

WIDTH = 360
"""Units: on a phone one unit is one pixel."""


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


def fit(words: str, units: float, size: float = 6.2) -> str:
    """Cut to what fits into `units`, at about `size` units a character."""
    room = int(units / size)
    return words if len(words) <= room else words[: max(room - 1, 1)] + "…"


def drawing(key: str, title: str, description: str, height: float, content: str) -> str:
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


def legend(entries: Iterable[tuple[str, str]], y: float, draw_line: bool = False, signs: bool = True) -> str:
    """Signs with names in one row; wraps nothing, so keep names short."""
    out, x = [], 4.0
    for stream, name in entries:
        if draw_line:
            out.append(element("line", x1=x, y1=y, x2=x + 22, y2=y, class_=f"stroke {stream}"))
            out += [mark(stream, x + 11, y, 4)] if signs else []
            x += 27
        else:
            out.append(mark(stream, x + 5, y))
            x += 14
        out.append(text(x, y + 4, name))
        x += 6.3 * len(name) + 14
    return "".join(out)


def posts(
    ticks: Sequence[float],
    at: Callable[[float], float],
    top: float,
    bottom: float,
    *,
    gap: float = 4,
    axis: float | None = 0,
) -> list[str]:
    """The vertical lines of a chart, one a tick at the place `at` gives, its number above it; bold at `axis`."""
    out = []
    for tick in ticks:
        x = at(tick)
        out.append(element("line", x1=x, y1=top, x2=x, y2=bottom, class_="axis" if tick == axis else "grid"))
        out.append(text(x, top - gap, f"{tick:g}", "tick", "middle"))
    return out


def rulers(
    ticks: Sequence[float],
    at: Callable[[float], float],
    left: float,
    right: float,
    spec: str,
    *,
    gap: float = 6,
    axis: float = 0,
) -> list[str]:
    """The horizontal lines of a chart, one a tick at the height `at` gives, its number (`spec`) to the left of it."""
    out = []
    for tick in ticks:
        y = at(tick)
        out.append(element("line", x1=left, y1=y, x2=right, y2=y, class_="axis" if tick == axis else "grid"))
        out.append(text(left - gap, y + 4, format(tick, spec), "tick", "end"))
    return out
