"""Time and memory of every fusion block and published model: forward, and forward with backward, batch 1.

    python benchmarks/speed/blocks.py                                  # one size of each model family
    python benchmarks/speed/blocks.py --blocks "cm*" --models none --rounds 9
    python benchmarks/speed/blocks.py --models "*" --device cuda --compiled

A block is its strategy at the four levels of an H x W input: strides 4, 8, 16, 32 with 64, 128, 320, 512 channels, one
after the other. A model takes the input itself. All run in evaluation mode: at batch 1 a batch norm behind a global
pooling has nothing to normalise by. The backward pass gives gradients to all parameters and, for blocks, to both
inputs.

Every case runs in a process of its own, forked from a clean one that has imported everything: one that runs out of
memory is reported as failed and the others go on. Each round runs every case once, in an order shuffled anew, and
ratios are taken within a round. A pass that takes under half a second is run once for nothing and then timed several
times; a longer one is timed at once, since what a first pass costs more is no part of it worth a second pass. Compiled
passes are always run once for nothing.

Peak memory is the process's: on the CPU its resident set above that before the case was built, on CUDA what
`max_memory_allocated` says; weights and inputs count in both, gradients in that of `step`, and on the CPU the compiler
itself in that of compiled cases.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _common import about, spread, write
from torch import Tensor, nn

from fusionzoo.models import create_model
from fusionzoo.registry import architectures, fusions, match

LEVELS = {2: (4, 64), 3: (8, 128), 4: (16, 320), 5: (32, 512)}
"""Level -> stride, channels."""
BASES = ("sum", "concat")
SHORT = 0.5
"""Seconds under which a pass is warmed up and repeated."""
MODES = ("forward", "step")
KINDS = ("wall", "cpu")


class Case(NamedTuple):
    """What one process runs."""

    kind: str  # "block" or "model"
    name: str
    compiled: bool
    size: tuple[int, int]
    device: str
    threads: int

    @property
    def label(self) -> str:
        return self.name + (", compiled" if self.compiled else "")


class Pyramid(nn.Module):
    """One strategy at all levels: takes rgb and x of each level in turn, returns all that its blocks make of them."""

    def __init__(self, name: str) -> None:
        super().__init__()
        build = fusions.get(name)
        self.blocks = nn.ModuleList(build(c, level=i, depth=5) for i, (_, c) in LEVELS.items())

    def forward(self, *maps: Tensor) -> list[Tensor]:
        outs: list[Tensor] = []
        for block, rgb, x in zip(self.blocks, maps[::2], maps[1::2], strict=True):
            outs += [value for value in block(rgb, x) if value is not rgb and value is not x]
        return outs


def shapes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Of the maps of each level, finest first.

    >>> shapes((480, 640))[-1]
    (1, 512, 15, 20)
    """
    return [(1, c, -(-size[0] // s), -(-size[1] // s)) for s, c in LEVELS.values()]


def families(names: Iterable[str]) -> dict[str, list[str]]:
    """Published models by the file that defines them."""
    found: dict[str, list[str]] = {}
    for name in names:
        builder = architectures.get(name)
        module = getattr(builder, "func", builder).__module__
        found.setdefault(module.rpartition(".")[2], []).append(name)
    return found


def parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in create_model(name).parameters())


def smallest() -> list[str]:
    """One model of each family: the one with the fewest parameters."""
    return [min(names, key=parameters) if len(names) > 1 else names[0] for names in families(architectures).values()]


def build(case: Case) -> tuple[nn.Module, list[Tensor]]:
    """The module in evaluation mode and its inputs, on its device."""
    torch.manual_seed(0)
    if case.kind == "block":
        module: nn.Module = Pyramid(case.name)
        inputs = [torch.randn(shape) for shape in shapes(case.size) for _ in range(2)]
    else:
        module = model = create_model(case.name)
        inputs = [torch.randn(1, channels, *case.size) for channels in (3, model.x_channels)]
    return module.eval().to(case.device), [t.to(case.device) for t in inputs]


def passes(case: Case) -> dict[str, Callable[[], None]]:
    """mode -> one run of it."""
    module, inputs = build(case)
    call = torch.compile(module) if case.compiled else module
    watched = [t.clone().requires_grad_() for t in inputs] if case.kind == "block" else inputs

    def forward() -> None:
        with torch.no_grad():
            call(*inputs)

    def step() -> None:
        out = call(*watched)
        outs = [out] if isinstance(out, Tensor) else out
        torch.autograd.backward(outs, [torch.ones_like(o) for o in outs])
        for tensor in (*module.parameters(), *watched):
            tensor.grad = None

    return {"forward": forward, "step": step}


def timed(run: Callable[[], None], calls: int, first_counts: bool, wait: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds of one run: of the first where it is long and `first_counts`, else medians of `calls` more.

    Args:
        run: the pass.
        calls: runs after the first.
        first_counts: False where the first run does something else as well.
        wait: returns when the device has done all it was given.
    """

    def once() -> tuple[float, float]:
        wait()
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        wait()
        return time.perf_counter() - wall, time.process_time() - cpu

    first = once()
    if first_counts and first[0] >= SHORT:
        return first
    walls, cpus = zip(*(once() for _ in range(calls)), strict=True)
    return statistics.median(walls), statistics.median(cpus)


def resident() -> float:
    """Greatest resident set of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(case: Case, calls: int) -> dict[str, dict[str, float]]:
    """mode -> wall, cpu (seconds) and peak (MiB) of a case, in this process."""
    torch.set_num_threads(case.threads)
    cuda = case.device.startswith("cuda")
    wait = torch.cuda.synchronize if cuda else _nothing
    before = resident()
    found = {}
    for mode, run in passes(case).items():
        wall, cpu = timed(run, calls, not case.compiled, wait)
        peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else resident() - before
        found[mode] = {"wall": wall, "cpu": cpu, "peak": peak}
    return found


def _nothing() -> None:
    pass


def work(case: Case, calls: int, pipe: Connection) -> None:
    """`measure` in a child: sends the figures, or why there are none."""
    try:
        pipe.send(measure(case, calls))
    except Exception as error:  # whatever it was, the parent shows it and goes on with the next case
        pipe.send(reason(error))


def reason(error: Exception) -> str:
    """One line of an error.

    >>> reason(RuntimeError("first line\\nsecond"))
    'RuntimeError: first line'
    >>> reason(MemoryError())
    'out of memory'
    """
    text = str(error).strip().partition("\n")[0]
    memory = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
    if memory or "allocate memory" in text:
        return "out of memory"
    return f"{type(error).__name__}: {text}"[:160]


def in_child(case: Case, calls: int) -> dict[str, dict[str, float]] | str:
    """What `measure` says in a fresh process, or one line on why it said nothing."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "fusionzoo", "fusionzoo.models"])
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=work, args=(case, calls, theirs), daemon=True)
    child.start()
    theirs.close()
    try:
        found: dict[str, dict[str, float]] | str = ours.recv()
    except EOFError:
        found = ""
    child.join()
    return found or died(child.exitcode)


def died(code: int | None) -> str:
    """Of a child that ended without a word.

    >>> died(-9), died(1)
    ('out of memory (the system ended the process)', 'ended with exit status 1')
    """
    return "out of memory (the system ended the process)" if code == -9 else f"ended with exit status {code}"


Figures = dict[str, dict[str, float]]


def run_all(
    cases: list[Case],
    rounds: dict[str, int],
    calls: int,
    ask: Callable[[Case, int], Figures | str],
    seconds: float = math.inf,
) -> tuple[dict[Case, list[Figures]], dict[Case, str]]:
    """(figures of each round, why a case failed). A case that failed once is not tried again.

    Args:
        cases: what to run.
        rounds: how many for each kind of case.
        calls: see `timed`.
        ask: runs one case.
        seconds: a round that would end later, were its cases as long as before, is not begun.
    """
    found: dict[Case, list[Figures]] = {case: [] for case in cases}
    failed: dict[Case, str] = {}
    shuffle = random.Random(0).shuffle
    begin = time.perf_counter()
    took: dict[Case, float] = {}
    for turn in range(max(rounds.values())):
        order = [c for c in cases if turn < rounds[c.kind] and c not in failed]
        if turn and time.perf_counter() - begin + sum(took[c] for c in order) > seconds:
            break
        shuffle(order)
        for done, case in enumerate(order, 1):
            start = time.perf_counter()
            print(f"\rround {turn + 1}: {done}/{len(order)} {case.label:<40}", end="", file=sys.stderr, flush=True)
            got = ask(case, calls)
            took[case] = time.perf_counter() - start
            if isinstance(got, str):
                failed[case] = got
            else:
                found[case].append(got)
    print(file=sys.stderr)
    return {c: f for c, f in found.items() if c not in failed}, failed


def summary(found: dict[Case, list[Figures]], bases: Iterable[Case]) -> list[dict[str, Any]]:
    """A row per case: milliseconds, MiB, and per base the ratio of times taken within each round."""
    bases = [b for b in bases if b in found]
    rows = []
    for case, figures in found.items():
        row: dict[str, Any] = {"name": case.name, "compiled": case.compiled, "rounds": len(figures)}
        for mode in MODES:
            row[mode] = {k: spread([1e3 * f[mode][k] for f in figures]) for k in KINDS}
            row[mode]["peak_mib"] = round(max(f[mode]["peak"] for f in figures), 1)
            row[mode]["ratio"] = {
                base.label: {
                    k: spread([a[mode][k] / b[mode][k] for a, b in zip(figures, found[base], strict=True)])
                    for k in KINDS
                }
                for base in bases
            }
        rows.append(row)
    return rows


def table(rows: list[dict[str, Any]], title: str, kind: str = "wall") -> str:
    """Lines for a terminal: milliseconds with least and largest, ratio to each base, MiB."""
    lines = [title]
    for row in rows:
        name = row["name"] + (", compiled" if row["compiled"] else "")
        parts = [f"{name:<28}"]
        for mode in MODES:
            t = row[mode][kind]
            ratios = "".join(f" {r[kind]['median']:6.2f} x {base}" for base, r in row[mode]["ratio"].items())
            ends = f"[{t['min']:.1f}, {t['max']:.1f}]"
            parts.append(f"{mode} {t['median']:9.1f} ms {ends:<20}{ratios} {row[mode]['peak_mib']:8.0f} MiB")
        lines.append("  ".join(parts))
    return "\n".join(lines)


def chosen(args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Names of the blocks, the bases first, and of the models; "none" stands for no name."""
    found = {"block": match(fusions, args.blocks), "model": match(architectures, args.models or ["*"])}
    for what, patterns in (("block", args.blocks), ("model", args.models or ["*"])):
        if patterns == ["none"]:
            found[what] = []
        elif not found[what]:
            raise SystemExit(f"no {what} matches {' '.join(patterns)}; see fusionzoo list")
    blocks = [*BASES, *(n for n in found["block"] if n not in BASES)] if found["block"] else []
    return blocks, smallest() if args.models is None else found["model"]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--blocks", nargs="+", default=["*"], metavar="PATTERN", help="strategies, or 'none'")
    parser.add_argument(
        "--models", nargs="+", metavar="PATTERN", help="models, or 'none'; one of each family if absent"
    )
    parser.add_argument("--size", nargs=2, type=int, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model-rounds", type=int, help="rounds of the models, if not as many")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no further round that would end later")
    parser.add_argument("--calls", type=int, default=3, help="timed runs of a short pass in one round")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compiled", action="store_true", help="also through torch.compile")
    parser.add_argument("--out", type=Path, help="JSON file; the figures are printed in any case")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    args = parse(arguments)
    blocks, models = chosen(args)
    size = (args.size[0], args.size[1])
    variants = (False, True) if args.compiled else (False,)
    cases = [
        Case(kind, name, compiled, size, args.device, args.threads)
        for kind, names in (("block", blocks), ("model", models))
        for name in names
        for compiled in variants
    ]
    rounds = {"block": args.rounds, "model": args.model_rounds or args.rounds}
    load = [os.getloadavg()[0]]
    found, failed = run_all(cases, rounds, args.calls, in_child, 60 * args.minutes)
    load.append(os.getloadavg()[0])

    of = {kind: {c: f for c, f in found.items() if c.kind == kind} for kind in ("block", "model")}
    quickest = min(of["model"], key=lambda c: statistics.median(f["forward"]["wall"] for f in found[c]), default=None)
    results = {
        "blocks": summary(of["block"], [c for c in of["block"] if c.name in BASES and not c.compiled]),
        "models": summary(of["model"], [] if quickest is None else [quickest]),
    }
    for title, rows in results.items():
        if rows:
            print(table(rows, f"{title}, {size[0]} x {size[1]}, {args.device}, {args.threads} threads"))
    for case, why in failed.items():
        print(f"{case.label:<28}failed: {why}")
    if args.out is not None:
        setting = {
            "input": [1, *size],
            "levels": {str(i): {"stride": s, "channels": c} for i, (s, c) in LEVELS.items()},
            "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
            "threads": args.threads,
            "calls": args.calls,
        }
        failures = [{"name": c.name, "compiled": c.compiled, "why": why} for c, why in failed.items()]
        write(about("blocks", load, **setting) | results | {"failed": failures}, args.out)
    return int(any(not why.startswith("out of memory") for why in failed.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
