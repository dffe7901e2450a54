"""The page's style sheet.

Colours are variables with a light and a dark value that colour-blind readers can tell apart: orange, blue and green of
Okabe and Ito's set, darkened or lightened to a contrast of at least 3:1 with the background; texts have at least 4.5:1.
"""

from __future__ import annotations

__all__ = ["DARK", "LIGHT", "sheet"]

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

_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;overflow-wrap:anywhere;
 -webkit-text-size-adjust:100%}
main{max-width:1120px;margin:0 auto;padding:20px 15px 48px}
h1{font-size:1.35rem;line-height:1.25;margin:0 0 4px}
h2{font-size:1.1rem;margin:0 0 4px}
p{margin:4px 0}
.kicker,.note{color:var(--faint);font-size:.88rem}
.verdict{font-weight:600;margin:12px 0;padding:8px 12px;border-left:5px solid;background:var(--panel)}
.verdict.good{border-color:var(--good)}.verdict.good b{color:var(--good)}
.verdict.bad{border-color:var(--bad)}.verdict.bad b{color:var(--bad)}
ul.findings{padding-left:20px;margin:8px 0}
ul.findings li{margin:5px 0}
li.fail b{color:var(--bad)}
section{background:var(--panel);border-radius:8px;padding:14px;min-width:0;margin:0 0 16px;break-inside:avoid}
.columns{margin-top:16px}
@media(min-width:860px){.columns{columns:2;column-gap:16px}}
@media(max-width:480px){main{padding:14px 8px 40px}section{padding:10px 8px}}
figure{margin:8px 0 4px;max-width:480px}
svg{display:block;width:100%;height:auto;overflow:visible}
figcaption{color:var(--faint);font-size:.88rem;margin-top:4px}
details{margin-top:8px}
summary{cursor:pointer;color:var(--x);padding:6px 0}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
caption{text-align:left;color:var(--faint);padding-bottom:4px}
th,td{padding:4px 8px 4px 0;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap;vertical-align:top}
th{font-weight:600}
tbody th{position:sticky;left:0;background:var(--panel);font-weight:500}
.n{text-align:right}
.text td{white-space:normal}
:focus-visible{outline:3px solid var(--x);outline-offset:2px}
svg text{fill:var(--ink);font-size:11px}
svg .tick{fill:var(--faint)}
svg .value{font-weight:600}
line.grid{stroke:var(--line);stroke-width:1}
line.axis{stroke:var(--faint);stroke-width:1}
line.link{stroke:var(--faint);stroke-width:2}
.band{fill:var(--band);fill-opacity:.55}
.bandedge{stroke:var(--faint);stroke-width:1;stroke-dasharray:2 2}
.track{fill:var(--track)}
.heat{fill:var(--heat)}
.void{fill:none;stroke:var(--line);stroke-width:1;stroke-dasharray:2 2}
.mark{stroke:var(--panel);stroke-width:1}
.fill.rgb,.mark.rgb{fill:var(--rgb)}.fill.x,.mark.x{fill:var(--x)}.fill.fused,.mark.fused{fill:var(--fused)}
.fill.both,.mark.both{fill:var(--both)}.fill.band,.mark.band{fill:var(--band);fill-opacity:1}
line.error{stroke:var(--ink);stroke-width:1.5}
svg .inside{fill:var(--panel);font-weight:600}
.stroke{fill:none;stroke-width:2}
.stroke.rgb{stroke:var(--rgb)}.stroke.x{stroke:var(--x);stroke-dasharray:6 3}
.stroke.fused{stroke:var(--fused);stroke-dasharray:2 3}
.stroke.both{stroke:var(--both)}
"""


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
        + _RULES
    )
