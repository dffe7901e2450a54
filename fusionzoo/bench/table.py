"""The ranked table of a benchmark as text: one row a strategy, best first, percent."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.bench.rank import Paired, Row
from fusionzoo.bench.study import ABSENT
from fusionzoo.hub.markdown import grid

__all__ = ["ablations", "gap", "ranked", "short"]


def ranked(rows: Sequence[Row], reference: str = "concat") -> str:
    """Markdown. mIoU in percent: mean +- half the spread over seeds (one seed has none); the difference with its
    95 % interval.

    Args:
        rows: from `rank`, at least one.
    """
    conditions = [c for c in rows[0].miou if c != "both"]
    kinds = list(rows[0].kinds)
    termed = any(row.term_gain is not None for row in rows)
    head = ["strategy", "seeds", "mIoU", f"- {reference}", *(["- without term"] if termed else []),
            *(c.replace("_", " ") for c in conditions),
            *(f"IoU {k}" for k in kinds), "parameters", "GMACs", "s a run"]  # fmt: skip
    lines = []
    for row in rows:
        lines.append([
            row.strategy, str(len(row.seeds)), _spread(row),
            gap(row.difference), *([gap(row.term_gain)] if termed else []),
            *(f"{100 * row.miou[c]:.1f}" for c in conditions), *(f"{100 * row.kinds[k]:.1f}" for k in kinds),
            f"{row.num_params:,}", f"{row.gmacs:.3f}", f"{row.seconds:.0f}",
        ])  # fmt: skip
    return grid(head, lines, "<" + ">" * (len(head) - 1))


def short(rows: Sequence[Row], reference: str = "concat") -> str:
    """`ranked` for a page: with the learning rates, of the conditions only those with one input, of the kinds of class
    only those that need both, and no times."""
    gone = [c for c in ABSENT if c in rows[0].miou]
    joint = [kind for kind in rows[0].kinds if kind.startswith("joint: ")]
    head = ["strategy", "seeds", "rate", "mIoU", f"- {reference} (95 %)", *(c.replace("_", " ") for c in gone),
            *(kind.removeprefix("joint: ") for kind in joint), "parameters"]  # fmt: skip
    lines = []
    for row in rows:
        values = [*(row.miou[c] for c in gone), *(row.kinds[k] for k in joint)]
        lines.append([row.strategy, str(len(row.seeds)), f"{row.learning_rate:g}", _spread(row),
                      gap(row.difference) or "-", *(f"{100 * v:.1f}" for v in values),
                      f"{row.num_params:,}"])  # fmt: skip
    return grid(head, lines, "<" + ">" * (len(head) - 1))


def ablations(found: Sequence[tuple[str, str, Paired | None]]) -> str:
    """Markdown of `fusionzoo.bench.rank.ablation`."""
    cells = [[row, whole, gap(change) or "-"] for row, whole, change in found]
    return grid(["row", "beside", "difference, points (95 %)"], cells, "<<>")


def _spread(row: Row) -> str:
    """Mean mIoU +- half the spread over seeds."""
    return f"{100 * row.miou['both']:.2f}" + (f" +- {50 * row.spread['both']:.2f}" if len(row.seeds) > 1 else "")


def gap(difference: tuple[float, float, float] | None) -> str:
    """A paired difference in points with its interval.

    >>> gap((0.012, -0.001, 0.025))
    '+1.20 (-0.10 to +2.50)'
    """
    return "" if difference is None else "{:+.2f} ({:+.2f} to {:+.2f})".format(*(100 * d for d in difference))
