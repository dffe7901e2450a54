"""The ranked table of a benchmark as text: one row a strategy, best first, percent."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.bench.rank import Row
from fusionzoo.hub.markdown import grid

__all__ = ["gap", "ranked"]


def ranked(rows: Sequence[Row], reference: str = "concat") -> str:
    """Markdown. mIoU in percent: mean +- half the spread over seeds (one seed has none); the difference with its
    95 % interval.

    Args:
        rows: from `rank`, at least one.
    """
    conditions = [c for c in rows[0].miou if c != "both"]
    kinds = list(rows[0].kinds)
    ruled = any(row.rule_gain is not None for row in rows)
    head = ["strategy", "seeds", "mIoU", f"- {reference}", *(["- without rule"] if ruled else []),
            *(c.replace("_", " ") for c in conditions),
            *(f"IoU {k}" for k in kinds), "parameters", "GMACs", "s a run"]  # fmt: skip
    lines = []
    for row in rows:
        spread = f" +- {50 * row.spread['both']:.2f}" if len(row.seeds) > 1 else ""
        lines.append([
            row.strategy, str(len(row.seeds)), f"{100 * row.miou['both']:.2f}{spread}",
            gap(row.difference), *([gap(row.rule_gain)] if ruled else []),
            *(f"{100 * row.miou[c]:.1f}" for c in conditions), *(f"{100 * row.kinds[k]:.1f}" for k in kinds),
            f"{row.num_params:,}", f"{row.gmacs:.3f}", f"{row.seconds:.0f}",
        ])  # fmt: skip
    return grid(head, lines, "<" + ">" * (len(head) - 1))


def gap(difference: tuple[float, float, float] | None) -> str:
    """A paired difference in points with its interval.

    >>> gap((0.012, -0.001, 0.025))
    '+1.20 (-0.10 to +2.50)'
    """
    return "" if difference is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(*(100 * d for d in difference))
