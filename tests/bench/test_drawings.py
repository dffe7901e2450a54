"""The plots of a benchmark on runs whose order, front, correlation and gains are planted; the page's table is fresh."""

from __future__ import annotations

import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fusionzoo.bench import BenchProtocol, RunResult, Score, drawings, rank, read_results
from fusionzoo.bench.plots import scatter
from fusionzoo.bench.rank import ablation
from fusionzoo.bench.study import correlations
from fusionzoo.errors import InputError
from fusionzoo.report.sections.base import Plot
from fusionzoo.report.style import alone

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks/strategies/study.py"
KINDS = {"wall": "both", "and": "joint: and"}


def run(strategy: str, miou: float, seed: int = 0, size: int = 1000, figure: float = 0.0) -> RunResult:
    scores = {"both": Score(miou, 0.9, [miou, 0.31]), "without_rgb": Score(0.2, 0.5), "without_x": Score(0.3, 0.5)}
    return RunResult(
        BenchProtocol("toy"), strategy, "final", seed, 1e-3, scores, size, size / 1e4, 1.0, "planted-2", 20,
        list(KINDS), dict(KINDS), figures={"planted": figure, "noise": noise(figure)},
    )  # fmt: skip


def noise(figure: float) -> float:
    return float(np.random.default_rng(int(1000 * figure)).uniform())


def seeds(strategy: str, *mious: float, size: int = 1000, figure: float = 0.0) -> list[RunResult]:
    return [run(strategy, miou, i, size, figure) for i, miou in enumerate(mious)]


def shapes(svg: str, name: str, class_: str = "") -> list[ElementTree.Element]:
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}" + name)
    return [e for e in found if not class_ or set(class_.split()) <= set(e.get("class", "").split())]


def words(svg: str) -> list[str]:
    return ["".join(e.itertext()) for e in shapes(svg, "text")]


def height(label: str, svg: str) -> float:
    return next(float(e.get("y", "")) for e in shapes(svg, "text") if "".join(e.itertext()) == label)


def test_accuracy_is_in_order_and_single_modalities_have_their_own_signs() -> None:
    given = {"concat": 0.5, "rgb_only": 0.4, "x_only": 0.2, "hybrid": 0.6, "sum": 0.55}
    rows = rank([r for name, m in given.items() for r in seeds(name, m - 0.01, m + 0.01)])
    svg = drawings.accuracy(rows).drawing
    order = sorted(given, key=lambda name: height(name, svg))
    assert order == ["hybrid", "sum", "concat", "rgb_only", "x_only"]
    (circle,), (square,) = (
        shapes(svg, "circle", "mark rgb")[1:],
        shapes(svg, "rect", "mark x")[1:],
    )  # the legend's first
    assert float(circle.get("cy", "")) == pytest.approx(height("rgb_only", svg) - 4)
    middle = float(square.get("x", "")) + float(square.get("width", "")) / 2
    spans = {float(e.get("y1", "")): [float(e.get(k, "")) for k in ("x1", "x2")] for e in shapes(svg, "line", "link")}
    assert middle == pytest.approx(np.mean(spans[height("x_only", svg) - 4]), abs=0.02)
    # the seeds of every strategy are two points apart, and 20 points lie between rgb alone and x alone
    lengths = {b - a for a, b in spans.values()}
    assert max(lengths) - min(lengths) < 0.05
    assert (float(circle.get("cx", "")) - middle) / lengths.pop() == pytest.approx(10, abs=0.05)
    assert {"60.00", "55.00", "20.00"} <= set(words(svg))


def test_what_lies_far_from_most_is_an_arrow_at_the_end_of_its_axis() -> None:
    rows = rank(
        [r for i in range(6) for r in seeds(f"way{i}", 0.8 + i / 100, 0.804 + i / 100)] + seeds("sum", 0.1, 0.1)
    )
    svg = drawings.accuracy(rows).drawing
    marks = shapes(svg, "path", "mark both")
    assert [m.get("d", "").count("l") for m in marks] == [0] * 6 + [1] and "10.00" in words(svg)
    edge, y = map(float, re.match(r"M([\d.]+) ([\d.]+)l8.0 ", marks[-1].get("d", "")).groups())  # type: ignore[union-attr]
    assert edge == min(float(e.get("x1", "")) for e in shapes(svg, "line", "grid")) and y == height("sum", svg) - 4
    ahead = {"a": (0.9, 0.8, 1.0)} | {f"b{i}": (i / 1000, -0.01, 0.02) for i in range(6)}
    (arrow,) = [m for m in shapes(drawings.changes("k", "t", "c", ahead).drawing, "path") if "l-8.0 " in m.get("d", "")]
    assert arrow.get("class") == "mark fused"


def test_the_front_is_the_planted_one_and_single_modalities_are_not_on_it() -> None:
    """early, gate and cmx are on the front; `sum` costs more than `gate` and scores less; rgb alone costs least."""
    given = {"early": (100, 0.5), "gate": (200, 0.6), "sum": (300, 0.55), "cmx": (400, 0.7), "rgb_only": (50, 0.4)}
    runs = [r for name, (size, m) in given.items() for r in seeds(name, m, m, size=size)]
    svg = drawn(runs, "parameters").drawing
    assert len(shapes(svg, "line", "link")) == 2 and len(shapes(svg, "path", "mark fused")) == 3
    assert len(shapes(svg, "path", "mark both")) == 1 and "rgb_only" not in svg
    plain = {"".join(e.itertext()) for e in shapes(svg, "text") if e.get("class") is None}
    assert plain == {"early", "gate", "cmx"}
    assert len(shapes(drawn(runs, "gmacs").drawing, "line", "link")) == 2


def test_names_in_a_crowd_do_not_cover_each_other_and_a_low_score_keeps_its_number() -> None:
    rng = np.random.default_rng(0)
    points = [(f"strategy_{i}", 10 ** float(a), 80 + float(b)) for i, (a, b) in enumerate(rng.uniform(0, 1, (40, 2)))]
    svg = scatter("k", "t", "d", [*points, ("poor", 3.0, 20.0)], "cost", floor=78.0)
    assert "poor 20.0" in words(svg) and any("l-5 -8h10z" in m.get("d", "") for m in shapes(svg, "path"))
    named = [e for e in shapes(svg, "text") if "".join(e.itertext()).startswith("strategy")]
    assert len(named) > 5
    boxes = []
    for e in named:
        wide, x, y = 5.5 * len("".join(e.itertext())), float(e.get("x", "")), float(e.get("y", ""))
        start = {"start": x, "middle": x - wide / 2, "end": x - wide}[e.get("text-anchor", "")]
        boxes.append((start, y - 8, start + wide, y))
    for i, one in enumerate(boxes):
        for two in boxes[i + 1 :]:
            assert one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]


def test_differences_are_those_planted_with_signs_that_say_whether_they_differ() -> None:
    runs = [*seeds("concat", 0.5, 0.6, 0.7), *seeds("gate", 0.52, 0.62, 0.72), *seeds("sum", 0.45, 0.62, 0.72),
            *seeds("rgb_only", 0.3, 0.3, 0.3)]  # fmt: skip
    svg = drawn(runs, "differences").drawing
    assert {"+2.00", "-0.33"} <= set(words(svg)) and not {"rgb_only", "concat"} & set(words(svg))
    assert len(shapes(svg, "path", "mark fused")) == len(shapes(svg, "path", "mark both")) == 2  # one each, legend
    assert height("gate", svg) < height("sum", svg)


def test_the_figure_that_predicts_comes_first_and_has_the_other_sign() -> None:
    ways = [f for i in range(14) for f in seeds(f"way{i}", 0.5 + i / 50, 0.5 + i / 50, figure=i / 14, size=1000 - i)]
    assert {c.figure: round(c.rho, 6) for c in correlations(ways) if c.target == "mIoU"}["planted"] == 1
    svg = drawn(ways, "predictors").drawing
    assert height("planted", svg) < height("noise", svg) and "both inputs" in words(svg)
    signs = {round(float(m.get("d", "M0 0").split()[1].partition("L")[0])): m for m in shapes(svg, "path", "mark")}
    by = {label: [m for y, m in signs.items() if abs(y - height(label, svg)) < 11] for label in ("planted", "noise")}
    assert "fused" in by["planted"][0].get("class", "") and "both" in by["noise"][0].get("class", "")


def test_kinds_of_class_are_written_in_their_cells() -> None:
    svg = drawn([*seeds("sum", 0.8), *seeds("gate", 0.6)], "kinds").drawing
    assert words(svg).count("31") == 2 and {"80", "60", "and", "both"} <= set(words(svg))


def test_options_stand_beside_their_strategy_and_the_rule_beside_the_rule() -> None:
    runs = [*seeds("hybrid_trust", 0.6, 0.7), *seeds("hybrid_trust+rule", 0.7, 0.8),
            *seeds("hybrid_trust@consistent=False", 0.55, 0.65), *seeds("hybrid_trust@private=False", 0.5, 0.6),
            *seeds("hybrid_trust@private=False+rule", 0.69, 0.79), *seeds("sum", 0.5, 0.5),
            *seeds("sum+rule", 0.4, 0.4), *seeds("gate@a=1", 0.5, 0.5)]  # fmt: skip
    found = {(row, beside): None if gap is None else round(gap[0], 6) for row, beside, gap in ablation(runs)}
    assert found == {
        ("hybrid_trust@consistent=False", "hybrid_trust"): -0.05,
        ("hybrid_trust@private=False", "hybrid_trust"): -0.1,
        ("hybrid_trust@private=False+rule", "hybrid_trust+rule"): -0.01,
        ("gate@a=1", "gate"): None,
    }
    svg = drawn([r for r in runs if not r.strategy.endswith("False+rule")], "ablations").drawing
    assert {"without consistent", "without private", "-5.00", "-10.00"} <= set(words(svg))
    assert {"hybrid_trust", "sum", "+10.00", "-10.00"} <= set(words(drawn(runs, "rule").drawing))
    assert [r.strategy for r in drawings.plain(rank(runs))] == ["hybrid_trust", "sum", "gate@a=1"]


def test_what_has_too_few_rows_says_what_it_needs() -> None:
    made = drawings.plots([*seeds("concat", 0.5), *seeds("rgb_only", 0.3)])
    assert isinstance(made["accuracy"][1], Plot) and isinstance(made["kinds"][1], Plot)
    reasons = {name: plot for name, (_, plot) in made.items() if isinstance(plot, str)}
    assert set(reasons) == {"differences", "parameters", "gmacs", "predictors", "ablations", "rule", "streams"}
    assert reasons["predictors"] == "needs 5 strategies that see both inputs; 1 so far"
    assert reasons["differences"] == "needs 2 strategies with two seeds that concat has too; 0 so far"


def test_a_drawing_alone_has_its_heading_and_room_for_it() -> None:
    svg = drawings.accuracy(rank(seeds("concat", 0.5))).drawing
    made = alone(svg, "mIoU <by> strategy")
    tall = [int(re.search(r'viewBox="0 0 360 (\d+)"', text)[1]) for text in (svg, made)]  # type: ignore[index]
    assert tall[1] - tall[0] == 24 and "mIoU <by> strategy" in words(made)
    assert ElementTree.fromstring(made).find("{http://www.w3.org/2000/svg}style") is not None


def test_one_command_writes_plots_and_the_tables_of_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy/results").mkdir(parents=True)
    for r in [*seeds("concat", 0.5, 0.6), *seeds("sum", 0.4, 0.5), *seeds("sum@a=1", 0.3, 0.5)]:
        r.save(tmp_path / f"toy/results/{r.strategy}.{r.seed}.json")
    (tmp_path / "docs").mkdir()
    page, out = tmp_path / "docs/page.md", tmp_path / "made/all"
    (tmp_path / "made").mkdir()
    stale = tmp_path / "made/all-toy-rule.svg"
    stale.write_text("of a former run")
    monkeypatch.setattr(sys, "argv", ["study.py", str(tmp_path / "toy"), "--out", str(out), "--readme", str(page)])
    page.write_text("no place\n")
    with pytest.raises(InputError, match="no place for toy: two lines, '<!-- toy: begin -->'"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    page.write_text("before\n<!-- toy: begin -->\nold\n<!-- toy: end -->\nafter\n")
    runpy.run_path(str(SCRIPT), run_name="__main__")
    text = page.read_text()
    assert text.startswith("before\n<!-- toy: begin -->\n| strategy |") and text.endswith("<!-- toy: end -->\nafter\n")
    assert "| sum | 2 | 0.001 | 45.00 +- 5.00 | -10.00 (-10.00 to -10.00) | 20.0 | 30.0 | 31.0 | 1,000 |" in text
    assert "| sum@a=1 | sum | -5.00 (" in text and "old" not in text
    for path in re.findall(r'src="([^"]+)"', text):
        assert (page.parent / path).is_file(), path
    assert "../made/all-toy-accuracy.svg" in text and not stale.exists()
    assert (
        "- What the rule changes: needs 2 strategies with and without the rule; 0 so far."
        in out.with_suffix(".md").read_text()
    )


def test_the_committed_page_says_what_the_committed_results_say() -> None:
    script = runpy.run_path(str(SCRIPT))
    readme, out = ROOT / "benchmarks/README.md", ROOT / "benchmarks/results/strategies"
    text = readme.read_text(encoding="utf-8")
    stale = "stale: run the command with --readme in the head of benchmarks/strategies/study.py"
    names = [folder.parent.name for folder in sorted((ROOT / "benchmarks/results").glob("*/results"))]
    assert "planted-2" in names
    for name in names:
        results = read_results(ROOT / f"benchmarks/results/{name}/results")
        made = script["block"](results, drawings.plots(results), script["seen_from"](readme, out, name))
        assert script["fresh"](text, name, made) == text, stale
    for path in re.findall(r'src="(results/strategies[^"]+)"', text):
        assert (readme.parent / path).is_file(), stale


def drawn(runs: list[RunResult], name: str) -> Plot:
    plot = drawings.plots(runs)[name][1]
    assert isinstance(plot, Plot), plot
    return plot


def test_rows_of_one_seed_have_no_spread() -> None:
    one = replace(run("concat", 0.5), figures={})
    svg = drawings.accuracy(rank([one])).drawing
    (line,) = shapes(svg, "line", "link")
    assert line.get("x1") == line.get("x2")
