"""How the cost of a whole dissection grows with the number of images: time linear, memory constant.

    python benchmarks/speed/scaling.py [--scenes 100 1000 10000] [--size 32 48] [--metrics NAME...] [--out FILE]

Planted scenes are drawn anew in every pass, so the data set itself needs no memory. Each number of images is dissected
in a process of its own with all metrics; `extra_peak_mb` is what its peak resident memory grew beyond that of a
dissection of 32 images in the same process, which holds the program, the model and one batch of everything. CPU seconds
of drawing are told apart. `linear`: how far the measured CPU seconds of each run lie from the straight line through the
smallest and the largest, in shares of the line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _common import RESULTS, about, write

import fusionzoo
from fusionzoo.data.planted import Planted
from fusionzoo.dissect import dissect

WARM = 32


class Timed:
    """A dataset that sums the CPU seconds spent in it."""

    def __init__(self, data: Any) -> None:
        self.data, self.seconds = data, 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        start = time.process_time()
        sample = self.data[index]
        self.seconds += time.process_time() - start
        return sample


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(args: argparse.Namespace) -> None:
    """One dissection; prints its numbers as JSON."""
    torch.set_num_threads(args.threads)
    model = fusionzoo.from_pretrained(args.checkpoint)
    options: dict[str, Any] = {"metrics": args.metrics, "batch_size": args.batch, "progress": False}
    dissect(model, Planted("test", n=WARM, size=tuple(args.size)), **options)
    base, data = peak(), Timed(Planted("test", n=args.child, size=tuple(args.size)))
    wall, cpu = time.perf_counter(), time.process_time()
    found = dissect(model, data, **options)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        json.dumps(
            {
                "scenes": args.child,
                "wall_s": round(wall, 2),
                "cpu_s": round(cpu, 2),
                "drawing_cpu_s": round(data.seconds, 2),
                "cpu_ms_per_scene": round(1000 * cpu / args.child, 2),
                "peak_mb": round(peak(), 1),
                "extra_peak_mb": round(peak() - base, 1),
                "miou": found.segmentation["both"].miou if "both" in found.segmentation else None,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--size", type=int, nargs=2, default=[32, 48], metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--metrics", nargs="+", help="all by default")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--checkpoint", default="hybrid_mobilenetv1-025_fpn.planted")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling.json")
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    options = [f"--batch={args.batch}", f"--threads={args.threads}", f"--checkpoint={args.checkpoint}"]
    options += ["--size", *map(str, args.size)] + (["--metrics", *args.metrics] if args.metrics else [])
    load, runs = [os.getloadavg()[0]], []
    for scenes in sorted(args.scenes):
        done = subprocess.run(
            [sys.executable, __file__, f"--child={scenes}", *options], stdout=subprocess.PIPE, text=True, check=True
        )
        runs.append(json.loads(done.stdout))
        load.append(os.getloadavg()[0])
        print(", ".join(f"{k} {v}" for k, v in runs[-1].items()), flush=True)
    first, last = runs[0], runs[-1]
    slope = (last["cpu_s"] - first["cpu_s"]) / max(last["scenes"] - first["scenes"], 1)
    line = [first["cpu_s"] + slope * (run["scenes"] - first["scenes"]) for run in runs]
    setting = {k: getattr(args, k) for k in ("scenes", "size", "batch", "metrics", "threads", "checkpoint")}
    result = {
        **about("scaling", load, **setting),
        "what": "a whole dissection of planted scenes: time and memory over their number",
        "runs": runs,
        "cpu_ms_per_more_scene": round(1000 * slope, 2),
        "linear": [round(run["cpu_s"] / at - 1, 3) for run, at in zip(runs, line, strict=True)],
        "memory_growth_mb": round(last["peak_mb"] - first["peak_mb"], 1),
    }
    write(result, args.out)


if __name__ == "__main__":
    main()
