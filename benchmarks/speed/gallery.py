"""What the pictures of `fusionzoo check` cost: CPU time and memory with them, without, and of another tree.

    python benchmarks/speed/gallery.py [--scenes 200] [--rounds 3] [--tree FOLDER] [--out FILE]

Each variant checks a bundled checkpoint on planted scenes and writes its page, in a process of its own; the variants
take turns, so that a busy machine hits all alike. Seconds are CPU seconds after the imports; `peak_mb` is the largest
resident memory of the process. `--tree`: another checkout of fusionzoo, for example an older commit, which makes the
pictures that it knows. Ratios are those of a round, over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import RESULTS, about, spread, write

VARIANTS = {"pictures": True, "bare": False}
FIGURES = ("cpu_s", "wall_s", "peak_mb", "page_mb")


def child(args: argparse.Namespace) -> None:
    """One check with its page; prints its numbers as JSON."""
    import torch

    import fusionzoo._check
    import fusionzoo.report

    torch.set_num_threads(args.threads)
    wall, cpu = time.perf_counter(), time.process_time()
    found = fusionzoo._check.check(
        args.checkpoint, "planted", None, args.scenes, pictures=VARIANTS[args.child], progress=False
    )
    page = fusionzoo.report.html(
        found.dissection, found.verification, found.findings, ok=found.ok, name=found.name, examples=found.examples
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "report.html").write_text(page, encoding="utf-8")
    numbers = {
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.perf_counter() - wall,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "page_mb": len(page.encode()) / 1e6,
    }
    print(json.dumps({"tree": str(Path(fusionzoo.__file__).parents[1]), "images": len(found.examples), **numbers}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--checkpoint", default="hybrid_mobilenetv1-025_fpn.planted")
    parser.add_argument("--tree", type=Path, help="another checkout of fusionzoo")
    parser.add_argument("--child", choices=VARIANTS, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "gallery.json")
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    own = Path(__file__).resolve().parents[2]
    runs = {name: (own, name) for name in VARIANTS}
    if args.tree is not None:
        runs["tree"] = (args.tree.resolve(), "pictures")
    options = [f"--scenes={args.scenes}", f"--threads={args.threads}", f"--checkpoint={args.checkpoint}"]
    rows: list[dict[str, Any]] = []
    load = [os.getloadavg()[0]]
    for _ in range(args.rounds):
        row: dict[str, Any] = {}
        for name, (tree, variant) in runs.items():
            done = subprocess.run(
                [sys.executable, __file__, f"--child={variant}", *options], env={**os.environ, "PYTHONPATH": str(tree)},
                stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
            row[name] = json.loads(done.stdout)
            if row[name].pop("tree") != str(tree):
                raise SystemExit(f"{name} was not run from {tree}")
            print(name, ", ".join(f"{k} {v:.4g}" for k, v in row[name].items()), flush=True)
        rows.append(row)
        load.append(os.getloadavg()[0])
    ratios = {
        f"pictures_over_{other}": {f: spread([row["pictures"][f] / row[other][f] for row in rows]) for f in FIGURES[:3]}
        for other in runs
        if other != "pictures"
    }
    setting = {k: getattr(args, k) for k in ("scenes", "rounds", "threads", "checkpoint")}
    commits = {} if args.tree is None else {"tree": _commit(args.tree)}
    result = {
        **about("gallery", load, **setting, **commits),
        "what": "fusionzoo check with its page: with the pictures, without (bare), and those of another tree",
        "images": rows[0]["pictures"]["images"],
        "numbers": {name: {f: spread([row[name][f] for row in rows]) for f in FIGURES} for name in runs},
        "ratios": ratios,
    }
    write(result, args.out)
    for name, ratio in ratios.items():
        print(name, {f: v["median"] for f, v in ratio.items()})


def _commit(tree: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=tree, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
