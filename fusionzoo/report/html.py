"""Dissection -> one HTML page that stands alone: no script, nothing external, inline SVG, light and dark, any width.

A content security policy in the page forbids every load, so nothing in a foreign checkpoint's names can cause one.
Behind every plot lies a table with its numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fusionzoo.report import cooperation, effects, style, svg, tables
from fusionzoo.report.svg import Series, element, escape
from fusionzoo.report.tables import Table

__all__ = ["document", "figure", "html", "html_table", "section"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STREAMS = tables.STREAMS
FIRST = 8
"""So many findings stand open at the top, with every warning and failure; the others are a click away."""


def html(
    dissection: Any,
    verification: Any = None,
    findings: Iterable[Any] = (),
    *,
    ok: bool | None = None,
    name: str = "",
) -> str:
    """The page as text. Arguments as of `fusionzoo.report.terminal`."""
    d = None if dissection is None else tables.as_dict(dissection)
    drawn, sentence = tables.verdict(d, verification)
    title = tables.clean(name) if d is None else tables.heading(d)
    body = [_head(d, title, sentence, drawn if ok is None else ok, findings)]
    if d is None:
        body.append(section("File checks", html_table(tables.verification(verification), caption=False)))
    else:
        body += _evidence(d, verification)
    return document(title, body)


def document(title: str, body: Iterable[str]) -> str:
    """A whole page around the parts of its body."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)} - fusionzoo</title>\n<style>{style.sheet()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in body if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _evidence(d: Mapping[str, Any], verification: Any) -> list[str]:
    return [
        '<div class="columns">',
        _segmentation(d),
        _contribution(d),
        _trace(d),
        _sharing(d),
        _similarity(d),
        _variance(d),
        _streams(d),
        _agreement(d),
        _planted(d),
        _map(d),
        _robustness(d),
        "</div>",
        _health(d),
        _facts(d, verification),
    ]


def html_table(table: Table, caption: bool = True) -> str:
    """A table in a box that scrolls sideways by itself, so that the page never does."""
    side = [None if a == "<" else "n" for a in table.align]
    head = "".join(element("th", escape(c), scope="col", class_=s) for c, s in zip(table.columns, side, strict=True))
    rows = []
    for row in table.rows:
        first = element("th", escape(row[0]), scope="row", class_=side[0])
        rest = (element("td", escape(c), class_=s) for c, s in zip(row[1:], side[1:], strict=True))
        rows.append(element("tr", first + "".join(rest)))
    title = element("caption", escape(table.title)) if caption else ""
    content = title + element("thead", element("tr", head)) + element("tbody", "".join(rows))
    kind = "text" if set(table.align) == {"<"} else None
    return element(
        "div",
        element("table", content, class_=kind),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label=table.title,
    )


def section(title: str, *content: str) -> str:
    """A titled box of the page; `content` is markup."""
    return element("section", element("h2", escape(title)) + "".join(content))


def figure(drawing: str, caption: str, table: Table) -> str:
    """A drawing with its caption and, behind a fold, its numbers."""
    behind = element("summary", "Numbers") + html_table(table) + (_note(table.note) if table.note else "")
    return element("figure", drawing + element("figcaption", escape(caption))) + element("details", behind)


def _note(words: str) -> str:
    return element("p", escape(words), class_="note")


def _head(d: Mapping[str, Any] | None, title: str, sentence: str, good: bool, findings: Iterable[Any]) -> str:
    word = element("b", "OK" if good else "FAILED")
    mark = {"warn": "look at this: ", "fail": "failed: "}
    said = tables.said(findings)
    first = [row for i, row in enumerate(said) if i < FIRST or row[0] in mark]
    more = [row for i, row in enumerate(said) if i >= FIRST and row[0] not in mark]
    if len(more) < 3:  # not worth a fold
        first, more = said, []

    def bullets(rows: Iterable[tuple[str, str]]) -> str:
        items = (
            element("li", (element("b", mark[level]) if level in mark else "") + escape(text), class_=level)
            for level, text in rows
        )
        return element("ul", "".join(items), class_="findings")

    folded = element("details", element("summary", f"{len(more)} more findings") + bullets(more)) if more else ""
    where = "" if d is None else f" on {d['data']['name']}, {d['data']['split']} split, {d['data']['n']} images"
    return element(
        "header",
        element("p", escape(tables.clean(f"fusionzoo check{where}")), class_="kicker")
        + element("h1", escape(title if d is None else tables.clean(d["model"]["name"])))
        + element("p", f"{word}: {escape(sentence)}", class_="verdict good" if good else "verdict bad")
        + (bullets(first) if first else "")
        + folded,
    )


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _segmentation(d: Mapping[str, Any]) -> str:
    x = tables.x_name(d)
    parts = (
        ("both", "both", "both"),
        ("no_rgb", f"without rgb ({x} only)", "x"),
        ("no_x", f"without {x} (rgb only)", "rgb"),
    )
    rows, said = [], []
    for key, label, fill in (*parts, ("none", "without either", "band")):
        if d["segmentation"].get(key) is not None:
            value = _hundred(d["segmentation"][key].get("miou"))
            rows.append((label.split(" (")[0], value, fill))
            said.append(f"{label} {tables.points(None if value is None else value / 100)}")
    table = tables.segmentation(d)
    drawing = svg.bars(
        "seg", "mIoU with both modalities and without either", "mIoU in points: " + ", ".join(said), rows
    )
    caption = "In points; the colour of a bar says which modality is left."
    return section("Segmentation: mIoU", figure(drawing, caption, table))


def _contribution(d: Mapping[str, Any]) -> str:
    table, made = cooperation.contribution(d), d.get("contribution")
    if table is None or not made:
        return ""
    x = tables.x_name(d)
    named = (("rgb", "rgb", made["shapley"].get("rgb")), (x, "x", made["shapley"].get("x")))
    rows = [
        (label, _hundred((e or {}).get("miou")), _hundred((e or {}).get("miou_error")), fill)
        for label, fill, e in (*named, ("interaction", "both", made["interaction"]))
    ]
    said = ", ".join(f"{label} {tables.number(value, 1)}" for label, value, _, _ in rows)
    drawing = svg.signed("contribution", "What each modality gives to the mIoU", f"In points: {said}.", rows)
    caption = "Shapley values in points with standard errors; interaction above 0: synergy, below 0: redundancy."
    return section("Contribution of each modality", figure(drawing, caption, table), _class_contribution(d, made))


def _class_contribution(d: Mapping[str, Any], made: Mapping[str, Any]) -> str:
    """Behind a fold: Shapley values, interaction and perceptual score of every class."""
    parts = {"rgb": made["shapley"].get("rgb"), tables.x_name(d): made["shapley"].get("x")}
    parts["interaction"] = made["interaction"]
    rows = []
    for k, name in enumerate(d["data"]["class_names"]):
        cells = [tables.with_error(e["iou"][k], e["iou_error"][k]) if e else "-" for e in parts.values()]
        rows.append((tables.clean(name), *cells))
    table = Table("Contribution to each class", ("class", *parts), tuple(rows), "<>>>", "Points of the class's IoU.")
    return element("details", element("summary", "Classes") + html_table(table) + _note(table.note))


def _sharing(d: Mapping[str, Any]) -> str:
    table = cooperation.sharing(d)
    levels = [level for level in d["levels"] if (level.get("commonality") or {}).get("pix")]
    if table is None or not levels:
        return ""
    other = f"{tables.x_name(d)} alone"
    names = (("unique_rgb", "rgb alone", "rgb"), ("redundant", "shared", "fused"), ("unique_x", other, "x"))
    parts = [
        Series(name, stream, [_hundred(level["commonality"]["pix"][key].get("value")) for level in levels])
        for key, name, stream in names
    ]
    positions = [str(level["level"]) for level in levels]
    title = "What the fused features take from each modality"
    drawing = svg.stacked("shares", title, "In percent; " + _said(positions, parts, 1), positions, parts)
    caption = "Percent of their variance that linear maps explain; the rest is new or not linear."
    return section(title, figure(drawing, caption, table))


def _agreement(d: Mapping[str, Any]) -> str:
    """How many concepts are consistent and specific at each level; their names behind a fold."""
    levels = [level for level in d["levels"] if level.get("agreement")]
    if not levels:
        return ""
    x = tables.x_name(d)
    names = (("consistent", "consistent", "fused"), ("rgb", "only rgb", "rgb"), ("x", f"only {x}", "x"))
    series = [
        Series(name, stream, [float(len(level["agreement"][k])) for level in levels]) for k, name, stream in names
    ]
    positions = [str(level["level"]) for level in levels]
    title = "Consistent and specific concepts"
    drawing = svg.lines("agreement", title, _said(positions, series, 0), positions, series)
    rows = []
    for level in levels:
        for k, name, _ in (
            *names,
            ("undecided", "undecided", ""),
            ("gained", "fusion gains", ""),
            ("lost", "loses", ""),
        ):
            listed = ", ".join(tables.clean(c) for c in level["agreement"].get(k) or [])
            rows += [(str(level["level"]), name, listed)] if listed else []
    table = Table("Concepts by level", ("level", "kind", "concepts"), tuple(rows), "<<<")
    caption = "Number of concepts that both streams encode alike, or one of them; differences beyond error and noise."
    return section(title, figure(drawing, caption, table))


def _trace(d: Mapping[str, Any]) -> str:
    table, drawing = effects.trace(d), effects.trace_plot(d)
    if table is None or not drawing:
        return ""
    drawn = figure(drawing, "Points of mIoU lost when a level is ablated; darker rests on it more.", table)
    found = effects.class_map(d)
    folded = ""
    if found is not None:
        plot, classes = found
        content = element("figure", plot) + html_table(classes) + _note(classes.note)
        folded = element("details", element("summary", "Classes over levels") + content)
    return section("What the prediction rests on", drawn, folded)


def _robustness(d: Mapping[str, Any]) -> str:
    table, drawing = effects.robustness(d), effects.robustness_plot(d)
    if table is None or not drawing:
        return ""
    drawn = figure(drawing, "mIoU in points against severity; thin lines: two standard errors.", table)
    failing = effects.failures(d)
    more = "" if failing is None else element("details", element("summary", failing.title) + html_table(failing))
    return section("Robustness", drawn, more)


def _positions(d: Mapping[str, Any]) -> list[str]:
    return [str(level["level"]) for level in d["levels"]]


def _said(positions: Iterable[str], series: Iterable[Series], digits: int) -> str:
    """The values of a line chart in words, for a reader who does not see it."""
    rows = []
    for s in series:
        values = ", ".join(f"{p}: {tables.number(v, digits)}" for p, v in zip(positions, s.values, strict=True))
        rows.append(f"{s.name} at level {values}")
    return "; ".join(rows)


def _similarity(d: Mapping[str, Any]) -> str:
    views = {}
    for view in ("gap", "pix"):
        values = [(((level.get("cka") or {}).get(view)) or {}).get("unbiased") for level in d["levels"]]
        if any(v is not None for v in values):
            views[view] = values
    if not views:
        return ""
    x = tables.x_name(d)
    names = {"gap": ("pooled (gap)", "both"), "pix": ("pixels (pix)", "fused")}
    series = [Series(names[view][0], names[view][1], values) for view, values in views.items()]
    table = tables.levels(d)
    title = f"Similarity of the rgb and the {x} stream (CKA)"
    drawing = svg.lines("cka", title, _said(_positions(d), series, 2), _positions(d), series, high=1.0)
    caption = "Unbiased linear CKA per level: 1 is the same up to rotation and scale, 0 is unrelated."
    return section(title, figure(drawing, caption, table))


def _variance(d: Mapping[str, Any]) -> str:
    x = tables.x_name(d)
    pairs = (("rgb_x", f"rgb-{x}", "both"), ("rgb_fused", "rgb-fused", "rgb"), ("x_fused", f"{x}-fused", "x"))
    series = []
    for key, name, stream in pairs:
        values = [
            _hundred(((level.get("semantic_variance") or {}).get(key) or {}).get("value")) for level in d["levels"]
        ]
        if any(v is not None for v in values):
            series.append(Series(name, stream, values))
    if not series:
        return ""
    entries = [(level.get("semantic_variance") or {}) for level in d["levels"]]
    floor = [_hundred((e.get("rgb_x") or next(iter(e.values()), None) or {}).get("floor")) for e in entries]
    known = any(f is not None for f in floor)
    drawing = svg.lines(
        "sv",
        "Semantic variance per level",
        "In points; " + _said(_positions(d), [*series, *([Series("noise floor", "band", floor)] if known else [])], 1),
        _positions(d),
        series,
        floor=floor if known else None,
    )
    caption = "How much the concept IoUs of two streams differ, in points; higher is more different."
    if known:
        caption += f" Grey: noise floor of rgb-{x}; a value in the grey is no difference."
    return section("Semantic variance", figure(drawing, caption, tables.levels(d)))


def _rows_at(d: Mapping[str, Any], level: Mapping[str, Any]) -> list[tuple[str, dict[str, float | None]]]:
    iou = level.get("concept_iou") or {}
    return [
        (tables.clean(name), {s: _hundred(iou[s][k]) for s in STREAMS if s in iou})
        for k, name in enumerate(tables.concept_names(d))
    ]


def _streams(d: Mapping[str, Any]) -> str:
    best = tables.best_level(d)
    if best is None:
        return ""
    x = tables.x_name(d)
    names = {s: n for s, n in (("rgb", "rgb"), ("x", x), ("fused", "fused")) if s in best["concept_iou"]}
    rows = _rows_at(d, best)
    title = f"Which stream encodes what: level {best['level']}"
    spoken = "; ".join(
        f"{label}: " + ", ".join(f"{names[s]} {tables.number(v, 1)}" for s, v in row.items()) for label, row in rows
    )
    drawing = svg.dumbbell("streams", title, f"Concept set IoU in points. {spoken}", rows, names)
    caption = "Concept set IoU of each stream's features, in points, at the level with the highest mean."
    return section(title, figure(drawing, caption, tables.concepts(d, best)))


def _map(d: Mapping[str, Any]) -> str:
    there = [s for s in STREAMS if any(s in (level.get("concept_iou") or {}) for level in d["levels"])]
    if not there:
        return ""
    names = [tables.clean(n) for n in tables.concept_names(d)]
    label = {"rgb": "rgb", "x": tables.x_name(d), "fused": "fused"}
    panels, rows = [], [[name] for name in names]
    for s in there:
        chosen = [level for level in d["levels"] if s in (level.get("concept_iou") or {})]
        grid = [[_hundred(level["concept_iou"][s][k]) for level in chosen] for k in range(len(names))]
        panels.append((label[s], [str(level["level"]) for level in chosen], grid))
        for k, values in enumerate(grid):
            rows[k] += [tables.points(None if v is None else v / 100) for v in values]
    columns = ["concept", *(f"{name} {c}" for name, cs, _ in panels for c in cs)]
    table = Table(
        "Concept set IoU by stream and level", tuple(columns), tuple(map(tuple, rows)), "<" + ">" * (len(columns) - 1),
        "Points; column names give stream and level.",
    )  # fmt: skip
    drawing = svg.heatmap("map", table.title, "The table below holds every value.", names, panels)
    return section("Concepts over levels", figure(drawing, "Concept set IoU in points; columns are levels.", table))


def _planted(d: Mapping[str, Any]) -> str:
    table = tables.planted(d)
    if table is None:
        return ""
    return section("Planted truth", html_table(table, caption=False), _note(table.note))


def _health(d: Mapping[str, Any]) -> str:
    flagged, every = tables.probes(d, only_flagged=True), tables.probes(d)
    shown = html_table(flagged, caption=False) if flagged.rows else ""
    rest = element("details", element("summary", f"All {len(every.rows)} probe points") + html_table(every))
    return section("Dead and saturated probes", _note(every.note), shown, rest if every.rows else "")


def _facts(d: Mapping[str, Any], verification: Any) -> str:
    files = tables.verification(verification)
    return section(
        "How this was made", html_table(tables.others(d), caption=False), html_table(files) if files.rows else ""
    )
