"""The figures that a benchmark keeps of a dissection: means over stages, balances; also where a stream is not there."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.bench.figures import ATOMS, dissected, figures
from fusionzoo.data import Planted
from fusionzoo.dissect import dissect
from fusionzoo.models import create_model

TWO = {"cka gap", "redundant", "unique_rgb", "unique_x", "semantic variance", "consistent", "shapley rgb", "shapley x",
       "interaction", "balance shares", "balance streams"}  # fmt: skip


@pytest.mark.parametrize(("name", "there"), [("rgb_only", {"shapley rgb"}), ("late", {"shapley x"})])
def test_a_model_without_a_fused_feature_has_the_other_figures(name: str, there: set[str]) -> None:
    torch.manual_seed(0)
    data = Planted("val", n=6, size=(32, 48))
    found = dissected(create_model(f"{name}_mobilenetv1-025_fpn", num_classes=12), data, limit=6)
    assert there <= set(found) and all(math.isfinite(v) for v in found.values())
    if name == "rgb_only":
        assert found["shapley x"] == pytest.approx(0, abs=1e-9) and "cka gap" not in found


def test_means_and_balances_are_what_their_names_say() -> None:
    torch.manual_seed(0)
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=12)
    d = dissect(model, Planted("val", n=6, size=(32, 48)), progress=False)
    found = figures(d)
    assert set(found) >= TWO and all(math.isfinite(v) for v in found.values())
    curve = [m.value for m in d.over_stages()["unique_rgb"] if m.value is not None]
    assert found["unique_rgb"] == pytest.approx(sum(curve) / len(curve))
    own, shared = max(found["unique_rgb"], 0) + max(found["unique_x"], 0), max(found["redundant"], 0)
    share = shared / (own + shared)
    assert found["balance shares"] == pytest.approx(1 - (2 * share - 1) ** 2)
    least, most = sorted(max(found[f"unique_{s}"], 0) for s in ("rgb", "x"))
    assert found["balance streams"] == pytest.approx(2 * least / (least + most))
    told = [row.concepts.shares for row in d.results["information"].stages if row.concepts]
    synergistic = [shares.synergistic.value for shares in told]
    assert found["pid synergistic"] == pytest.approx(sum(synergistic) / len(synergistic))
    assert sum(found[f"pid {atom}"] for atom in ATOMS) == pytest.approx(1)
