"""What each modality gives and what the streams share: tables of contribution, commonality and agreement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fusionzoo.report.tables import ABSENT, Table, best_level, clean, integer, points, with_error, x_name

__all__ = ["contribution", "contribution_line", "contributions", "sharing"]


def contribution(d: Mapping[str, Any]) -> Table | None:
    """What each modality gives to the mIoU; None where it was not measured."""
    made = d.get("contribution")
    if not made:
        return None
    x = x_name(d)
    whole = lambda e, signed=False: ABSENT if not e else with_error(e.get("miou"), e.get("miou_error"), signed)  # noqa: E731
    pair = lambda of: tuple(whole(of.get(s)) for s in ("rgb", "x"))  # noqa: E731
    shapley, values = made["shapley"], made["values"]
    total = _total([(shapley.get(s) or {}).get("miou") for s in ("rgb", "x")])
    rows = [
        ("score with it alone", *pair(values), whole(values.get("both"))),
        ("Shapley value", *pair(shapley), points(total)),
    ]
    if total:
        share = [(shapley[s]["miou"] or 0.0) / total for s in ("rgb", "x")]
        rows.append(("share of the sum", *(f"{100 * v:.0f} %" for v in share), ""))
    rows.append(("interaction", "", "", whole(made["interaction"], True)))
    if made.get("perceptual"):
        rows.append(("perceptual score", *pair(made["perceptual"]), ""))
    return Table(
        "Contribution",
        ("of the mIoU", "rgb", x, "both"),
        tuple(rows),
        "<>>>",
        f"Points (± standard error). Neither: {whole(values.get('none'))}. Interaction above 0: the modalities help"
        " each other, below 0: they give the same. Perceptual score: percent lost with that modality of another image.",
    )


def contribution_line(d: Mapping[str, Any]) -> str:
    """The contribution in one line; "" where it was not measured.

    >>> whole = lambda v: {"miou": v, "miou_error": 0.01}
    >>> contribution_line({"model": {"modalities": ["rgb", "depth"]}, "contribution": {
    ...     "shapley": {"rgb": whole(0.3), "x": whole(0.1)}, "interaction": whole(-0.05)}})
    'Contribution to the mIoU (Shapley values): rgb 30.0 ±1.0, depth 10.0 ±1.0 points; interaction -5.0 ±1.0.'
    """
    made = d.get("contribution")
    if not made:
        return ""
    named = (("rgb", made["shapley"].get("rgb")), (x_name(d), made["shapley"].get("x")))
    parts = ", ".join(f"{name} {with_error(e['miou'], e['miou_error'])}" for name, e in named if e)
    both = made["interaction"]
    helped = with_error(both["miou"], both["miou_error"], signed=True)
    return f"Contribution to the mIoU (Shapley values): {parts} points; interaction {helped}."


def _total(values: Iterable[float | None]) -> float | None:
    """The sum; None when a value is missing."""
    there = list(values)
    return None if any(v is None for v in there) else sum(v for v in there if v is not None)


def _share(entry: Mapping[str, Any] | None) -> str:
    """A share of variance in percent with its error."""
    return ABSENT if not entry else with_error(entry.get("value"), entry.get("error"))


def sharing(d: Mapping[str, Any]) -> Table | None:
    """One row a level: what the fused features take from each modality, and which concepts the streams share; None
    where neither was measured."""
    x = x_name(d)
    rows = []
    for level in d["levels"]:
        shares = (level.get("commonality") or {}).get("pix") or {}
        agreed = level.get("agreement") or {}
        if not shares and not agreed:
            continue
        counts = (str(len(agreed[k])) if agreed else ABSENT for k in ("consistent", "rgb", "x", "gained", "lost"))
        parts = (_share(shares.get(k)) for k in ("unique_rgb", "redundant", "unique_x"))
        rows.append((str(level["level"]), *parts, *counts))
    if not rows:
        return None
    return Table(
        "Shared and specific",
        ("level", "rgb alone %", "shared %", f"{x} alone %", "consistent", "only rgb", f"only {x}", "gained", "lost"),
        tuple(rows),
        "<>>>>>>>>",
        "Percent of the fused features' variance that one modality alone explains, or either (shared; below 0: only"
        " both together). Concepts that both streams encode alike, that one encodes; that fusion gains or loses.",
    )


def contributions(dissections: Sequence[Mapping[str, Any]]) -> Table:
    """One row a checkpoint: Shapley values and interaction, consistent and specific concepts at its best level; no rows
    where nothing of that was measured."""
    rows = []
    for d in dissections:
        made = d.get("contribution") or {}
        parts = [(made.get("shapley") or {}).get(s) or {} for s in ("rgb", "x")]
        both = made.get("interaction") or {}
        level = best_level(d) or {}
        agreed = level.get("agreement")
        if not made and not agreed:
            continue
        cells = [with_error(e.get("miou"), e.get("miou_error"), e is both) for e in (*parts, both)]
        both_streams = str(len(agreed["consistent"])) if agreed else ABSENT
        only = f"{len(agreed['rgb'])}/{len(agreed['x'])}" if agreed else ABSENT
        rows.append((clean(d["model"]["name"]), *cells, integer(level.get("level")), both_streams, only))
    names = {x_name(d) for d in dissections}
    x = names.pop() if len(names) == 1 else "x"
    return Table(
        "What each modality gives",
        ("checkpoint", "rgb", x, "interact.", "at", "alike", f"only rgb/{x}"),
        tuple(rows),
        "<>>>>>>",
        "Shapley values of the mIoU and their interaction (above 0: the modalities help each other), points ± standard"
        " error. At the level named: concepts that both streams encode alike, and that only one does.",
    )
