"""Are several processes one, and is a resumed run the unbroken one? Losses of real commands, step by step.

    python benchmarks/equality.py [--kills 3] [--processes 2 4] [--steps 20]

* `processes`: `fusionzoo finetune` by one process and by N under torchrun (gloo), the same batch over all: the largest
  difference of the loss of a step, and of the gradient's norm relative to it. The model has no batch norm, whose
  statistics torch synchronises on GPUs only, and no dropout, whose draws are each process's own.
* `resume`: a run with dropout, dropped modalities, corrupted depth, averaged weights; killed (SIGKILL) at a random
  step, then `--resume`: the largest difference of the losses after the kill from those of an undisturbed run. 0 is
  equal to the last bit.

Writes results/equality.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from fusionzoo.files import atomic_write, dump_json

OUT = Path(__file__).parent / "results" / "equality.json"
BATCH = 4
SMALL = "--decoder-args pyramid_channels=32 --decoder-args segmentation_channels=32 --size 64x96 --base 72x96"
COMMON = [*f"--data planted --batch-size {BATCH} --device cpu {SMALL}".split(), "--val-split", ""]
PLAIN = ["sum_tu-convnext-atto_fpn", *"--decoder-args dropout=0.0 --lr 1e-4".split(), *COMMON]
DRAWN = ["concat_mobilenetv1-025_fpn", *"--drop-modality 0.3 --corrupt holes_x=0.3 --corrupt shift_x=2".split(),
         *"--state-steps 5".split(), *COMMON]  # fmt: skip


def command(words: list[str], out: Path, processes: int = 1) -> list[str]:
    """The command line, with the interpreter that runs this."""
    own = ["-c", "from fusionzoo.cli import main; main()", "finetune", *words, "--out", str(out)]
    if processes == 1:
        return [sys.executable, *own]
    shared = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "--no-python"]
    return [sys.executable, *shared, sys.executable, *own]


def run(words: list[str], out: Path, processes: int = 1) -> list[dict[str, float]]:
    """Trains; the steps' losses and norms."""
    subprocess.run(command(words, out, processes), check=True, stdout=subprocess.DEVNULL)
    return steps(out)


def steps(out: Path) -> list[dict[str, float]]:
    path = out / "steps.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line] if path.is_file() else []


def killed(words: list[str], out: Path, after: int) -> int:
    """Starts the run and kills it at some moment after step `after`; the number of steps in its log then."""
    process = subprocess.Popen(command(words, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(steps(out)) < after:
        time.sleep(0.01)
    time.sleep(random.random() / 10)
    if process.poll() is not None:
        raise SystemExit("the run ended before it was killed; give more --steps")
    process.send_signal(signal.SIGKILL)
    process.wait()
    return len(steps(out))


def most(one: list[dict[str, float]], two: list[dict[str, float]], key: str, relative: bool = False) -> float:
    """The largest difference of two runs' values, or of their ratio from 1."""
    assert len(one) == len(two)
    return max(abs(b[key] - a[key]) / (a[key] if relative else 1.0) for a, b in zip(one, two, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    limit = ["--limit", str(BATCH * args.steps // 2), "--epochs", "2"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        one = run(PLAIN + limit, folder / "one")
        several: dict[str, Any] = {}
        for count in args.processes:
            many = run(PLAIN + limit, folder / f"many{count}", count)
            several[str(count)] = {"loss": most(one, many, "loss"), "norm": most(one, many, "norm", relative=True)}
            print(f"{count} processes, {len(one)} steps: {several[str(count)]}", flush=True)
        # the unbroken run has 20 steps more than the last kill comes at
        long = ["--limit", str(BATCH * args.steps), "--epochs", "2"]
        whole, resumed = run(DRAWN + long, folder / "whole"), []
        for k in range(args.kills):
            out = folder / f"killed{k}"
            at = killed(DRAWN + long, out, random.randint(2, args.steps - 1))
            again = run([*DRAWN, *long, "--resume"], out)
            after = slice(at, at + 20)
            gaps = {key: most(whole[after], again[after], key) for key in ("loss", "norm")}
            resumed.append({"killed_at": at, "steps_after": len(whole[after]), **gaps})
            print(f"killed after step {at}, resumed: {resumed[-1]}", flush=True)
    instructions = torch.backends.cpu.get_cpu_capability()
    about = {"torch": torch.__version__, "cores": os.cpu_count(), "instructions": instructions}
    losses = [step["loss"] for step in one]
    found = {"machine": about, "loss": [losses[0], losses[-1]], "processes": several, "resume": resumed}
    atomic_write(OUT, dump_json(found, indent=1))


if __name__ == "__main__":
    main()
