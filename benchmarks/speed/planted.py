"""Time to make one planted scene, dataset sample included, on one thread.

    OMP_NUM_THREADS=1 python benchmarks/speed/planted.py [--scenes 200] [--out benchmarks/results/planted.json]

Both wall and CPU time, since other work on the machine adds to the first; sizes alternate so that it adds to all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fusionzoo.data.planted import Planted

SIZES = ((120, 160), (240, 320))


def cpu_name() -> str:
    """The processor as Linux names it, else as Python does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def summary(seconds: list[float]) -> dict[str, float]:
    """Median, 10th and 90th percentile in milliseconds."""
    tenths = statistics.quantiles(seconds, n=10)
    return {
        k: round(v * 1e3, 2)
        for k, v in (("median", statistics.median(seconds)), ("p10", tenths[0]), ("p90", tenths[-1]))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "planted.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sets = {size: Planted("train", n=args.scenes, size=size) for size in SIZES}
    wall: dict[Any, list[float]] = {size: [] for size in SIZES}
    cpu: dict[Any, list[float]] = {size: [] for size in SIZES}
    for data in sets.values():
        data[0]  # warm up
    for index in range(args.scenes):
        for size, data in sets.items():
            start, busy = time.perf_counter(), time.process_time()
            data[index]
            wall[size].append(time.perf_counter() - start)
            cpu[size].append(time.process_time() - busy)
    result = {
        "what": "one planted sample, milliseconds",
        "command": "OMP_NUM_THREADS=1 python benchmarks/speed/planted.py " + " ".join(sys.argv[1:]),
        "machine": {"cpu": cpu_name(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "torch": torch.__version__},
        "scenes": args.scenes,
        "sizes": {f"{h}x{w}": {"wall_ms": summary(wall[h, w]), "cpu_ms": summary(cpu[h, w])} for h, w in SIZES},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
