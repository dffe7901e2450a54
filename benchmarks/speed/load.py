"""What verification adds to loading a checkpoint of about 100 MB.

    python benchmarks/speed/load.py --out benchmarks/results/load.json

Side by side, in an order shuffled anew each round:

* `read`: `safetensors.torch.load_file`, every tensor touched (it maps the file; untouched it has read nothing).
* `plain`: the same into a freshly built model, `create_model` + `load_file` + `load_state_dict(strict=True)`: what
  loading a model by hand costs.
* `unchecked`: `fusionzoo.from_pretrained(folder, verify=False)`: header, strict keys, shapes, types, finite values.
* `checked`: `fusionzoo.from_pretrained(folder)`: the same with SHA-256 and the forward fingerprint.
* `sha256`: hashing the file alone.

`cold` drops the file from the page cache first (posix_fadvise), `warm` does not. Wall time, and CPU time of the
process: hashing runs in a second thread, so its CPU time counts, and its wall time hardly does where a core is idle.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file

import fusionzoo
from fusionzoo.files import sha256_file
from fusionzoo.hub.layout import WEIGHTS
from fusionzoo.hub.store import save

MODEL = {"name": "hybrid_resnet18_unet", "num_classes": 13}


def variants(folder: Path) -> dict[str, Callable[[], object]]:
    weights = folder / WEIGHTS

    def read() -> object:
        return sum(float(v.sum()) for v in load_file(weights).values())

    def plain() -> object:
        model = fusionzoo.create_model(MODEL["name"], num_classes=MODEL["num_classes"])
        return model.load_state_dict(load_file(weights), strict=True)

    return {
        "read": read,
        "plain": plain,
        "unchecked": lambda: fusionzoo.from_pretrained(folder, verify=False),
        "checked": lambda: fusionzoo.from_pretrained(folder),
        "sha256": lambda: sha256_file(weights),
    }


def forget(path: Path) -> None:
    """Drops the file's pages from the page cache."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(folder: Path, rounds: int, cold: bool) -> dict[str, dict[str, float]]:
    work = variants(folder)
    wall: dict[str, list[float]] = {name: [] for name in work}
    cpu: dict[str, list[float]] = {name: [] for name in work}
    for name in work:
        work[name]()
    order = list(work)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            if cold:
                forget(folder / WEIGHTS)
            start, used = time.perf_counter(), time.process_time()
            work[name]()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - used)
    middle = lambda values: round(1000 * statistics.median(values), 2)  # noqa: E731
    return {name: {"wall_ms": middle(wall[name]), "cpu_ms": middle(cpu[name])} for name in work}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    random.seed(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "checkpoint"
        torch.manual_seed(0)
        save(fusionzoo.create_model(MODEL["name"], num_classes=MODEL["num_classes"]), folder)
        size = (folder / WEIGHTS).stat().st_size
        results = {"warm": measure(folder, args.rounds, False), "cold": measure(folder, args.rounds, True)}
    pairs = {"checked_over_unchecked": "unchecked", "checked_over_plain": "plain", "checked_over_read": "read"}
    added = {
        state: {
            f"{name}_{kind}": round(r["checked"][f"{kind}_ms"] / r[base][f"{kind}_ms"] - 1, 3)
            for name, base in pairs.items()
            for kind in ("wall", "cpu")
        }
        for state, r in results.items()
    }
    out: dict[str, Any] = {
        "format_version": 1,
        "command": shlex.join(["python", *sys.argv]),
        "commit": commit(),
        "model": MODEL,
        "bytes": size,
        "rounds": args.rounds,
        "results": results,
        "added": added,
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "safetensors": safetensors.__version__,
            "threads": args.threads,
            "load": round(os.getloadavg()[0], 1),
        },
    }
    text = json.dumps(out, indent=2) + "\n"
    print(text)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return found.stdout.strip()


if __name__ == "__main__":
    main()
