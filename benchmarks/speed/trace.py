"""What reusing unchanged modules saves in a trace: the same trace with every forward pass run whole beside it.

    python benchmarks/speed/trace.py [--models NAME...] [--size 240 320] [--images 8] [--rounds 5] [--out FILE]

Both ways run the same plan (mean, swap and restore at every stage, some 70 passes) on the same images in one process,
side by side: each round times both, in an order drawn anew, and the ratio is taken within a round. Weights are random,
with batch norm's statistics taken from the images. Memory is what the peak grew in a process of its own for each way.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from unittest import mock

import torch
from _common import RESULTS, about, spread, write
from torch import nn

import fusionzoo
from fusionzoo.data import collate
from fusionzoo.data.planted import Planted

TRACE = importlib.import_module("fusionzoo.dissect.trace")
MODELS = ("concat_resnet18_fpn", "concat_resnet18_unet", "cmx_resnet18_fpn")


class Whole:
    """Stands for `fusionzoo.probes.Reuse`: keeps nothing, so that every pass is run whole."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.needed, self.limit = 0, 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @contextmanager
    def keeping(self, name: str, *, instead: bool = False) -> Iterator[None]:
        yield

    def forget(self, *names: str) -> None:
        pass


class Held:
    """Samples of a dataset in memory."""

    def __init__(self, data: Any) -> None:
        self.data, self.samples = data, [data[i] for i in range(len(data))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


def made(name: str, data: Held) -> Any:
    """A model with random weights whose batch norms know the images."""
    torch.manual_seed(0)
    model = fusionzoo.create_model(name, num_classes=data.num_classes)
    model.set_classes(data.class_names)
    batch = collate(data.samples[:8])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(*model.preprocess(batch["rgb"], batch["x"]))
    return model.eval()


def run(way: str, model: Any, data: Held, batch: int) -> tuple[Any, float, float]:
    """The trace, its wall time and its CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    with mock.patch.object(TRACE, "Reuse", Whole if way == "whole" else TRACE.Reuse):
        found = fusionzoo.trace(model, data, batch_size=batch, progress=False)
    return found, time.perf_counter() - wall, time.process_time() - cpu


def numbers(value: Any) -> list[float]:
    """All numbers of a result but its time, in order."""
    if isinstance(value, dict):
        return [n for key, inner in value.items() if key != "seconds" for n in numbers(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers(inner)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def child(args: argparse.Namespace) -> None:
    """What the peak of memory grows during one trace, after a forward pass."""
    torch.set_num_threads(args.threads)
    data = Held(Planted("test", n=args.images, size=tuple(args.size)))
    model = made(args.models[0], data)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # noqa: E731
    batch = collate(data.samples[: args.batch])
    with torch.no_grad():
        model(*model.preprocess(batch["rgb"], batch["x"]))
    base = peak()
    run(args.child, model, data, args.batch)
    print(json.dumps({"peak_mb": round(peak(), 1), "extra_peak_mb": round(peak() - base, 1)}))


def measured(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Both ways of one model."""
    data = Held(Planted("test", n=args.images, size=tuple(args.size)))
    model = made(name, data)
    seconds: dict[str, dict[str, list[float]]] = {way: {"wall_s": [], "cpu_s": []} for way in ("whole", "reuse")}
    apart, rows = 0.0, 0
    order = random.Random(0)
    for turn in range(args.rounds):
        ways, found = list(seconds), {}
        order.shuffle(ways)
        for way in ways:
            found[way], wall, cpu = run(way, model, data, args.batch)
            seconds[way]["wall_s"].append(wall)
            seconds[way]["cpu_s"].append(cpu)
        both = [numbers(found[way].to_dict()) for way in seconds]
        apart = max(apart, *(abs(a - b) for a, b in zip(*both, strict=True)))
        rows = len(found["whole"].rows)
        ratio = seconds["whole"]["cpu_s"][-1] / seconds["reuse"]["cpu_s"][-1]
        print(f"{name} round {turn}: {ratio:.2f} times faster, largest difference {apart:.1e}", flush=True)
    memory = {}
    options = ["--models", name, "--size", *map(str, args.size), "--images", str(args.images)]
    options += ["--batch", str(args.batch), "--threads", str(args.threads)]
    for way in seconds:
        done = subprocess.run(
            [sys.executable, __file__, *options, "--child", way], capture_output=True, text=True, check=True
        )
        memory[way] = json.loads(done.stdout.splitlines()[-1])
    return {
        "interventions": rows,
        "numbers": {way: {key: spread(values) for key, values in own.items()} for way, own in seconds.items()},
        "times_faster": {
            key: spread([a / b for a, b in zip(seconds["whole"][key], seconds["reuse"][key], strict=True)])
            for key in ("wall_s", "cpu_s")
        },
        "largest_difference": apart,
        "memory": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--size", nargs=2, type=int, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", choices=("whole", "reuse"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "trace.json")
    args = parser.parse_args()
    if args.child:
        return child(args)
    torch.set_num_threads(args.threads)
    load, models = [os.getloadavg()[0]], {}
    for name in args.models:
        models[name] = measured(name, args)
        load.append(os.getloadavg()[0])
    setting = {"size": list(args.size), "images": args.images, "batch": args.batch, "rounds": args.rounds}
    write({**about("trace", load, threads=args.threads, **setting), "models": models}, args.out)


if __name__ == "__main__":
    main()
