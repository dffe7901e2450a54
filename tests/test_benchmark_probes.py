"""The probe benchmark runs, strips what it says, and its committed result says how it was made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = {"nothing attached", "reducer at fused", "reducer at all", "tape at all"}


def check(result: dict) -> None:
    assert result["format_version"] == 1 and result["benchmark"] == "speed/probes"
    assert result["command"].startswith("python benchmarks/speed/probes.py")
    needed = {"cpu", "cores", "threads", "load_average", "python", "torch", "fusionzoo", "commit"}
    assert needed <= set(result["machine"])
    nodes = result["graph_nodes"]
    assert nodes["without probes"] == nodes["nothing attached"] > 100
    for kind in ("cpu", "wall"):
        assert set(result["ratio_to_without_probes"][kind]) == VARIANTS
        assert set(result["milliseconds"][kind]) == VARIANTS | {"without probes"}
        for ratio in result["ratio_to_without_probes"][kind].values():
            assert ratio["quartile_1"] <= ratio["median"] <= ratio["quartile_3"]
            assert 0.2 < ratio["median"] < 20
    assert result["probes"] > 40 and result["reducer_probes"]["reducer at fused"] >= 4


@pytest.mark.slow
def test_it_runs(tmp_path):
    out = tmp_path / "probes.json"
    command = [sys.executable, "benchmarks/speed/probes.py", "--size", "64", "64", "--rounds", "2", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "graph nodes" in done.stdout and "nothing attached" in done.stdout
    check(json.loads(out.read_text(encoding="utf-8")))


def test_the_committed_result():
    result = json.loads((ROOT / "benchmarks" / "results" / "probes.json").read_text(encoding="utf-8"))
    check(result)
    assert result["input"] == [1, 3, 240, 320] and result["model"] == "hybrid_mobilenetv1-025_fpn"
    assert result["idle_share_of_forward"] < 0.01
    assert result["ratio_to_without_probes"]["cpu"]["nothing attached"]["median"] < 1.01
