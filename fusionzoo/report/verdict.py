"""The answer of a check in one line: heading, file checks, verdict; and the facts that one must know to repeat it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fusionzoo.dissect.effects import Setting
from fusionzoo.dissect.results import JUDGED_FROM, Dissection
from fusionzoo.report.table import Table, clean

__all__ = [
    "Said", "as_dissection", "checks", "effect_heading", "facts", "heading", "in_front", "said", "verdict",
    "verification", "x_name",
]  # fmt: skip


def as_dissection(value: Dissection | Mapping[str, Any]) -> Dissection:
    """A dissection or its dictionary, of this format or of format 1. InputError for anything else."""
    return value if isinstance(value, Dissection) else Dissection.from_dict(dict(value))


def x_name(d: Any) -> str:
    """What the second modality of a Dissection or an Evolution is called: "depth", "thermal", ...; several: others."""
    modalities: list[str] = d.model.modalities
    return "others" if len(modalities) > 2 else clean(modalities[1]) if len(modalities) > 1 else "x"


def heading(d: Dissection) -> str:
    """One line: which checkpoint on which data."""
    size = f", {d.data.size[1]}x{d.data.size[0]}" if d.data.size else ""
    return clean(f"{d.model.name} on {d.data.name}, {d.data.split}, {d.data.n} images{size}")


def effect_heading(s: Setting) -> str:
    """One line: which checkpoint on which data, of a trace or robustness curves."""
    return clean(f"{s.model} on {s.data}, {s.split}, {s.n} images, {s.size[1]}x{s.size[0]}")


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


FIRST = 8
"""So many findings stand in front where none says that it does (sentences, reports of an earlier version)."""


class Said(NamedTuple):
    """A finding: level (info, warn or fail) and text; `basis`: its measure and kind of evidence; `first`: in front."""

    level: str
    text: str
    basis: str = ""
    first: bool = False


def said(findings: Iterable[Any]) -> list[Said]:
    """Findings in any of their shapes (text, dictionary, object)."""
    rows = []
    for finding in findings:
        if isinstance(finding, str):
            rows.append(Said("info", clean(finding)))
            continue
        values = finding if isinstance(finding, Mapping) else vars(finding)
        basis = "; ".join(clean(values[key]) for key in ("measure", "evidence") if values.get(key))
        rows.append(Said(str(values["level"]), clean(values["text"]), basis, bool(values.get("first"))))
    return rows


def in_front(rows: Sequence[Said]) -> tuple[list[Said], list[Said]]:
    """The findings to show first, with every warning and failure, and the others.

    >>> [[row.text for row in part] for part in in_front([Said("info", "a", first=True), Said("info", "b")])]
    [['a'], ['b']]
    """
    marked = any(row.first for row in rows)
    shown = [row.level != "info" or (row.first if marked else i < FIRST) for i, row in enumerate(rows)]
    first = [row for row, mark in zip(rows, shown, strict=True) if mark]
    more = [row for row, mark in zip(rows, shown, strict=True) if not mark]
    return (list(rows), []) if not marked and len(more) < 3 else (first, more)


def verdict(d: Dissection | None, verification: Any) -> tuple[bool, str]:
    """Whether all went well, and that in one sentence: the file checks, and the planted truth where there is one."""
    rows = checks(verification)
    failed = [r for r in rows if not r["ok"]]
    parts = []
    if failed:
        named = ", ".join(r["check"] for r in failed)
        parts.append(f"{len(failed)} of {len(rows)} file checks failed: {named}")
    elif rows:
        parts.append(f"all {len(rows)} file checks passed")
    if d is not None and d.planted is not None:
        deciding = [r.found for r in d.planted.rows if r.kind in ("rgb", "x", *d.model.modalities)]
        found = "found" if d.truth_found else "NOT found"
        counted = f"{sum(deciding)} of {len(deciding)} one-modality concepts"
        few = f"planted truth not judged on {d.data.n} images ({JUDGED_FROM} are needed)"
        parts.append(few if d.truth_found is None else f"planted truth {found} ({counted})")
    words = "; ".join(parts) or ("not dissected" if d is None else "dissected; no files were checked")
    return d is not None and not failed and d.truth_found is not False, f"{words}."


def verification(rows: Any) -> Table:
    """The file checks, one a row."""
    body = tuple((("ok" if r["ok"] else "FAILED"), r["check"], r["detail"]) for r in checks(rows))
    return Table("File checks", ("result", "check", "detail"), body, "<<<")


def facts(d: Dissection) -> Table:
    """Model, data and protocol facts: what one must know to repeat the numbers."""
    data = f"{d.data.name}, {d.data.split}, {d.data.n} images, {len(d.data.class_names)} classes"
    rows = [
        ("architecture", clean(d.model.architecture)),
        ("parameters", f"{d.model.num_params:,}"),
        ("modalities", clean(", ".join(d.model.modalities))),
        ("source", clean(d.model.source)),
        ("data", clean(data)),
    ]
    rows = [(key, value) for key, value in rows if value]
    for key, value in vars(d.protocol).items():
        if value is None or value in ([], {}, ""):
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        rows.append((clean(key), f"{value:.1f}" if key == "seconds" else clean(value)))
    return Table("Protocol", ("fact", "value"), tuple(rows), "<<")
