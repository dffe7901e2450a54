"""The speed benchmarks run at small sizes and say how their numbers were made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


def run(name: str, out: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, f"benchmarks/speed/{name}.py", *options, "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    assert result["benchmark"] == f"speed/{name}"
    assert result["command"].startswith(f"python benchmarks/speed/{name}.py --")
    assert {"cpu", "cores", "load_average"} <= set(result["machine"])
    assert {"python", "torch", "fusionzoo", "commit"} <= set(result["versions"])
    return result


def test_similarity(tmp_path: Path) -> None:
    options = ("--images", "16", "--size", "64", "--batch", "8", "--rounds", "1", "--threads", "1")
    result = run("similarity", tmp_path / "s.json", *options)
    assert result["numbers"]["fusionzoo"]["max_error"]["median"] < 1e-6
    assert result["ratios"]["fusionzoo_over_forward"]["cpu_s"]["median"] > 0


def test_concepts(tmp_path: Path) -> None:
    nowhere = ("--nyuv2", str(tmp_path / "nowhere"))
    result = run("concepts", tmp_path / "c.json", "--images", "24", "--seeds", "0", *nowhere)
    found = result["planted"]["numbers"]
    assert found["fast"]["val_set_iou"]["median"] > found["official"]["val_set_iou"]["median"] > 0
    assert result["planted"]["speedup_of_fast_over_official"]["cpu_s"]["median"] > 1
    assert "cost" not in result and "agreement" not in result


def test_concepts_on_nyuv2(tmp_path: Path) -> None:
    if not (ROOT / "../shared/data/nyuv2").is_dir():
        pytest.skip("no NYUv2 at ../shared/data/nyuv2")
    options = ("--seeds", "--nyuv2-images", "16", "--agreement-images", "16", "--rounds", "1")
    result = run("concepts", tmp_path / "c.json", *options)
    cost = result["cost"]
    assert cost["probe_points"] == 64 > cost["distinct_tensors"] == 48
    assert cost["times_each_image_is_fed"] == {"binary": 2.5, "raw": 1.5}
    raw = cost["numbers"]["raw"]
    assert raw["cpu_over_one_pass"]["median"] == pytest.approx(1.5 * raw["cpu_over_as_many"]["median"], rel=1e-3)
    agreement = result["agreement"]["fast_at_tau_0.005_and_net2vec"]
    assert -1 <= agreement["over_points_of_mean_iou"] <= 1 and result["agreement"]["limits"]


def test_scaling(tmp_path: Path) -> None:
    result = run("scaling", tmp_path / "g.json", "--scenes", "16", "32", "48", "--batch", "8")
    assert [run["scenes"] for run in result["runs"]] == [16, 32, 48]
    assert result["linear"][0] == result["linear"][2] == 0 and abs(result["linear"][1]) < 0.5


def test_trace(tmp_path: Path) -> None:
    options = ("--models", "concat_mobilenetv1-025_fpn", "--size", "64", "96", "--images", "2", "--rounds", "1")
    found = run("trace", tmp_path / "t.json", *options)["models"]["concat_mobilenetv1-025_fpn"]
    assert found["times_faster"]["cpu_s"]["median"] > 1 and found["largest_difference"] < 1e-6
    assert found["interventions"] > 60 and set(found["memory"]) == {"whole", "reuse"}


def test_gallery(tmp_path: Path) -> None:
    result = run("gallery", tmp_path / "p.json", "--scenes", "16", "--rounds", "1", "--tree", str(ROOT))
    assert result["numbers"]["pictures"]["page_mb"]["max"] < 3 and result["images"] > 1
    assert result["ratios"]["pictures_over_tree"]["cpu_s"]["median"] == pytest.approx(1, abs=0.5)
    assert result["numbers"]["bare"]["page_mb"]["median"] < result["numbers"]["tree"]["page_mb"]["median"]
