"""The colours of the page's style sheet, whose rules are in `page.css`.

Colours are variables with a light and a dark value that colour-blind readers can tell apart: orange, blue and green of
Okabe and Ito's set, darkened or lightened to a contrast of at least 3:1 with the background; texts have at least 4.5:1.
"""

from __future__ import annotations

import re
from importlib.resources import files

from fusionzoo.report.shapes import escape

__all__ = ["DARK", "LIGHT", "alone", "sheet"]

LIGHT = {
    "back": "#ffffff", "panel": "#f4f5f7", "ink": "#1a1c20", "faint": "#55595f", "line": "#d5d8dd",
    "rgb": "#c24a00", "x": "#0066aa", "fused": "#00795a", "both": "#3d4148", "heat": "#00497a",
    "good": "#00693f", "bad": "#b3001b", "band": "#c9ccd2", "track": "#e8eaee",
}  # fmt: skip
DARK = {
    "back": "#14161a", "panel": "#1e2126", "ink": "#eceef1", "faint": "#aab0b8", "line": "#3a3f47",
    "rgb": "#ff9a4d", "x": "#63b8f5", "fused": "#35c796", "both": "#c2c7cf", "heat": "#8fd0ff",
    "good": "#4fd196", "bad": "#ff8080", "band": "#454b54", "track": "#2b2f36",
}  # fmt: skip


def _variables(colours: dict[str, str]) -> str:
    return ":root{" + "".join(f"--{name}:{value};" for name, value in colours.items()) + "}"


def sheet() -> str:
    """The whole style sheet: light by default, dark when the reader's system asks for it."""
    return (
        ":root{color-scheme:light dark}"
        + _variables(LIGHT)
        + "@media(prefers-color-scheme:dark){"
        + _variables(DARK)
        + "}"
        + (files("fusionzoo.report") / "page.css").read_text(encoding="utf-8")
    )


def alone(drawing: str, heading: str = "") -> str:
    """An inline drawing as a file of its own: with the style sheet and a background, and with `heading` above it."""
    head, _, content = drawing.partition(">")
    if heading:
        head = re.sub(r'viewBox="0 0 (\d+) (\d+)"', lambda m: f'viewBox="0 0 {m[1]} {int(m[2]) + 24}"', head)
        above = f'<text x="4" y="14" class="value">{escape(heading)}</text>'
        content = f'{above}<g transform="translate(0 24)">{content.removesuffix("</svg>")}</g></svg>'
    back = '<rect width="100%" height="100%" style="fill:var(--back)"/>'
    return f"{head}><style>{sheet()}svg{{font-family:system-ui,sans-serif}}</style>{back}{content}\n"
