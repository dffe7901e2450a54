"""Causal tracing and robustness of a dissection -> tables and sections of the page. Pure functions, no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionzoo.report import svg
from fusionzoo.report.tables import ABSENT, Table, clean, points, with_error, x_name

__all__ = ["class_map", "curves", "failures", "robustness", "robustness_plot", "tables", "trace", "trace_plot"]

REACH = {"fusion": "alone", "onward": "onward"}
"""What an ablation at a level changes: its fusion block's input alone, or the stream from there on."""


def _part(d: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return (d.get("effects") or {}).get(name)


def tables(d: Mapping[str, Any]) -> list[Table]:
    """All tables of the effects that were measured, for the terminal."""
    return [t for t in (trace(d), robustness(d), failures(d)) if t is not None and t.rows]


def _rows(found: Mapping[str, Any], edit: str = "mean") -> dict[tuple[int, str, str], Mapping[str, Any]]:
    """(level, reach, stream) -> row of one kind of edit; of "restore" only the missing modality's own levels."""
    rows = {}
    for r in found["rows"]:
        own = edit != "restore" or r["stream"] == r["absent"]
        if r["edit"] == edit and r["level"] is not None and own:
            rows[r["level"], r["reach"], r["stream"]] = r
    return rows


def _columns(rows: Mapping[tuple[int, str, str], Any]) -> list[tuple[str, str]]:
    return [(s, reach) for s in ("rgb", "x") for reach in REACH if any(k[1:] == (reach, s) for k in rows)]


def trace(d: Mapping[str, Any]) -> Table | None:
    """mIoU lost by ablating each level of each modality, and what restoring it brings back; None if not traced."""
    found = _part(d, "trace")
    if not found:
        return None
    x, ablated, restored = x_name(d), _rows(found), _rows(found, "restore")
    columns = _columns(ablated)
    back = list({s: (s, reach) for s, reach in reversed(_columns(restored))}.values())[::-1]  # alone where it is there
    body = []
    for level in sorted({k[0] for k in (*ablated, *restored)}):
        cells = [_effect(ablated.get((level, reach, s))) for s, reach in columns]
        share = [(restored.get((level, reach, s)) or {}).get("share") for s, reach in back]
        body.append((str(level), *cells, *(ABSENT if v is None else f"{100 * v:.0f} %" for v in share)))
    named = lambda s: "rgb" if s == "rgb" else x  # noqa: E731
    head = [
        "level",
        *(f"{named(s)} {REACH[r]}" for s, r in columns),
        *(f"{named(s)} back" for s, _ in back),
    ]
    return Table(
        "Causal tracing",
        tuple(head),
        tuple(body),
        "<" + ">" * (len(head) - 1),
        "mIoU lost, in points, when the level is replaced by its mean: for its fusion block alone, or for the stream"
        " from there on. Back: share of what is lost without the modality that the level's clean value brings back.",
    )


def _effect(row: Mapping[str, Any] | None) -> str:
    return ABSENT if row is None else with_error(row["effect"], row["effect_error"])


def trace_plot(d: Mapping[str, Any]) -> str:
    """Heat map over levels; "" if not traced."""
    found = _part(d, "trace")
    rows = _rows(found) if found else {}
    if not found or not rows:
        return ""
    levels = sorted({k[0] for k in rows})
    panels = []
    for s in ("rgb", "x"):
        chosen = [r for r in REACH if any(k[1:] == (r, s) for k in rows)]
        grid = [[_points((rows.get((v, r, s)) or {}).get("effect")) for r in chosen] for v in levels]
        panels.append(("rgb" if s == "rgb" else x_name(d), [REACH[r] for r in chosen], grid))
    said = "mIoU lost in points when a level is ablated; the table below holds every value."
    return svg.heatmap("trace", "What the prediction rests on", said, [f"level {v}" for v in levels], panels)


def _points(value: float | None) -> float | None:
    """Points, nothing below zero: a gain is no loss."""
    return None if value is None else max(0.0, 100 * value)


def class_map(d: Mapping[str, Any]) -> tuple[str, Table] | None:
    """What each class loses by ablating one level's block input: heat map and table; None if not traced."""
    found = _part(d, "trace")
    rows = _rows(found) if found else {}
    reach = next((r for r in REACH if any(k[1] == r for k in rows)), None)
    if not found or reach is None:
        return None
    names = [clean(n) for n in found["setting"]["class_names"]]
    levels = sorted({k[0] for k in rows if k[1] == reach})
    panels = []
    cells: list[list[str]] = [[name] for name in names]
    for s in ("rgb", "x"):
        chosen = [v for v in levels if (v, reach, s) in rows]
        lost = [[rows[v, reach, s]["class_effect"][k] for v in chosen] for k in range(len(names))]
        panels.append(
            ("rgb" if s == "rgb" else x_name(d), list(map(str, chosen)), [list(map(_points, r)) for r in lost])
        )
        for k in range(len(names)):
            errors = [rows[v, reach, s]["class_effect_error"][k] for v in chosen]
            cells[k] += [with_error(v, e) for v, e in zip(lost[k], errors, strict=True)]
    head = ["class", *(f"{name} {c}" for name, columns, _ in panels for c in columns)]
    table = Table(
        "Classes over levels", tuple(head), tuple(map(tuple, cells)), "<" + ">" * (len(head) - 1),
        f"IoU of the class lost, in points, when that level is ablated ({REACH[reach]}).",
    )  # fmt: skip
    return svg.heatmap("classes", table.title, "The table below holds every value.", names, panels), table


def curves(d: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The corruption curves; empty if not measured."""
    return list((_part(d, "robustness") or {}).get("curves") or [])


def robustness(d: Mapping[str, Any]) -> Table | None:
    """One row a corruption; None if not measured."""
    found = curves(d)
    if not found:
        return None
    most = max(len(c["severities"]) for c in found) - 1
    rows = []
    for c in found:
        cells = [f"{s:g}: {points(v)}" for s, v in zip(c["severities"][1:], c["miou"][1:], strict=True)]
        kept = ABSENT if c["kept"] is None else f"{100 * c['kept']:.0f} %"
        rows.append((clean(c["corruption"]), *cells, *[""] * (most - len(cells)), kept))
    clean_miou = points((_part(d, "robustness") or {})["clean"]["miou"])
    units = "; ".join(f"{clean(c['corruption'])}: {clean(c['unit'])}" for c in found)
    return Table(
        "Robustness",
        ("corruption", *["severity: mIoU", *[""] * (most - 1)][:most], "kept"),
        tuple(rows),
        "<" * (most + 1) + ">",
        f"Clean mIoU {clean_miou}. Kept: mean over the severities, of the clean mIoU. Units: {units}.",
    )


def failures(d: Mapping[str, Any]) -> Table | None:
    """The failure protocols; None if not measured."""
    found: Sequence[Mapping[str, Any]] = (_part(d, "robustness") or {}).get("failures") or []
    if not found:
        return None
    x = x_name(d)
    rows = []
    for f in found:
        expected = [with_error(v, e) for v, e in zip(f["expected"], f["expected_error"], strict=True)]
        single = [points(f["conditions"].get(c)) for c in ("rgb", "x", "both")]
        rows.append((clean(f["name"]), *single, with_error(f["average"], f["average_error"]), *expected))
    head = ("protocol", "rgb", x, "both", "average", *(f"p={p:g}" for p in found[0]["probability"]))
    return Table(
        "Failing modalities",
        head,
        tuple(rows),
        "<" + ">" * (len(head) - 1),
        "mIoU with that modality failing: missing (EMM), missing in random regions (RMM), noisy (NM); average over the"
        " failures; expectation when each fails by itself with probability p.",
    )


def robustness_plot(d: Mapping[str, Any]) -> str:
    """Small charts side by side, one a corruption; "" if not measured."""
    panels = []
    for c in curves(d):
        values = [None if v is None else 100 * v for v in c["miou"]]
        errors = [None if e is None else 100 * e for e in c["miou_error"]]
        stream = c["modality"] if c["modality"] in ("rgb", "x") else "both"
        panels.append(svg.Panel(clean(c["corruption"]), [f"{s:g}" for s in c["severities"]], values, errors, stream))
    if not panels:
        return ""
    said = "; ".join(f"{p.name}: " + ", ".join("-" if v is None else f"{v:.1f}" for v in p.values) for p in panels)
    return svg.multiples("robust", "mIoU against the severity of each corruption", said, panels)
