"""Sizes of the published models, measured on the meta device, and their tables in fusionzoo/models/README.md.

    python benchmarks/zoo.py                      # counts again: benchmarks/results/zoo.json, and the table
    python benchmarks/zoo.py --names "cmx_*"      # only these, the rest as it is in the file
    python benchmarks/zoo.py --table-only

Parameters: all learnable numbers at the published number of classes. Multiply-accumulates: half of what
`torch.utils.flop_counter` counts (convolutions, matrix products, fused attention) for one 480x640 pair in evaluation.
A selective scan has none of these: Sigma's count would be too low and is left out. MACS and CLAIMED hold what papers
and read-me files of the originals say: multiply-accumulates in units of 10^9, and mIoU in points with split and
protocol as far as they are stated. They are claims about the originals' weights, not measured by us.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import platform
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from fusionzoo.files import atomic_write, dump_json
from fusionzoo.hub.markdown import grid
from fusionzoo.models import create_model
from fusionzoo.registry import architectures

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/zoo.json"
SIZE = (480, 640)
SIZES = "<!-- zoo: begin -->", "<!-- zoo: end -->"
ACCURACY = "<!-- claims: begin -->", "<!-- claims: end -->"

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

MACS: dict[str, float] = {
    "acnet_resnet50": 126.7, "asymformer_b0t": 39.4, "cen_resnet101": 618.7, "cen_resnet152": 664.4,
    "cmnext_mit_b4": 131.9, "cmx_mit_b2": 67.6, "cmx_mit_b4": 134.3, "cmx_mit_b5": 167.8, "dformer_base": 41.9,
    "dformer_large": 65.7, "dformer_small": 25.6, "dformer_tiny": 11.8, "dformerv2_b": 67.2, "dformerv2_l": 124.1,
    "dformerv2_s": 33.9, "gemini_mit_b3": 138.2, "gemini_mit_b5": 256.1, "multimae_base": 267.9,
    "sagate_resnet101": 193.7, "tokenfusion_mit_b2": 55.2, "tokenfusion_mit_b3": 94.4,
}  # fmt: skip
"""10^9 multiply-accumulates as the originals state them."""


class Claim(NamedTuple):
    """A mIoU that an original states of its weights."""

    data: str
    miou: float
    protocol: str = ""
    """SS: one scale; MS: several scales and flip; "" where it is not stated."""
    split: str = ""
    """"" where it is not stated; NYU Depth v2 and SUN RGB-D have a test split alone."""
    note: str = ""


NYU, SUN = "NYUv2", "SUN RGB-D"
SS, MS, FLIP = "SS", "MS + flip", "flip (configuration)"


def indoor(nyu: float | None, sun: float | None, protocol: str = "", sun_protocol: str | None = None) -> list[Claim]:
    """Claims on NYU Depth v2 and SUN RGB-D."""
    second = protocol if sun_protocol is None else sun_protocol
    stated = ((NYU, nyu, protocol), (SUN, sun, second))
    return [Claim(data, miou, how) for data, miou, how in stated if miou is not None]


CLAIMED: dict[str, list[Claim]] = {
    "acnet_resnet50": indoor(48.3, 48.1),
    "asymformer_b0t": [Claim(NYU, 54.1, SS), Claim(NYU, 55.3, MS), Claim(SUN, 49.1)],
    "cen_resnet101": indoor(51.1, 50.2, SS),
    "cen_resnet152": indoor(51.6, 51.1, SS),
    "cmnext_mit_b4": [
        *indoor(56.9, None),
        Claim(SUN, 51.9, note="measured by DFormer's authors"),
        Claim("MFNet", 59.9, note="validation, as a user found, and 52.2 on test (DELIVER#5)"),
    ],
    "cmx_mit_b2": [Claim(NYU, 54.1, SS), Claim(NYU, 54.4, MS), Claim(SUN, 49.7), Claim("MFNet", 58.2),
                   Claim("ScanNet", 61.3)],
    "cmx_mit_b4": [Claim(NYU, 56.0, SS), Claim(NYU, 56.3, MS), Claim(SUN, 52.1), Claim("MFNet", 59.7),
                   Claim("EventScape", 64.28)],
    "cmx_mit_b5": [Claim(NYU, 56.8, SS), Claim(NYU, 56.9, MS), Claim(SUN, 52.4)],
    "dformer_tiny": indoor(51.8, 48.8, FLIP),
    "dformer_small": indoor(53.6, 50.0, FLIP),
    "dformer_base": indoor(55.6, 51.2, FLIP),
    "dformer_large": indoor(57.2, 52.5, FLIP),
    "dformerv2_s": indoor(56.0, 51.5, FLIP),
    "dformerv2_b": indoor(57.7, 52.8, FLIP),
    "dformerv2_l": indoor(58.4, 53.3, FLIP),
    "dplnet_mit_b5": [*indoor(58.3, 52.1, SS), *indoor(59.3, 52.8, MS), Claim("MFNet", 59.3), Claim("PST900", 86.7),
                      Claim("MVSeg", 57.9)],
    "dveformer": [*indoor(57.05, 51.28), Claim("ScanNet", 67.76, split="validation", note="linear probe, 20 classes")],
    "dveformer_reduced": indoor(56.28, 50.01),
    "emsaformer": [*indoor(50.23, 48.61), Claim("ScanNet", 64.75, split="test")],
    "emsaformer_emsanet": [*indoor(51.06, 48.52), Claim("ScanNet", 63.78, split="test")],
    "esanet_r34_nbt1d": [*indoor(50.3, 48.17), Claim(NYU, 51.58, note="pre-trained on SceneNet")],
    "gemini_mit_b3": indoor(56.8, 52.7),
    "gemini_mit_b5": indoor(57.7, 53.3),
    "gemini_swin_large_384": indoor(60.2, 54.8),
    "hdbformer_swin_base": indoor(59.3, 53.9, MS),
    "multimae_base": indoor(56.0, 51.1),
    "rednet_resnet50": [Claim(SUN, 47.8, note="not found in the repository")],
    "sagate_resnet101": [Claim(NYU, 51.4, SS), Claim(NYU, 52.4, MS), Claim(SUN, 49.4)],
    "sigma_tiny": indoor(53.9, 50.0, MS),
    "sigma_small": indoor(57.0, 52.4, MS),
    "stitchfusion_mit_b2": [
        Claim("DELIVER", 65.75, note="with depth"), Claim("DELIVER", 57.31, note="with events"),
        Claim("DELIVER", 58.03, note="with LiDAR"), Claim("DELIVER", 68.18, note="with all three"),
        Claim("MFNet", 58.13), Claim("PST900", 85.35), Claim("FMB", 64.85),
    ],
    "tokenfusion_mit_b3": [Claim(NYU, 54.8, SS, note="54.2 in the paper's tables"), Claim(SUN, 51.0)],
    "tuni_s": [Claim("FMB", 62.4), Claim("PST900", 87.3)],
    "tuni_v2_t": [Claim("FMB", 62.4), Claim("PST900", 86.4), Claim("MSRS", 78.6), Claim("CART", 73.5)],
    "tuni_v2_s": [Claim("FMB", 63.5), Claim("PST900", 87.3), Claim("MSRS", 79.7), Claim("CART", 75.5)],
    "tuni_v2_b": [Claim("FMB", 66.3), Claim("PST900", 89.1), Claim("MSRS", 80.7), Claim("CART", 75.7)],
}  # fmt: skip
TEST_ALONE = (NYU, SUN)
"""Data without a validation split: their claims are of the test split, on which the epochs were chosen too."""
NOTES = {
    "dplnet_mit_b5": "encoder frozen, from ADE20K: 7,146,271 parameters learn",
    "dveformer": "mIoU of a linear probe",
    "dveformer_reduced": "mIoU of a linear probe",
    "hdbformer_swin_base": "CC BY-NC-SA 4.0, its converted weights too; five scales",
    "multimae_base": "claimed count is for 640x640",
    "sagate_resnet101": "the original counts its auxiliary head",
    "stitchfusion_mit_b2": "two modalities",
    "tuni_s": "no licence stated", "tuni_v2_t": "no licence stated", "tuni_v2_s": "no licence stated",
    "tuni_v2_b": "no licence stated",
}  # fmt: skip
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
    """The table of sizes in Markdown."""
    rows = []
    for name, found in results.items():
        counts = (found.get("gmacs"), ORIGINALS.get(name), MACS.get(name))
        shown = ["" if v is None else f"{v:.1f}" for v in counts]
        rows.append([name, f"{found['params']:,}", *shown, NOTES.get(name, "")])
    return grid(["model", "parameters", "GMACs", "original", "claimed", "note"], rows, "<>>>><")


def claims(results: dict[str, dict[str, Any]]) -> str:
    """The table of what the originals claim, in Markdown."""
    rows = []
    for name in results:
        for claim in CLAIMED.get(name, ()):
            split = claim.split or ("test" if claim.data in TEST_ALONE else "not stated")
            facts = [split, claim.protocol or "not stated", claim.note]
            rows.append([name, claim.data, str(claim.miou), *facts])
    return grid(["model", "data", "mIoU claimed", "split", "protocol", "note"], rows, "<<><<<")


def fresh_table(text: str, results: dict[str, dict[str, Any]]) -> str:
    """`text` with the tables between their markers made anew."""
    for (begin, end), made in ((SIZES, table(results)), (ACCURACY, claims(results))):
        start, stop = text.index(begin) + len(begin), text.index(end)
        text = text[:start] + "\n" + made + text[stop:]
    return text


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
