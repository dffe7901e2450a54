"""Health of the probe points: dead channels, spread, effective rank, saturation."""

from __future__ import annotations

from fusionzoo.dissect.measures.health import ProbeHealth
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import SATURATED
from fusionzoo.report.sections.base import Fold, Part, Section
from fusionzoo.report.table import Table, clean, number, points

__all__ = ["SECTION", "probes"]


def flagged(probe: ProbeHealth) -> bool:
    """Whether a probe has dead channels or is saturated."""
    return bool(probe.dead) or (probe.saturated or 0) >= SATURATED


def probes(d: Dissection, only_flagged: bool = False) -> Table:
    """One row a probe point."""
    rows = tuple(
        (
            clean(p.name),
            str(p.channels),
            str(p.dead),
            number(p.effective_rank, 1),
            number(p.mean),
            number(p.std),
            points(p.saturated),
        )
        for p in d.health
        if flagged(p) or not only_flagged
    )
    dead = sum(bool(p.dead) for p in d.health)
    full = sum((p.saturated or 0) >= SATURATED for p in d.health)
    return Table(
        "Probe points",
        ("probe", "channels", "dead", "eff. rank", "mean", "std", "saturated %"),
        rows,
        note=f"{len(d.health)} probe points: {dead} with dead channels (no variance), {full} saturated"
        f" (at least {SATURATED:.0%} of the values at an end of the range).",
    )


def _part(d: Dissection) -> Part:
    few, every = probes(d, only_flagged=True), probes(d)
    folds = (Fold(f"All {len(every.rows)} probe points", every, note=False),) if every.rows else ()
    return Part("Dead and saturated probes", table=few if few.rows else None, note=every.note, folds=folds)


SECTION = Section("health", lambda d: probes(d, only_flagged=True), part=_part)
