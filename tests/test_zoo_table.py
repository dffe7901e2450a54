"""The table of published models: fresh, complete, and equal to counts that were made on the originals."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fusionzoo.models import create_model, list_models
from fusionzoo.models.published._ensemble import StreamEnsemble
from fusionzoo.models.published._segformer_head import SegFormerHead
from fusionzoo.registry import architectures

# 10^9 multiply-accumulates at 480x640 and parameters, measured on the original modules
ORIGINALS = {
    "cmx_mit_b0": (15.3, 11_201_008),
    "cmx_mit_b2": (78.2, 66_581_424),
    "cmx_mit_b5": (196.0, 181_074_864),
    "acnet_resnet50": (115.6, 116_628_168),
    "rednet_resnet50": (91.2, 81_970_233),
    "esanet_r34_nbt1d": (45.1, 46_955_840),
    "cen_resnet101": (617.9, 118_201_578),
    "cen_resnet152": (663.3, 133_891_306),
    "tokenfusion_mit_b0": (19.6, 4_048_794),
    "tokenfusion_mit_b3": (110.2, 45_917_306),
    "gemini_mit_b3": (154.5, 74_551_274),
    "gemini_mit_b5": (284.1, 137_209_322),
    "cmnext_mit_b2": (74.1, 58_694_225),
    "asymformer_b0t": (42.5, 33_059_576),
    "dformer_tiny": (14.8, 6_003_912),
    "dformer_small": (28.7, 18_747_144),
    "dformer_base": (45.2, 29_524_840),
    "dformer_large": (69.0, 39_030_392),
    "dformerv2_s": (40.6, 26_686_018),
    "dformerv2_b": (77.2, 53_923_050),
    "dformerv2_l": (135.4, 95_266_426),
    "stitchfusion_mit_b2": (73.5, 28_384_601),
    "mfnet": (8.3, 736_275),
    "rtfnet_r50": (198.6, 185_238_501),
    "rtfnet_r152": (289.5, 254_510_053),
    "emsaformer": (53.6, 52_576_384),
    "emsaformer_emsanet": (64.7, 70_800_120),
    "hdbformer_swin_base": (142.6, 104_364_696),
    "tuni_s": (17.0, 10_635_761),
    "tuni_v2_t": (10.7, 4_993_209),
    "tuni_v2_b": (42.4, 29_570_441),
}


@pytest.fixture(scope="module")
def bench(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("zoo_table", root / "benchmarks/zoo.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo_table"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(bench: ModuleType) -> dict[str, dict[str, Any]]:
    return json.loads(bench.RESULTS.read_text())["models"]


def test_the_table_is_fresh_and_complete(bench: ModuleType, stored: dict[str, Any], root: Path) -> None:
    text = (root / "fusionzoo/models/README.md").read_text(encoding="utf-8")
    assert text == bench.fresh_table(text, stored), "stale: run python benchmarks/zoo.py --table-only"
    assert set(list_models()) >= set(stored)
    assert list(stored) == list(architectures), "run python benchmarks/zoo.py"
    assert set(bench.CLAIMED) | set(bench.NOTES) | set(bench.MACS) <= set(stored)


def test_claims_say_split_and_protocol(bench: ModuleType, stored: dict[str, Any]) -> None:
    """No empty cell: what is not stated says so. Of the indoor sets there is a test split alone."""
    header, _, *lines = bench.claims(stored).strip().splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        "model", "data", "mIoU claimed", "split", "protocol", "note",
    ]  # fmt: skip
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len(rows) == sum(map(len, bench.CLAIMED.values()))
    assert all(split in {"test", "validation", "not stated"} and protocol for _, _, _, split, protocol, _ in rows)
    assert {split for _, data, _, split, _, _ in rows if data in ("NYUv2", "SUN RGB-D")} == {"test"}
    assert ["hdbformer_swin_base", "NYUv2", "59.3", "test", "MS + flip", ""] in rows
    assert ["cmx_mit_b2", "NYUv2", "54.1", "test", "SS", ""] in rows


def spared(name: str) -> float:
    """10^9 products that SegFormer's head spares: the original's joining convolution (4 E -> E) runs at the finest
    size; here its parts are multiplied with the projections once, and each map is convolved at its own size."""
    with torch.device("meta"):
        model = create_model(name)
    head = getattr(model, "decoder", None)
    if not isinstance(head, SegFormerHead):
        return 0.0
    width, widths = head.join.out_channels, [layer.in_features for layer in head.project]
    streams = 2 if isinstance(model, StreamEnsemble) else 1  # both streams pass as one batch
    return width**2 * (streams * len(widths) * 120 * 160 - sum(widths)) / 1e9


def test_counts_are_the_originals(bench: ModuleType, stored: dict[str, Any]) -> None:
    assert {name: bench.ORIGINALS[name] for name in ORIGINALS} == {n: gmacs for n, (gmacs, _) in ORIGINALS.items()}
    for name, (gmacs, params) in ORIGINALS.items():
        assert stored[name]["params"] == params, name
        # both are rounded to 0.1; some forms here need a few products less than the original's
        ours = stored[name]["gmacs"] + spared(name)
        assert ours == pytest.approx(gmacs, rel=2.5e-3, abs=0.1), name
    assert spared("cmx_mit_b2") == pytest.approx(19.86, abs=0.01) and spared("mfnet") == 0


@pytest.mark.parametrize("name", ["mfnet", "dformer_tiny", "cmx_mit_b0", "rtfnet_r18", "sigma_tiny"])
def test_stored_counts_are_measured(name: str, bench: ModuleType, stored: dict[str, Any]) -> None:
    assert bench.measure(name) == stored[name]


@pytest.mark.slow
def test_all_stored_counts_are_measured(bench: ModuleType, stored: dict[str, Any]) -> None:
    for name, found in stored.items():
        assert bench.measure(name) == found, name
