"""Rank correlations and their intervals against SciPy; the page of a benchmark."""

from __future__ import annotations

import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fusionzoo.bench import BenchProtocol, RunResult, Score
from fusionzoo.bench.page import html
from fusionzoo.bench.plots import pareto, scatter
from fusionzoo.bench.study import comparable, correlations, row_means, spearman
from fusionzoo.errors import InputError
from fusionzoo.tasks import CLASSIFICATION

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "benchmarks/strategies/study.py"))
agreement, partial, budget = SCRIPT["agreement"], SCRIPT["partial"], SCRIPT["budget"]


def made(count: int = 12, seeds: int = 3) -> list[RunResult]:
    """Strategies whose CKA gap predicts mIoU with noise, and whose cost does not."""
    rng = np.random.default_rng(0)
    out = []
    for i in range(count):
        gapped = float(rng.uniform())
        for seed in range(seeds):
            miou = 0.5 + 0.2 * gapped + 0.01 * float(rng.normal())
            scores = {"both": Score(miou, 0.9, [miou, 0.4]), "without_x": Score(miou / 2, 0.5, [0.1, 0.1]),
                      "holes_x": Score(miou - 0.1, 0.5, [0.1, 0.1])}  # fmt: skip
            out.append(RunResult(
                BenchProtocol("toy"), f"way{i}" if i else "concat", "final", seed, 1e-3, scores, 1000 + 17 * i, 0.1 + i,
                60.0, "planted-2", 20, ["poster", "and"], {"poster": "rgb", "and": "joint: and"}, peak_mb=3.0,
                latency_ms=5.0, latency_ratio=1.0 + i, figures={"cka gap": gapped, "cka gap stage 1": 0.0},
            ))  # fmt: skip
    ruled = [replace(r, strategy="concat+rule") for r in out if r.strategy == "concat"]
    return [*out, *ruled]


def test_spearman_equals_scipy_ties_included() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 6, 30), rng.normal(size=30)
    rho, low, high = spearman(a.tolist(), b.tolist())
    assert rho == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-9)
    found = stats.bootstrap(
        (a, b), lambda u, v: stats.spearmanr(u, v).statistic, paired=True, vectorized=False, method="percentile",
        n_resamples=400, rng=np.random.default_rng(2),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.08)
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3])[0])
    with pytest.raises(InputError, match="3 pairs"):
        spearman([1, 2], [1, 2])


def test_twins_and_single_modalities_do_not_count_as_strategies() -> None:
    """They would narrow the intervals, and make any two rankings agree."""
    one = made(1)[0]
    names = ("concat", "concat+rule", "hybrid_trust@trust=false", "rgb_only", "x_only", "early", "late",
             "published-mfnet")  # fmt: skip
    rows = [replace(one, strategy=n, scores={"both": Score(0.5 + i / 100, 0.9)}) for i, n in enumerate(names)]
    assert [r.strategy for r in comparable(rows)] == ["concat", "early", "late"]


def test_one_model_under_two_names_counts_once() -> None:
    """FuseNet's and RedNet's rules are one; alike in one seed, or in one condition, is not the same model."""
    scores = [{"both": Score(miou, 0.9), "without_x": Score(0.1, 0.9)} for miou in (0.5, 0.6, 0.7)]
    other = {"both": Score(0.5, 0.9), "without_x": Score(0.2, 0.9)}
    one = made(1)[0]
    rows = [replace(one, strategy=n, seed=k, scores=scores[k]) for n in ("fusenet", "rednet") for k in (0, 1)]
    rows += [replace(one, strategy="sum", seed=k, scores=scores[2 * k]) for k in (0, 1)]
    rows += [replace(one, strategy="gate", seed=k, scores=(other, scores[1])[k]) for k in (0, 1)]
    assert [(r.strategy, r.seed) for r in comparable(rows)] == [
        (name, k) for name in ("fusenet", "sum", "gate") for k in (0, 1)
    ]


def test_what_predicts_is_found_with_its_number_of_strategies() -> None:
    found = {(c.figure, c.target): c for c in correlations(made())}
    gapped = found["cka gap", "mIoU"]
    assert gapped.rho > 0.9 and gapped.low > 0.5 and gapped.n == 12
    assert ("cka gap stage 1", "mIoU") not in found and ("mIoU", "mIoU") not in found
    assert found["parameters", "inputs damaged"].low < 0 < found["parameters", "inputs damaged"].high
    assert correlations(made(3)) == []
    assert row_means(made(1))["concat"]["a modality missing"] == pytest.approx(row_means(made(1))["concat"]["mIoU"] / 2)


def test_a_correlation_with_a_third_held_equal_equals_the_closed_form() -> None:
    a, b, c = np.random.default_rng(4).normal(size=(3, 25))
    b, c = b + a, c + a
    ab, ac, bc = (stats.spearmanr(u, v).statistic for u, v in ((a, b), (a, c), (b, c)))
    rho, low, high = partial(a.tolist(), b.tolist(), c.tolist())
    assert rho == pytest.approx((ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2)), abs=1e-9) and low < rho < high


def test_rankings_agree_over_the_strategies_that_both_hold() -> None:
    one = made()
    other = [replace(r, scores={"both": Score(1 - r.scores["both"].miou, 0.5)}) for r in one if r.strategy != "way3"]
    (found,) = agreement({"planted": one, "nyu": other})
    assert (found.rho, found.n, found.one, found.two) == (-1.0, 11, "planted", "nyu")
    assert agreement({"planted": one, "nyu": other[:9]}) == []


def test_fewer_epochs_are_compared_with_all_by_the_best_rate_of_each_strategy() -> None:
    whole = [replace(r, learning_rate=2e-3) for r in made(6)]
    assert budget(whole) is None
    final = {r.strategy: r.scores["both"].miou for r in whole if r.seed == 0}
    tried = []
    for i, (name, miou) in enumerate(final.items()):  # the worst rate ranks them by name, the best as the final runs do
        for rate, score in ((1e-3, 0.01 * i), (2e-3, miou / 2)):
            one = next(r for r in whole if r.strategy == name)
            short = {"both": Score(score, 0.5)}
            tried.append(replace(one, phase="select", seed=1000, learning_rate=rate, scores=short))
    found = budget([*whole, *tried])
    means = row_means(whole)
    names = [n for n in final if "+" not in n]
    want = stats.spearmanr([final[n] for n in names], [means[n]["mIoU"] for n in names]).statistic
    assert (found["n"], found["rho"]) == (6, pytest.approx(want)) and found["epochs"] == [8, 8]
    assert found["scores"]["way2"] == pytest.approx({1e-3: 0.02, 2e-3: final["way2"] / 2})
    assert list(found["scores"])[0] == max(means, key=lambda n: means[n]["mIoU"])
    few = budget([r for r in (*whole, *tried) if r.strategy in ("concat", "way1")])
    assert few["rho"] is None and few["n"] == 2 and len(few["scores"]) == 2


def test_the_study_of_several_benchmarks_is_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_scenes = [replace(r, task=CLASSIFICATION) for r in made(8)]
    for name, runs in (("one", made()), ("two", of_scenes)):
        (tmp_path / name / "results").mkdir(parents=True)
        for i, r in enumerate(runs):
            row = {"way1": "cmx", "way2": "sum", "way3": "hybrid_trust", "way4": "hybrid_trust@trust=false"}
            replace(r, strategy=row.get(r.strategy, r.strategy)).save(tmp_path / name / "results" / f"{i}.json")
    words = ["study.py", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "study")]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(ROOT / "benchmarks/strategies/study.py"), run_name="__main__")
    text, numbers = (tmp_path / "study.md").read_text(), json.loads((tmp_path / "study.json").read_text())
    assert "hybrid_trust@trust=false | hybrid_trust" in text and "cka gap" in text
    one, two = text.split("## two")
    assert "| mIoU |" in one and "balanced accuracy" not in one
    assert "| balanced accuracy |" in two and "mIoU" not in two.partition("## Do the rankings")[0]
    assert "balanced accuracy by strategy" in (tmp_path / "study-two-accuracy.svg").read_text()
    assert numbers["agreement"][0]["n"] == 7 and set(numbers["benchmarks"]) == {"one", "two"}


def test_the_page_stands_alone_and_shows_every_row() -> None:
    page = html(made(), {"dformer": "its encoder is <of> another shape"}, "concat")
    assert len(page) < 3e6 and "<script" not in page and not re.search(r'(src|href)="', page)
    for name in ("way11", "concat+rule", "joint: and".removeprefix("joint: "), "&lt;of&gt;", "cka gap", "peak MB"):
        assert name in page, name
    assert page.count("<svg") >= 8 and "The rule lifts 0 of 1" in page
    with pytest.raises(InputError, match="no final run"):
        html([replace(r, phase="select") for r in made(2)])


def test_one_run_alone_makes_a_page() -> None:
    one = replace(made(1)[0], figures={}, concepts={}, latency_ratio=None, latency_ms=None, peak_mb=None)
    assert "First is concat" in html([one])


def test_the_front_is_what_no_other_beats() -> None:
    rng = np.random.default_rng(3)
    points = [(str(i), float(c), float(s)) for i, (c, s) in enumerate(rng.uniform(1, 9, (40, 2)))]
    want = {a for a, c, s in points if not any(c2 <= c and s2 >= s and b != a for b, c2, s2 in points)}
    assert set(pareto(points)) == want
    drawing = scatter("k", "t", "d", points, "cost")
    assert all(f">{name}<" in drawing for name in want)
