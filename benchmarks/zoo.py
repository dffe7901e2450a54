"""Sizes of the published models, measured on the meta device, and their table in fusionzoo/models/README.md.

    python benchmarks/zoo.py                      # counts again: benchmarks/results/zoo.json, and the table
    python benchmarks/zoo.py --names "cmx_*"      # only these, the rest as it is in the file
    python benchmarks/zoo.py --table-only

Parameters: all learnable numbers at the published number of classes. Multiply-accumulates: half of what
`torch.utils.flop_counter` counts (convolutions, matrix products, fused attention) for one 480x640 pair in evaluation.
A selective scan has none of these: Sigma's count would be too low and is left out. CLAIMED holds what the originals'
papers and read-me files say: multiply-accumulates in units of 10^9, and mIoU in points on NYU Depth v2 (40 classes) and
SUN RGB-D (37), single scale where two are given. They are claims about the originals' weights, not measured by us.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.files import atomic_write, dump_json
from fusionzoo.hub.markdown import grid
from fusionzoo.models import create_model
from fusionzoo.registry import architectures

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/zoo.json"
SIZE = (480, 640)
BEGIN, END = "<!-- zoo: begin -->", "<!-- zoo: end -->"

ORIGINALS: dict[str, float] = {
    "acnet_resnet50": 115.6, "asymformer_b0t": 42.5, "cen_resnet101": 617.9, "cen_resnet152": 663.3,
    "cmnext_mit_b2": 74.1, "cmx_mit_b0": 15.3, "cmx_mit_b2": 78.2, "cmx_mit_b4": 157.9, "cmx_mit_b5": 196.0,
    "dformer_base": 45.2, "dformer_large": 69.0, "dformer_small": 28.7, "dformer_tiny": 14.8, "dformerv2_b": 77.2,
    "dformerv2_l": 135.4, "dformerv2_s": 40.6, "dplnet_mit_b2": 77.5, "dplnet_mit_b5": 136.7, "dveformer": 136.4,
    "emsaformer": 53.6, "emsaformer_emsanet": 64.7,
    "esanet_r34_nbt1d": 45.1, "gemini_mit_b3": 154.5, "gemini_mit_b5": 284.1, "hdbformer_swin_base": 142.6,
    "mfnet": 8.3, "rednet_resnet50": 91.2,
    "rtfnet_r152": 289.5, "rtfnet_r50": 198.6, "sagate_resnet101": 192.6, "stitchfusion_mit_b2": 73.5,
    "tokenfusion_mit_b0": 19.6, "tokenfusion_mit_b2": 65.6, "tokenfusion_mit_b3": 110.2, "tuni_s": 17.0,
    "tuni_v2_b": 42.4, "tuni_v2_t": 10.7,
}  # fmt: skip
"""10^9 multiply-accumulates counted the same way on the original modules."""

# name -> (claimed 10^9 multiply-accumulates, NYU Depth v2 mIoU, SUN RGB-D mIoU); None: not stated
Claim = tuple[float | None, float | None, float | None]
CLAIMED: dict[str, Claim] = {
    "acnet_resnet50": (126.7, 48.3, 48.1),
    "asymformer_b0t": (39.4, 54.1, 49.1),
    "cen_resnet101": (618.7, 51.1, 50.2),
    "cen_resnet152": (664.4, 51.6, 51.1),
    "cmnext_mit_b4": (131.9, 56.9, 51.9),
    "cmx_mit_b2": (67.6, 54.1, 49.7),
    "cmx_mit_b4": (134.3, 56.0, 52.1),
    "cmx_mit_b5": (167.8, 56.8, 52.4),
    "dformer_tiny": (11.8, 51.8, 48.8),
    "dformer_small": (25.6, 53.6, 50.0),
    "dformer_base": (41.9, 55.6, 51.2),
    "dformer_large": (65.7, 57.2, 52.5),
    "dformerv2_s": (33.9, 56.0, 51.5),
    "dformerv2_b": (67.2, 57.7, 52.8),
    "dformerv2_l": (124.1, 58.4, 53.3),
    "dplnet_mit_b5": (None, 58.3, 52.1),
    "esanet_r34_nbt1d": (None, 50.3, 48.17),
    "gemini_mit_b3": (138.2, 56.8, 52.7),
    "gemini_mit_b5": (256.1, 57.7, 53.3),
    "gemini_swin_large_384": (None, 60.2, 54.8),
    "multimae_base": (267.9, 56.0, 51.1),
    "rednet_resnet50": (None, None, 47.8),
    "sagate_resnet101": (193.7, 51.4, 49.4),
    "sigma_tiny": (None, 53.9, 50.0),
    "sigma_small": (None, 57.0, 52.4),
    "tokenfusion_mit_b2": (55.2, None, None),
    "tokenfusion_mit_b3": (94.4, 54.8, 51.0),
}
NOTES = {
    "acnet_resnet50": "protocol not stated",
    "cen_resnet101": "single scale",
    "dplnet_mit_b5": "encoder frozen, from ADE20K: 7,146,271 parameters learn; 59.3 with several scales",
    "multimae_base": "claimed count is for 640x640",
    "rednet_resnet50": "SUN figure not found in the repository",
    "sagate_resnet101": "the original counts its auxiliary head; 52.4 with several scales and flip",
    "sigma_tiny": "mIoU with several scales and flip",
    "sigma_small": "mIoU with several scales and flip",
    "stitchfusion_mit_b2": "two modalities; DELIVER 65.8 claimed with depth, 68.2 with all four",
}
UNCOUNTED = ("sigma_*",)


def measure(name: str) -> dict[str, Any]:
    """{"params", "gmacs", "classes", "x_channels"} of one model, without storage."""
    with torch.device("meta"):
        model = create_model(name).eval()
        inputs = torch.empty(1, 3, *SIZE), torch.empty(1, model.x_channels, *SIZE)
    out: dict[str, Any] = {
        "params": sum(p.numel() for p in model.parameters()),
        "classes": model.num_classes,
        "x_channels": model.x_channels,
    }
    if not any(fnmatch.fnmatchcase(name, pattern) for pattern in UNCOUNTED):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(*inputs)
        out["gmacs"] = round(counter.get_total_flops() / 2e9, 1)
    return out


def table(results: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown."""
    rows = []
    for name, found in results.items():
        macs, nyu, sun = CLAIMED.get(name, (None, None, None))
        counts = (found.get("gmacs"), ORIGINALS.get(name), macs, nyu, sun)
        shown = ["" if v is None else f"{v:.1f}" for v in counts]
        rows.append([name, f"{found['params']:,}", *shown, NOTES.get(name, "")])
    columns = ["model", "parameters", "GMACs", "original", "claimed", "NYUv2 claimed", "SUN claimed", "note"]
    return grid(columns, rows, "<>>>>>><")


def fresh_table(text: str, results: dict[str, dict[str, Any]]) -> str:
    """`text` with the table between its markers made anew."""
    start, stop = text.index(BEGIN) + len(BEGIN), text.index(END)
    return text[:start] + "\n" + table(results) + text[stop:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--names", default="*")
    parser.add_argument("--table-only", action="store_true")
    args = parser.parse_args()
    stored = json.loads(RESULTS.read_text())["models"] if RESULTS.is_file() else {}
    results = {}
    for name in architectures:
        again = not args.table_only and fnmatch.fnmatchcase(name, args.names)
        results[name] = measure(name) if again or name not in stored else stored[name]
        print(name, results[name], flush=True)
    environment = {"python": platform.python_version(), "torch": torch.__version__, "device": "meta"}
    atomic_write(RESULTS, dump_json({"size": list(SIZE), "environment": environment, "models": results}))
    path = ROOT / "fusionzoo/models/README.md"
    atomic_write(path, fresh_table(path.read_text(encoding="utf-8"), results))


if __name__ == "__main__":
    main()
