"""What probes cost: with nothing attached, with a streaming reducer, with a tape.

    python benchmarks/speed/probes.py --out benchmarks/results/probes.json

The model without probes is the same model with every Probe replaced by a plain Python function that returns its
argument, the smallest thing the same forward code can call; its cost, tens of nanoseconds, is counted as the model's.
All variants run side by side: each round times every variant once, in an order shuffled anew, and the ratios are taken
within a round, so that a machine that slows down or speeds up in between does not show as a difference. CPU time of the
process is reported beside wall time: on a busy machine it is the steadier of the two.
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
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import fusionzoo
from fusionzoo.probes import Probe, listen, probe, probe_points


def identity(value: Tensor) -> Tensor:
    return value


def strip(model: nn.Module) -> int:
    """Replaces every probe of `model` by `identity`; how many."""
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, Probe):
                if isinstance(parent, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
                    raise SystemExit(f"a probe sits in a {type(parent).__name__}, which calls modules only")
                del parent._modules[name]
                parent.__dict__[name] = identity
                count += 1
    return count


@contextmanager
def reducing(model: nn.Module, pattern: str) -> Iterator[dict[str, Tensor]]:
    """A streaming reducer at the probes that match: per channel sum and sum of squares in float64, nothing kept."""
    sums: dict[str, Tensor] = {}

    def reduce(name: str, value: Tensor) -> None:
        axes = [axis for axis in range(value.ndim) if axis != 1]
        both = torch.stack([value.sum(axes, dtype=torch.float64), value.square().sum(axes, dtype=torch.float64)])
        sums[name] = sums[name] + both if name in sums else both

    with listen(model, {pattern: reduce}):
        yield sums


def graph_nodes(model: nn.Module, inputs: tuple[Tensor, Tensor]) -> int:
    """Nodes of the one graph that `fullgraph=True` compiles."""
    from torch._dynamo.testing import CompileCounterWithBackend

    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    torch.compile(model, backend=counter, fullgraph=True)(*inputs)
    (graph,) = counter.graphs
    torch._dynamo.reset()
    return len(graph.graph.nodes)


def nanoseconds(call: Callable[[Tensor], Tensor], value: Tensor, repeats: int = 7, number: int = 20_000) -> float:
    """Median cost of one call, the loop's own cost taken off."""
    found = []
    for _ in range(repeats):
        start = time.process_time_ns()
        for _ in range(number):
            pass
        empty = time.process_time_ns()
        for _ in range(number):
            call(value)
        found.append((time.process_time_ns() - empty - (empty - start)) / number)
    return statistics.median(found)


def spread(values: list[float]) -> dict[str, float]:
    """Median, quartiles, and the half-width of a 95 % interval of the median (sign test, by order statistics)."""
    ordered = sorted(values)
    n = len(ordered)
    low, quart, high = statistics.quantiles(ordered, n=4) if n > 1 else ordered * 3
    k = max(0, int((n - 1.96 * n**0.5) / 2))
    return {
        "median": statistics.median(ordered),
        "quartile_1": low,
        "quartile_3": high,
        "median_95_low": ordered[k],
        "median_95_high": ordered[n - 1 - k],
    }


Variant = tuple[nn.Module, Callable[[], AbstractContextManager[Any]]]
"""A model and the context in which it is timed."""


def measure(
    variants: dict[str, Variant], inputs: tuple[Tensor, Tensor], rounds: int, calls: int
) -> dict[str, dict[str, list[float]]]:
    """Seconds per call of each variant and round: {"wall": {variant: [...]}, "cpu": {...}}."""
    seconds: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in variants} for kind in ("wall", "cpu")}
    order = list(variants)
    shuffle = random.Random(0).shuffle
    for turn in range(-2, rounds):  # two rounds of warm-up
        shuffle(order)
        for name in order:
            model, context = variants[name]
            with context():
                wall, cpu = time.perf_counter(), time.process_time()
                for _ in range(calls):
                    model(*inputs)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn >= 0:
                seconds["wall"][name].append(wall / calls)
                seconds["cpu"][name].append(cpu / calls)
    return seconds


def machine(threads: int) -> dict[str, Any]:
    """What the numbers depend on."""
    cpu = next((line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "cpu": cpu or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_average": list(os.getloadavg()),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "fusionzoo": fusionzoo.__version__,
        "commit": commit,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Cost of probes: nothing attached, a streaming reducer, a tape.")
    parser.add_argument("--model", default="hybrid_mobilenetv1-025_fpn")
    parser.add_argument("--size", nargs=2, type=int, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--calls", type=int, default=1, help="forward passes of one variant in one round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=None, help="JSON file; the figures are printed in any case")
    args = parser.parse_args(arguments)

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    with_probes = fusionzoo.create_model(args.model).eval()
    without = fusionzoo.create_model(args.model).eval()
    without.load_state_dict(with_probes.state_dict())
    count = strip(without)
    points = probe_points(with_probes)
    assert count == len(points) and not probe_points(without)
    inputs = torch.randn(1, 3, *args.size), torch.randn(1, with_probes.x_channels, *args.size)

    with torch.inference_mode():
        assert torch.equal(with_probes(*inputs), without(*inputs))
        variants: dict[str, Variant] = {
            "without probes": (without, nullcontext),
            "nothing attached": (with_probes, nullcontext),
            "reducer at fused": (with_probes, lambda: reducing(with_probes, "*.fused")),
            "reducer at all": (with_probes, lambda: reducing(with_probes, "*")),
            "tape at all": (with_probes, lambda: probe(with_probes)),
        }
        seconds = measure(variants, inputs, args.rounds, args.calls)
        idle = nanoseconds(Probe().eval(), torch.zeros(1))
        nodes = {name: graph_nodes(model, inputs) for name, (model, _) in list(variants.items())[:2]}

    base = "without probes"
    result = {
        "format_version": 1,
        "benchmark": "speed/probes",
        "command": shlex.join(["python", "benchmarks/speed/probes.py", *arguments]),
        "machine": machine(args.threads),
        "model": args.model,
        "input": [1, 3, *args.size],
        "probes": count,
        "reducer_probes": {"reducer at fused": sum(n.endswith(".fused") for n in points), "reducer at all": count},
        "rounds": args.rounds,
        "calls_per_round": args.calls,
        "graph_nodes": nodes,
        "idle_probe_nanoseconds": idle,
        "idle_share_of_forward": idle * 1e-9 * count / statistics.median(seconds["cpu"][base]),
        "milliseconds": {
            kind: {name: spread([1e3 * v for v in values]) for name, values in by_name.items()}
            for kind, by_name in seconds.items()
        },
        "ratio_to_without_probes": {
            kind: {
                name: spread([a / b for a, b in zip(values, seconds[kind][base], strict=True)])
                for name, values in seconds[kind].items()
                if name != base
            }
            for kind in seconds
        },
    }
    print(f"{args.model}, 1x3x{args.size[0]}x{args.size[1]}, {count} probes, {args.rounds} rounds")
    print(f"graph nodes: {nodes[base]} without probes, {nodes['nothing attached']} with; idle probe {idle:.0f} ns")
    for kind in ("cpu", "wall"):
        for name, ratio in result["ratio_to_without_probes"][kind].items():
            median, low, high = (100 * (ratio[key] - 1) for key in ("median", "median_95_low", "median_95_high"))
            print(f"{kind:>4}  {name:<17} {median:+7.2f} %  [{low:+.2f}, {high:+.2f}]")
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
