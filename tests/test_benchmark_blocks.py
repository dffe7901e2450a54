"""The benchmark of blocks and models: what it picks, times and reports, without running it at full size."""

from __future__ import annotations

import doctest
import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fusionzoo.registry import architectures

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("blocks_benchmark", ROOT / "benchmarks/speed/blocks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["blocks_benchmark"] = module
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks/speed")
        spec.loader.exec_module(module)
    return module


def test_examples_in_its_text(bench: ModuleType) -> None:
    found = doctest.testmod(bench)
    assert found.attempted >= 4 and found.failed == 0


def test_one_model_of_each_family(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.parameters("mfnet") == 736_275
    asked: list[str] = []
    sizes = {"cmx_mit_b0": 3, "cmx_mit_b1": 2}

    def parameters(name: str) -> int:
        asked.append(name)
        return sizes.get(name, 4)

    monkeypatch.setattr(bench, "parameters", parameters)
    found = bench.smallest()
    groups = bench.families(architectures)
    assert sorted(name for names in groups.values() for name in names) == sorted(architectures)
    assert len(found) == len(groups) == len(set(found)) < len(architectures)
    assert "cmx_mit_b1" in found and not {"cmx_mit_b0", "cmx_mit_b2"} & set(found)
    assert "mfnet" in found and "mfnet" not in asked  # nothing to choose from


def test_names_by_pattern(bench: ModuleType) -> None:
    pick = lambda *line: bench.chosen(bench.parse(list(line)))  # noqa: E731
    assert pick("--blocks", "cm*", "sum", "--models", "none") == (["sum", "concat", "cmnext", "cmx"], [])
    assert pick("--blocks", "none", "--models", "mfnet") == ([], ["mfnet"])
    assert len(pick("--models", "*")[1]) == len(architectures)
    for line in (("--blocks", "cmy"), ("--models", "mfnetz")):
        with pytest.raises(SystemExit, match=f"matches {line[1]}"):
            pick(*line)


@pytest.mark.parametrize(("short", "first_counts", "runs"), [(0.0, True, 1), (0.0, False, 4), (math.inf, True, 4)])
def test_only_short_passes_repeat(
    short: float, first_counts: bool, runs: int, bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "SHORT", short)
    ticks = iter(range(100))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(next(ticks) ** 2))  # 1, 5, 9, 13 between pairs
    monkeypatch.setattr(bench.time, "process_time", lambda: 0.0)
    done: list[int] = []
    wall, cpu = bench.timed(lambda: done.append(1), 3, first_counts, lambda: None)
    assert len(done) == runs and cpu == 0
    assert wall == (1 if runs == 1 else 9)  # the first alone, or the median without it


def test_rounds_shuffle_and_leave_out_what_failed(bench: ModuleType) -> None:
    cases = [bench.Case(k, n, False, (8, 8), "cpu", 1) for k, n in (("block", "a"), ("block", "b"), ("model", "m"))]
    asked: list[str] = []

    def ask(case: object, calls: int) -> object:
        asked.append(case.name)
        return "out of memory" if case.name == "b" else {"forward": {"wall": float(len(asked))}}

    found, failed = bench.run_all(cases, {"block": 4, "model": 2}, 3, ask)
    assert sorted(asked) == ["a"] * 4 + ["b"] + ["m"] * 2
    assert asked[2:] != ["a", "b", "m"]
    assert {c.name: len(f) for c, f in found.items()} == {"a": 4, "m": 2}
    assert {c.name: why for c, why in failed.items()} == {"b": "out of memory"}


def test_no_round_begins_that_would_end_too_late(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: clock[0])
    block, model = (bench.Case(kind, "a", False, (8, 8), "cpu", 1) for kind in ("block", "model"))

    def ask(case: object, calls: int) -> object:
        clock[0] += 10 if case.kind == "block" else 100
        return {}

    for seconds, rounds in ((5, 1), (119, 1), (120, 2), (135, 3), (math.inf, 6)):  # the model runs in the first alone
        clock[0] = 0.0
        found, _ = bench.run_all([block, model], {"block": 6, "model": 1}, 1, ask, seconds)
        assert (len(found[block]), len(found[model])) == (rounds, 1)


def test_ratios_are_taken_within_a_round(bench: ModuleType) -> None:
    def figures(seconds: float, peak: float) -> dict:
        return {m: {"wall": seconds, "cpu": seconds / 2, "peak": peak} for m in bench.MODES}

    base, other = (bench.Case("block", n, False, (8, 8), "cpu", 1) for n in ("sum", "other"))
    found = {base: [figures(s, 1.0) for s in (1.0, 2.0, 4.0)], other: [figures(s, s) for s in (3.0, 4.0, 20.0)]}
    rows = {r["name"]: r for r in bench.summary(found, [base])}
    step = rows["other"]["step"]
    assert step["wall"] == {"median": 4000.0, "min": 3000.0, "max": 20000.0}
    assert step["ratio"] == {"sum": {k: {"median": 3.0, "min": 2.0, "max": 5.0} for k in bench.KINDS}}
    assert step["peak_mib"] == 20.0 and rows["sum"]["step"]["ratio"]["sum"]["wall"]["max"] == 1.0
    text = bench.table(list(rows.values()), "blocks")
    assert "3.00 x sum" in text and "20 MiB" in text and len(text.splitlines()) == 3


def test_a_block_is_its_strategy_at_four_levels(bench: ModuleType) -> None:
    case = bench.Case("block", "cmx", False, (33, 64), "cpu", torch.get_num_threads())
    module, inputs = bench.build(case)
    assert [tuple(t.shape) for t in inputs[::2]] == [(1, 64, 9, 16), (1, 128, 5, 8), (1, 320, 3, 4), (1, 512, 2, 2)]
    assert [b.level for b in module.blocks] == [2, 3, 4, 5] and not module.training
    assert [tuple(o.shape) for o in module(*inputs)[::3]] == [tuple(t.shape) for t in inputs[::2]]
    assert len(bench.Pyramid("sum")(*inputs)) == 4  # streams that pass unchanged are no output


def test_what_is_measured_and_what_runs_out_of_memory(bench: ModuleType) -> None:
    case = bench.Case("block", "concat", False, (64, 64), "cpu", torch.get_num_threads())
    found = bench.measure(case, 1)
    assert list(found) == list(bench.MODES)
    assert all(set(f) == {"wall", "cpu", "peak"} and f["wall"] > 0 for f in found.values())
    with pytest.raises(RuntimeError) as caught:
        bench.measure(case._replace(size=(2_000_000, 2_000_000)), 1)
    assert bench.reason(caught.value) == "out of memory"
    assert bench.reason(ValueError("a\nb")) == "ValueError: a" and "out of memory" in bench.died(-9)


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    out = tmp_path / "blocks.json"
    line = "--size 64 96 --rounds 2 --model-rounds 1 --blocks gate --models mfnet --device cpu --threads 1".split()
    command = [sys.executable, "benchmarks/speed/blocks.py", *line, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    assert result["format_version"] == 1 and result["benchmark"] == "speed/blocks"
    assert result["command"].startswith("python benchmarks/speed/blocks.py --size")
    assert result["setting"]["input"] == [1, 64, 96] and result["setting"]["levels"]["5"]["channels"] == 512
    assert {"cpu", "cores", "load_average"} <= set(result["machine"]) and {"torch", "commit"} <= set(result["versions"])
    assert [r["name"] for r in result["blocks"]] == ["sum", "concat", "gate"] and result["failed"] == []
    assert [r["rounds"] for r in result["blocks"] + result["models"]] == [2, 2, 2, 1]
    assert "mfnet" in done.stdout
