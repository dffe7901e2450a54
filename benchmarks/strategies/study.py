"""What several benchmarks of strategies say together: rankings, what predicts them, interaction, ablations.

    python benchmarks/strategies/study.py runs/planted-2 runs/nyu13 runs/nyu40 --out benchmarks/results/strategies
    python benchmarks/strategies/study.py benchmarks/results/{nyu13,planted-2,planted-saliency} \\
      --out benchmarks/results/strategies --readme benchmarks/README.md

Each folder is an --out of `fusionzoo bench`; unfinished ones are read as far as they are. Writes OUT.json (all
numbers), OUT.md (tables) and OUT-BENCHMARK-PLOT.svg; a plot that has too few rows is left out, and OUT.md says so.
--readme makes the tables of a page anew, each between lines `<!-- BENCHMARK: begin -->` and `<!-- BENCHMARK: end -->`.
Nothing is left out because it did not come out well.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.bench import RunResult, drawings, rank, read_results
from fusionzoo.bench.plan import variant
from fusionzoo.bench.plots import pareto
from fusionzoo.bench.rank import ablation
from fusionzoo.bench.results import final_results, select_scores
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
from fusionzoo.bench.table import ablations, ranked, short
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write, dump_json
from fusionzoo.hub.markdown import grid
from fusionzoo.registry import fusions
from fusionzoo.report.sections.base import Plot
from fusionzoo.report.style import alone
from fusionzoo.schema import encode
from fusionzoo.tasks import spoken


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


def budget(results: Sequence[RunResult]) -> dict[str, Any] | None:
    """Whether fewer epochs rank the strategies alike, and how much each depends on the learning rate.

    `scores`: row -> rate -> score of its run on the validation part, that chose the rate; `epochs` of these runs and of
    the final ones; `rho`, `low`, `high`, `n`: rank correlation of the best of them with the final mean, over the
    `comparable` strategies, None with fewer than FEWEST. None where no run chose a rate.
    """
    rows = row_means(final_results(results))
    scores = {name: of for name, of in select_scores(results).items() if name in rows}
    if not scores:
        return None
    protocol = results[0].protocol
    names = [name for name in row_means(comparable(results)) if name in scores]
    enough = len(names) >= FEWEST
    pairs = [[max(scores[n].values()) for n in names], [rows[n]["mIoU"] for n in names]]
    found = spearman(*pairs) if enough else (None, None, None)
    return {
        "scores": {name: scores[name] for name in sorted(scores, key=lambda n: -rows[n]["mIoU"])},
        "epochs": [protocol.select_epochs or protocol.epochs, protocol.epochs],
        **dict(zip(("rho", "low", "high"), found, strict=True)),
        "n": len(names),
    }


def budgets(found: Mapping[str, Any]) -> str:
    """The same as Markdown."""
    short_run, whole = found["epochs"]
    rates = sorted({rate for of in found["scores"].values() for rate in of})
    cells = [[name, *(f"{100 * of[rate]:.1f}" if rate in of else "" for rate in rates)]
             for name, of in found["scores"].items()]  # fmt: skip
    said = f"mIoU after {short_run} epochs on the validation part, which chose the rate (one seed)"
    if found["rho"] is not None:
        said += (f"; its best beside the final mean after {whole} epochs: rho {found['rho']:+.2f}"
                 f" ({found['low']:+.2f} to {found['high']:+.2f}), {found['n']} strategies")  # fmt: skip
    return "\n".join(
        [f"{said}:", "", grid(["strategy", *(f"{r:g}" for r in rates)], cells, "<" + ">" * len(rates)), ""]
    )


def section(name: str, results: Sequence[RunResult]) -> tuple[str, dict[str, Any]]:
    """One benchmark: Markdown, and its numbers."""
    rows = rank(results)
    found = sorted(correlations(results), key=lambda c: (TARGETS.index(c.target), -abs(c.rho)))
    lines = [f"## {name}", "", ranked(rows)]
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
    ablated, shorter = ablation(results), budget(results)
    lines += ["", ablations(ablated), ""] if ablated else []
    lines += ["", budgets(shorter)] if shorter else []
    both = drawings.of_both(rows)
    fronts = {cost: pareto([(r.strategy, of(r), r.miou["both"]) for r in both]) for cost, of in drawings.COSTS.items()}
    said = [f"mIoU that no other of both inputs reaches at fewer {c}: {', '.join(f)}.  " for c, f in fronts.items()]
    lines += ["", *said, ""]
    numbers = {"rows": encode(rows), "correlations": encode(found), "interaction": given, "ablation": ablated,
               "budget": shorter, "fronts": fronts}  # fmt: skip
    return spoken("\n".join(lines), results[0].task), numbers


def pictures(name: str, task: str, drawn: Mapping[str, tuple[str, Plot | str]], out: Path) -> str:
    """Writes the plots beside `out`; Markdown that shows them, and says which there are not and why."""
    shown, missing = [], []
    for key, (title, plot) in drawn.items():
        path = picture(out, name, key)
        if isinstance(plot, str):
            path.unlink(missing_ok=True)
            missing.append(f"- {title}: {plot}.")
        else:
            atomic_write(path, spoken(alone(plot.drawing, f"{title}, {name}"), task))
            shown += [f"![{title}]({path.name})", "", plot.caption, ""]
    return spoken("\n".join([*shown, *(["Not drawn:", "", *missing, ""] if missing else [])]), task)


def picture(out: Path, name: str, key: str) -> Path:
    """Where a plot of a benchmark lies."""
    return out.with_name(f"{out.name}-{name.replace('/', '-')}-{key}.svg")


def block(results: Sequence[RunResult], drawn: Mapping[str, tuple[str, Plot | str]], files: str) -> str:
    """The table of a benchmark as its page shows it, its ablations, and its plots.

    Args:
        files: where the plots lie as seen from the page, up to "-KEY.svg".
    """
    ablated = ablation(results)
    tables = [short(rank(results)), *([ablations(ablated)] if ablated else [])]
    there = {key: title for key, (title, plot) in drawn.items() if not isinstance(plot, str)}
    shown = [f'<img alt="{title}" src="{files}-{key}.svg" width="430">' for key, title in there.items()]
    return spoken("\n".join([*tables, *shown, ""]), results[0].task)


def fresh(text: str, name: str, made: str) -> str:
    """`text` with the block of the benchmark `name` made anew; InputError where it has none."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if begin not in text or end not in text:
        raise InputError(f"the page has no place for {name}: two lines, {begin.strip()!r} and {end!r}")
    return text[: text.index(begin) + len(begin)] + made + text[text.index(end) :]


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
    parser.add_argument("--readme", type=Path, help="page whose tables are made anew")
    args = parser.parse_args()
    names = [folder.name for folder in args.folders]
    titles = [f.name if names.count(f.name) == 1 else str(f) for f in args.folders]
    benchmarks = {title: read_results(f / "results") for title, f in zip(titles, args.folders, strict=True)}
    for name, results in benchmarks.items():
        if not any(r.phase == "final" for r in results):
            raise InputError(f"{name} holds no final run yet")
    text, numbers = [f"# Strategies: {', '.join(benchmarks)}\n"], {}
    page = args.readme.read_text(encoding="utf-8") if args.readme else ""
    for name, results in benchmarks.items():
        (made, numbers[name]), drawn = section(name, results), drawings.plots(results)
        text += [made, pictures(name, results[0].task, drawn, args.out)]
        if args.readme:
            page = fresh(page, name, block(results, drawn, seen_from(args.readme, args.out, name)))
    made, between = agreements(benchmarks)
    atomic_write(args.out.with_suffix(".md"), "\n".join([*text, made]))
    atomic_write(args.out.with_suffix(".json"), dump_json({"benchmarks": numbers, "agreement": between}, indent=1))
    if args.readme:
        atomic_write(args.readme, page)


def seen_from(page: Path, out: Path, name: str) -> str:
    """Path of a benchmark's plots as a page writes it, without "-KEY.svg"."""
    found = Path(os.path.relpath(picture(out, name, "").parent, page.parent)) / picture(out, name, "").name
    return found.as_posix().removesuffix("-.svg")


if __name__ == "__main__":
    main()
