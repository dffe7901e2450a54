"""Accuracy and dissection of fusion strategies, side by side: one row a checkpoint, all on the same data and protocol.

    python benchmarks/strategies/compare.py NAME... --data nyuv2:PATH --split test --out benchmarks/results/NAME.json

NAME is a checkpoint folder or a bundled name, trained by the command in its record. Writes JSON (with machine, versions
and command) and a Markdown table beside it. Losses are printed like wins.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch

import fusionzoo
from fusionzoo.data import parse_spec
from fusionzoo.dissect import dissect
from fusionzoo.files import atomic_write
from fusionzoo.hub.load import from_pretrained
from fusionzoo.hub.records import read_record
from fusionzoo.schema import encode


def row(name: str, spec: str, split: str, limit: int | None) -> dict[str, Any]:
    """Scores, level by level similarity and recipe of one checkpoint."""
    model = from_pretrained(name)
    data = parse_spec(spec, split=split, size=model.input_size, limit=limit,
                      num_classes=None if spec == "planted" else model.num_classes)  # fmt: skip
    result = dissect(model, data)
    scores = result.segmentation
    recipe = read_record(name).recipe if Path(name).is_dir() else None
    return {
        "checkpoint": Path(name).name,
        "strategy": model.architecture.rsplit("_", 2)[0],
        "num_params": result.model.num_params,
        "n": result.data.n,
        "size": result.data.size,
        "miou": {k: v.miou for k, v in scores.items()},
        "pixel_accuracy": scores["both"].pixel_accuracy,
        "levels": [
            {
                "level": stage.stage,
                "cka_gap": None if stage.similarity.cka.gap is None else stage.similarity.cka.gap.unbiased,
                "semantic_variance": encode(stage.concepts.variance.get("rgb_x")),
            }
            for stage in result.rows
        ],
        "recipe": None if recipe is None else {"command": recipe.command, "seed": recipe.seed, "epochs": recipe.epochs,
                                               "seconds": recipe.seconds},
        "seconds": result.protocol.seconds,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; mIoU in points, best first."""
    lines = [
        "| checkpoint | parameters | mIoU both | without rgb | without x | pixel accuracy | CKA rgb-x per level |"
        " semantic variance rgb-x per level (floor), points |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    points = lambda v: "-" if v is None else f"{100 * v:.1f}"  # noqa: E731
    for r in sorted(rows, key=lambda r: -r["miou"]["both"]):
        cka = ", ".join("-" if v["cka_gap"] is None else f"{v['cka_gap']:.2f}" for v in r["levels"])
        variance = ", ".join(
            "-" if v["semantic_variance"] is None
            else f"{points(v['semantic_variance']['value'])} ({points(v['semantic_variance']['floor'])})"
            for v in r["levels"]
        )  # fmt: skip
        m = r["miou"]
        lines.append(
            f"| {r['checkpoint']} | {r['num_params']:,} | {points(m['both'])} | {points(m.get('no_rgb'))} |"
            f" {points(m.get('no_x'))} | {points(r['pixel_accuracy'])} | {cka} | {variance} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--data", default="planted")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rows = [row(name, given.data, given.split, given.limit) for name in given.names]
    kind, colon, path = given.data.partition(":")
    words = ["python benchmarks/strategies/compare.py", *(r["checkpoint"] for r in rows), "--data",
             kind + colon + Path(path).name, "--split", given.split, "--out", given.out.name]  # fmt: skip
    values = {
        "command": " ".join(words),
        "protocol": "single scale, no flip; logits upsampled to the label size; absent modality replaced by its mean",
        "data": kind,
        "split": given.split,
        "machine": {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "versions": {"fusionzoo": fusionzoo.__version__, "torch": torch.__version__, "python": sys.version.split()[0]},
        "rows": rows,
    }
    atomic_write(given.out, json.dumps(values, indent=1) + "\n")
    atomic_write(given.out.with_suffix(".md"), table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
