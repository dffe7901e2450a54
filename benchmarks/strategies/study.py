"""What several benchmarks of strategies say together: rankings, what predicts them, interaction, ablations.

    python benchmarks/strategies/study.py runs/planted-2 runs/nyu13 runs/nyu40 --out benchmarks/results/strategies

Each folder is an --out of `fusionzoo bench`; unfinished ones are read as far as they are. Writes OUT.json (all numbers)
and OUT.md (tables). Nothing is left out because it did not come out well.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.bench import RunResult, final_results, rank, read_results
from fusionzoo.bench.plan import variant
from fusionzoo.bench.rank import Row, paired
from fusionzoo.bench.study import (
    DRAWS,
    FEWEST,
    TARGETS,
    centred_ranks,
    comparable,
    correlation,
    correlations,
    middle,
    row_means,
    spearman,
)
from fusionzoo.bench.table import gap, ranked
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write, dump_json
from fusionzoo.hub.markdown import grid
from fusionzoo.registry import fusions
from fusionzoo.schema import encode


@dataclass(frozen=True)
class Agreement:
    """Whether two benchmarks rank the `n` strategies that both hold alike: Spearman's rho of mean mIoU, 95 %."""

    one: str
    two: str
    rho: float
    low: float
    high: float
    n: int


def agreement(benchmarks: Mapping[str, Sequence[RunResult]]) -> list[Agreement]:
    """Every pair of benchmarks that share FEWEST `comparable` strategies or more.

    Args:
        benchmarks: name -> results; of one protocol each.
    """
    rows = {name: row_means(comparable(runs)) for name, runs in benchmarks.items()}
    means = {name: {s: row["mIoU"] for s, row in of.items()} for name, of in rows.items()}
    out = []
    for one, two in itertools.combinations(means, 2):
        common = [s for s in means[one] if s in means[two]]
        if len(common) >= FEWEST:
            rho, low, high = spearman([means[one][s] for s in common], [means[two][s] for s in common])
            out.append(Agreement(one, two, rho, low, high, len(common)))
    return out


def partial(one: Sequence[float], two: Sequence[float], given: Sequence[float]) -> tuple[float, float, float]:
    """(rho, low, high): rank correlation of two lists with a third held equal, percentile bootstrap over the triples.

    The correlation of what is left of both lists' ranks after a straight line in the third's ranks.

    >>> round(partial([1, 2, 3, 4, 6, 5], [2, 1, 4, 3, 6, 5], [1, 2, 3, 4, 5, 6])[0], 2)
    0.56
    """
    a, b, c = (np.asarray(v, np.float64) for v in (one, two, given))
    drawn = np.random.default_rng(0).integers(0, len(a), (DRAWS, len(a)))
    return float(_partial(a, b, c)), *middle(_partial(a[drawn], b[drawn], c[drawn]))


def _partial(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]) -> NDArray[np.float64]:
    u, v, w = map(centred_ranks, (a, b, c))
    square = (w * w).sum(-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        u, v = (r - (r * w).sum(-1, keepdims=True) / square * w for r in (u, v))
    return correlation(u, v)


def interaction(row: str) -> str:
    """What the streams receive for their next stage; "" for baselines."""
    name = variant(row).fusion
    return fusions.get(name).interaction if name in fusions else ""


def exchange_at_equal_size(results: Sequence[RunResult]) -> dict[str, Any] | None:
    """Rank correlation of "the streams exchange" with each target, parameters held equal; beside those that do nothing
    between the stages (what only rgb's stream receives, `inject`, is neither)."""
    rows = {n: of for n, of in row_means(comparable(results)).items() if interaction(n) in ("none", "exchange")}
    out = {}
    for target in TARGETS:
        there = {name: of for name, of in rows.items() if target in of}
        gives = [float(interaction(name) != "none") for name in there]
        if len(there) >= FEWEST and len(set(gives)) == 2:
            values = [[of[key] for of in there.values()] for key in (target, "parameters")]
            rho, low, high = partial(gives, *values)
            out[target] = {"rho": rho, "low": low, "high": high, "n": len(there)}
    return out or None


def ablation(rows: Sequence[Row], results: Sequence[RunResult]) -> list[list[str]]:
    """[row with an option, its strategy without, difference]: every `STRATEGY@OPTION=VALUE` beside STRATEGY."""
    runs: dict[str, list[RunResult]] = {}
    for r in final_results(results):
        runs.setdefault(r.strategy, []).append(r)
    named = [(row.strategy, row.strategy.partition("@")[0]) for row in rows if "@" in row.strategy]
    return [[name, plain, gap(paired(runs[name], runs.get(plain, []))) or "-"] for name, plain in named]


def section(name: str, results: Sequence[RunResult]) -> tuple[str, dict[str, Any]]:
    """One benchmark: Markdown, and its numbers."""
    rows = rank(results)
    found = sorted(correlations(results), key=lambda c: (TARGETS.index(c.target), -abs(c.rho)))
    lines = [f"## {name}", "", ranked(rows), ""]
    if found:
        cells = [[c.figure, c.target, f"{c.rho:+.2f}", f"{c.low:+.2f} to {c.high:+.2f}", str(c.n)] for c in found]
        lines += ["Spearman's rho over strategies, bootstrap interval, not corrected for number:", "",
                  grid(["figure", "with", "rho", "95 %", "n"], cells, "<<>>>"), ""]  # fmt: skip
    given = exchange_at_equal_size(results)
    for target, value in (given or {}).items():
        lines.append(
            f"Streams that exchange, parameters held equal, {target}: rho {value['rho']:+.2f}"
            f" ({value['low']:+.2f} to {value['high']:+.2f}), n {value['n']}.  "
        )
    ablated = ablation(rows, results)
    if ablated:
        lines += ["", grid(["row", "beside", "difference, points (95 %)"], ablated, "<<>"), ""]
    return "\n".join(lines), {"rows": encode(rows), "correlations": encode(found), "interaction": given,
                              "ablation": ablated}  # fmt: skip


def agreements(benchmarks: Mapping[str, Sequence[RunResult]]) -> tuple[str, Any]:
    """Whether the benchmarks rank alike: Markdown, and the numbers."""
    found = agreement(benchmarks)
    cells = [[a.one, a.two, f"{a.rho:+.2f}", f"{a.low:+.2f} to {a.high:+.2f}", str(a.n)] for a in found]
    table = grid(["benchmark", "and", "rho", "95 %", "strategies"], cells, "<<>>>") if cells else ""
    return f"## Do the rankings agree?\n\n{table or 'Too few strategies in common.'}\n", encode(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    named = [folder.name for folder in args.folders]
    titles = [f.name if named.count(f.name) == 1 else str(f) for f in args.folders]
    benchmarks = {title: read_results(f / "results") for title, f in zip(titles, args.folders, strict=True)}
    for name, results in benchmarks.items():
        if not any(r.phase == "final" for r in results):
            raise InputError(f"{name} holds no final run yet")
    text, numbers = [f"# Strategies: {', '.join(benchmarks)}\n"], {}
    for name, results in benchmarks.items():
        made, numbers[name] = section(name, results)
        text.append(made)
    made, between = agreements(benchmarks)
    atomic_write(args.out.with_suffix(".md"), "\n".join([*text, made]))
    atomic_write(args.out.with_suffix(".json"), dump_json({"benchmarks": numbers, "agreement": between}, indent=1))


if __name__ == "__main__":
    main()
