"""Dissection -> plain tables of strings, which the terminal, the page and the card lay out each in its own way.

All functions are pure and take a dissection's dictionary (`as_dict`). IoU and semantic variance are fractions in the
dissection and points (x100) in the tables. A value that is absent is `-`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusionzoo.errors import InputError

__all__ = [
    "SATURATED",
    "Table",
    "as_dict",
    "best_level",
    "checks",
    "clean",
    "comparison",
    "concept_names",
    "concepts",
    "heading",
    "levels",
    "others",
    "planted",
    "points",
    "probes",
    "said",
    "segmentation",
    "verdict",
    "verification",
    "with_error",
    "x_name",
]

ABSENT = "-"
SATURATED = 0.5
"""A probe counts as saturated when at least this fraction of its values sits at an end of its declared range."""
STREAMS = ("rgb", "x", "fused")


@dataclass(frozen=True)
class Table:
    """Strings in columns. `align` has one `<` (text) or `>` (number) per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    note: str = ""

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong or len(self.align) != len(self.columns):
            raise ValueError(
                f"table {self.title!r}: {len(self.columns)} columns, align {self.align!r}, rows {wrong[:1]}"
            )


def as_dict(dissection: Any) -> dict[str, Any]:
    """The dissection as a dictionary; InputError when it has another format version or lacks a part."""
    values = dissection if isinstance(dissection, Mapping) else dissection.to_dict()
    if values.get("format_version") != 1:
        raise InputError(f"dissection has format_version {values.get('format_version')!r}, this fusionzoo reads 1")
    lacking = [k for k in ("model", "data", "protocol", "segmentation", "levels", "probes") if k not in values]
    if lacking:
        raise InputError(f"dissection lacks {', '.join(lacking)}")
    return dict(values)


def clean(value: object) -> str:
    """One line without control characters: names may come from a foreign file, and a terminal obeys escape codes.

    >>> clean("a\\x1b[31mred\\n")
    'a [31mred'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def points(value: float | None, signed: bool = False) -> str:
    """A fraction in points with one decimal; `-` for None and NaN.

    >>> points(0.4567), points(None), points(0.061, signed=True)
    ('45.7', '-', '+6.1')
    """
    if value is None or math.isnan(value):
        return ABSENT
    text = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return "0.0" if text in ("-0.0", "+0.0") else text


def number(value: float | None, digits: int = 3) -> str:
    """A plain number, `-` for None and NaN; large and tiny ones in scientific form.

    >>> number(0.51234), number(None), number(1234567.0), number(-0.0001)
    ('0.512', '-', '1.23e+06', '-0.0001')
    """
    if value is None or math.isnan(value):
        return ABSENT
    if value and not 10**-digits <= abs(value) < 10**5:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def integer(value: int | None) -> str:
    """A whole number, `-` for None."""
    return ABSENT if value is None else str(value)


def x_name(d: Mapping[str, Any]) -> str:
    """What the second modality is called: "depth", "thermal", ..."""
    modalities: list[str] = d["model"].get("modalities") or []
    return clean(modalities[1]) if len(modalities) > 1 else "x"


def heading(d: Mapping[str, Any]) -> str:
    """One line: which checkpoint on which data."""
    data = d["data"]
    size = f", {data['size'][1]}x{data['size'][0]}" if data.get("size") else ""
    return clean(f"{d['model']['name']} on {data['name']}, {data['split']}, {data['n']} images{size}")


def checks(verification: Any) -> list[dict[str, Any]]:
    """A verification (None, list, object with `checks`) as a list of {"check", "ok", "detail"}."""
    if verification is None:
        return []
    if hasattr(verification, "to_dict"):
        verification = verification.to_dict()
    if isinstance(verification, Mapping):
        verification = verification.get("checks", [])
    elif hasattr(verification, "checks"):
        verification = verification.checks
    rows = [row if isinstance(row, Mapping) else vars(row) for row in verification]
    return [{"check": clean(r["check"]), "ok": bool(r["ok"]), "detail": clean(r.get("detail", ""))} for r in rows]


def said(findings: Iterable[Any]) -> list[tuple[str, str]]:
    """Findings in any of their shapes (text, dictionary, object) as (level, text); level: info, warn or fail."""
    rows = []
    for finding in findings:
        if isinstance(finding, str):
            rows.append(("info", clean(finding)))
        elif isinstance(finding, Mapping):
            rows.append((str(finding["level"]), clean(finding["text"])))
        else:
            rows.append((str(finding.level), clean(finding.text)))
    return rows


def verdict(dissection: Any, verification: Any) -> tuple[bool, str]:
    """Whether all went well, and that in one sentence: the file checks, and the planted truth where there is one."""
    d = {} if dissection is None else as_dict(dissection)
    rows = checks(verification)
    failed = [r for r in rows if not r["ok"]]
    parts = []
    if failed:
        named = ", ".join(r["check"] for r in failed)
        parts.append(f"{len(failed)} of {len(rows)} file checks failed: {named}")
    elif rows:
        parts.append(f"all {len(rows)} file checks passed")
    truth = d.get("planted")
    if truth:
        deciding = [r["found"] for r in truth["rows"] if r["kind"] in ("rgb", "x")]
        found = "found" if truth["found"] else "NOT found"
        parts.append(f"planted truth {found} ({sum(deciding)} of {len(deciding)} one-modality concepts)")
    ok = not failed and (not truth or bool(truth["found"]))
    words = "; ".join(parts) or ("not dissected" if dissection is None else "dissected; no files were checked")
    return ok and dissection is not None, f"{words}."


def verification(rows: Any) -> Table:
    """The file checks, one a row."""
    body = tuple((("ok" if r["ok"] else "FAILED"), r["check"], r["detail"]) for r in checks(rows))
    return Table("File checks", ("result", "check", "detail"), body, "<<<")


def _change(full: float | None, part: Mapping[str, Any]) -> str:
    """Change against both modalities in points, with its standard error where the dissection has one."""
    if full is None or part.get("miou") is None:
        return ABSENT
    error = (part.get("drop") or {}).get("miou_error")
    return points(part["miou"] - full, signed=True) + (f" ±{points(error)}" if error is not None else "")


def segmentation(d: Mapping[str, Any]) -> Table:
    """mIoU and pixel accuracy with both modalities and without either."""
    x = x_name(d)
    seg = d["segmentation"]
    full = (seg.get("both") or {}).get("miou")
    rows = []
    parts = (("both", "both"), ("no_rgb", "without rgb"), ("no_x", f"without {x}"), ("none", "without either"))
    for key, label in parts:
        part = seg.get(key)
        if part is None:
            continue
        change = "" if key == "both" else _change(full, part)
        rows.append((label, points(part.get("miou")), change, points(part.get("pixel_accuracy"))))
    absence = clean(d["protocol"].get("absence", "mean"))
    return Table(
        "Segmentation",
        ("modalities", "mIoU", "change", "pixel accuracy"),
        tuple(rows),
        "<>>>",
        f"Points (± standard error). A modality that is taken away is replaced by: {absence}.",
    )


def with_error(value: float | None, error: float | None, signed: bool = False) -> str:
    """Points and their standard error.

    >>> with_error(0.301, 0.008), with_error(0.301, None), with_error(None, None)
    ('30.1 ±0.8', '30.1', '-')
    """
    return points(value, signed) + (f" ±{points(error)}" if value is not None and error is not None else "")


def _variance(entry: Mapping[str, Any] | None) -> tuple[str, str]:
    """Semantic variance and its floor in points; the value carries `~` when it is not above the floor."""
    if not entry or entry.get("value") is None:
        return ABSENT, ABSENT
    value, floor = entry["value"], entry.get("floor")
    return points(value) + ("~" if floor is not None and value <= floor else ""), points(floor)


def mean(values: Iterable[float | None]) -> float | None:
    """Mean over the values that are there; None when there is none."""
    there = [v for v in values if v is not None and not math.isnan(v)]
    return sum(there) / len(there) if there else None


def levels(d: Mapping[str, Any]) -> Table:
    """One row a level: similarity of the streams, semantic variance with its floor, mean concept IoU of each stream."""
    x = x_name(d)
    rows = []
    for level in d["levels"]:
        cka = level.get("cka") or {}
        variance = level.get("semantic_variance") or {}
        iou = level.get("concept_iou") or {}
        rows.append(
            (
                str(level["level"]),
                number((cka.get("gap") or {}).get("unbiased")),
                number((cka.get("pix") or {}).get("unbiased")),
                *_variance(variance.get("rgb_x")),
                _variance(variance.get("rgb_fused"))[0],
                _variance(variance.get("x_fused"))[0],
                *(points(mean(iou.get(s) or ())) for s in STREAMS),
            )
        )
    first = d["levels"][0] if d["levels"] else {}
    reducer = next(
        (v["reducer"] for v in (first.get("semantic_variance") or {}).values() if v and v.get("reducer")), ""
    )
    return Table(
        "Levels",
        (
            "level",
            "CKA gap",
            "CKA pix",
            "SV rgb-x",
            "floor",
            "SV rgb-fus",
            f"SV {x[:3]}-fus",
            "IoU rgb",
            f"IoU {x}",
            "IoU fused",
        ),
        tuple(rows),
        "<>>>>>>>>>",
        f"CKA: unbiased linear, rgb against {x} (gap: pooled, pix: pixels). SV: semantic variance in points"
        + (f" ({clean(reducer)})" if reducer else "")
        + "; ~ marks a value that is not above its noise floor. IoU: mean concept set IoU in points.",
    )


def best_level(d: Mapping[str, Any]) -> dict[str, Any] | None:
    """The level whose fused (else best) stream has the highest mean concept IoU; None when no concept was probed."""
    scored = []
    for level in d["levels"]:
        iou = level.get("concept_iou") or {}
        means = {s: mean(iou.get(s) or ()) for s in STREAMS}
        there = [v for v in means.values() if v is not None]
        if there:
            scored.append((means["fused"] if means["fused"] is not None else max(there), level))
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _at(values: Sequence[float | None] | None, index: int) -> float | None:
    return values[index] if values is not None and index < len(values) else None


def concept_names(d: Mapping[str, Any]) -> list[str]:
    """What the rows of the concept tables are: the classes, unless other concepts were probed."""
    return list(d.get("concept_names") or d["data"]["class_names"])


def concepts(d: Mapping[str, Any], level: Mapping[str, Any] | None = None) -> Table:
    """One row a concept: class IoU with both and without either, and concept IoU of rgb, x, fused at one level."""
    x = x_name(d)
    level = best_level(d) if level is None else level
    probed = (level or {}).get("concept_iou") or {}
    seg = {} if d.get("concept_names") else d["segmentation"]
    kinds = d["data"].get("concepts") or {}
    rows = []
    for k, name in enumerate(concept_names(d)):
        r, v, f = (_at(probed.get(s), k) for s in STREAMS)
        gap = points(r - v, signed=True) if r is not None and v is not None else ABSENT
        tasks = (points(_at((seg.get(key) or {}).get("iou"), k)) for key in ("both", "no_rgb", "no_x"))
        kind = (clean(kinds.get(name, ABSENT)),) if kinds else ()
        rows.append((clean(name), *kind, *tasks, points(r), points(v), points(f), gap))
    kind_column = ("visible in",) if kinds else ()
    where = f" at level {level['level']} (the highest mean)" if level else ""
    return Table(
        "Concepts",
        ("concept", *kind_column, "both", "no rgb", f"no {x}", "rgb", x, "fused", f"rgb-{x}"),
        tuple(rows),
        "<" + "<" * len(kind_column) + ">>>>>>>",
        f"both, no rgb, no {x}: IoU of the prediction. rgb, {x}, fused: concept set IoU of features{where}. Points.",
    )


def planted(d: Mapping[str, Any]) -> Table | None:
    """Known truth against what the probes found; None on data without planted truth."""
    truth = d.get("planted")
    if not truth:
        return None
    x = x_name(d)
    rows = []
    for r in truth["rows"]:
        gap = points(r["rgb"] - r["x"], signed=True) if r.get("rgb") is not None and r.get("x") is not None else ABSENT
        fields = (points(r.get("rgb")), points(r.get("x")), points(r.get("fused")), gap, integer(r.get("level")))
        rows.append((clean(r["concept"]), "yes" if r["found"] else "NO", clean(r["kind"]), *fields))
    return Table(
        "Planted truth",
        ("concept", "found", "visible in", "rgb", x, "fused", f"rgb-{x}", "level"),
        tuple(rows),
        "<<<>>>>>",
        "It is known where each concept of these scenes is visible; found: the probes agree. Concept set IoU in points,"
        " best level of each stream; level: that of the best of all.",
    )


def flagged(probe: Mapping[str, Any]) -> bool:
    """Whether a probe has dead channels or is saturated."""
    return bool(probe.get("dead")) or (probe.get("saturated") or 0) >= SATURATED


def probes(d: Mapping[str, Any], only_flagged: bool = False) -> Table:
    """Health of each probe point: dead channels, spread, effective rank, saturation."""
    chosen = [p for p in d["probes"] if flagged(p) or not only_flagged]
    rows = tuple(
        (
            clean(p["name"]),
            str(p["channels"]),
            str(p["dead"]),
            number(p.get("effective_rank"), 1),
            number(p.get("mean")),
            number(p.get("std")),
            points(p.get("saturated")),
        )
        for p in chosen
    )
    dead = sum(bool(p.get("dead")) for p in d["probes"])
    full = sum((p.get("saturated") or 0) >= SATURATED for p in d["probes"])
    return Table(
        "Probe points",
        ("probe", "channels", "dead", "eff. rank", "mean", "std", "saturated %"),
        rows,
        "<>>>>>>",
        f"{len(d['probes'])} probe points: {dead} with dead channels (no variance), {full} saturated"
        f" (at least {SATURATED:.0%} of the values at an end of the range).",
    )


def others(d: Mapping[str, Any]) -> Table:
    """Model, data and protocol facts: what one must know to repeat the numbers."""
    model, data, protocol = d["model"], d["data"], d["protocol"]
    rows = [
        ("architecture", clean(model.get("architecture", ABSENT))),
        ("parameters", f"{model['num_params']:,}" if model.get("num_params") is not None else ABSENT),
        ("modalities", clean(", ".join(model.get("modalities") or ()))),
        ("source", clean(model.get("source", ABSENT))),
        ("data", clean(f"{data['name']}, {data['split']}, {data['n']} images, {len(data['class_names'])} classes")),
    ]
    rows = [(key, value) for key, value in rows if value]
    for key, value in protocol.items():
        if value is None or value in ([], {}, ""):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        rows.append((clean(key), f"{value:.1f}" if key == "seconds" else clean(value)))
    return Table("Protocol", ("fact", "value"), tuple(rows), "<<")


def comparison(dissections: Sequence[Mapping[str, Any]]) -> Table:
    """One row a checkpoint: mIoU with both and without either, CKA and semantic variance at its best level."""
    rows = []
    names = {x_name(d) for d in dissections}
    x = names.pop() if len(names) == 1 else "x"
    for d in dissections:
        seg = d["segmentation"]
        miou = (points((seg.get(key) or {}).get("miou")) for key in ("both", "no_rgb", "no_x"))
        level = best_level(d) or (d["levels"][-1] if d["levels"] else {})
        variance = _variance((level.get("semantic_variance") or {}).get("rgb_x"))[0]
        cka = number(((level.get("cka") or {}).get("gap") or {}).get("unbiased"))
        truth = d.get("planted")
        found = ABSENT if not truth else ("yes" if truth["found"] else "NO")
        rows.append((clean(d["model"]["name"]), *miou, integer(level.get("level")), cka, variance, found))
    where = {clean(f"{d['data']['name']}, {d['data']['split']}, {d['data']['n']} images") for d in dissections}
    return Table(
        "Comparison",
        ("checkpoint", "mIoU", "no rgb", f"no {x}", "level", "CKA gap", "SV rgb-x", "planted"),
        tuple(rows),
        "<>>>>>><",
        f"Points, on {'; '.join(sorted(where))}. CKA and SV (semantic variance) at the level named.",
    )
