"""Minibatch CKA between all layers of two networks, against the packages people install.

    python benchmarks/speed/similarity.py [--images 256] [--size 224] [--batch 64] [--rounds 3] [--out FILE]

Two ResNet-18 (random weights, ImageNet shapes), 20 layers each: conv1, maxpool, the 16 block convolutions, avgpool, fc.
Images are smooth random colours with some noise. Every method sees the same ones in the same batches, in a process of
its own, so that peak memory can be told apart:

* `forward`: the forward passes alone, without gradient.
* `fusionzoo`: one Gram matrix per layer and batch, made in the hook; all pairs at the end of the batch.
* `torch_cka`, `pytorch_cka`, `cka_pytorch`, where installed (`pip install torch_cka pytorch-cka cka-pytorch`), as their
  pages show them; `cka_pytorch` in one epoch instead of its ten.

Errors are against float64: every layer's map of the batch as the hook sees it, Grams and HSIC in float64, same
estimator (per batch, unbiased, summed before the ratio). CPU time is reported beside wall time: other work on the
machine adds to the second only, and a machine with fewer free cores than threads adds to both. Ratios are of medians,
and, paired within a round, with their spread.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from _common import RESULTS, about, spread, write
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

from fusionzoo.metrics import MinibatchCKA
from fusionzoo.metrics.similarity.minibatch import batch_hsic, shifted_gram

BLOCKS = [f"layer{i}.{j}.conv{k}" for i in (1, 2, 3, 4) for j in (0, 1) for k in (1, 2)]
LAYERS = ["conv1", "maxpool", *BLOCKS, "avgpool", "fc"]
PEERS = {"torch_cka": "torch_cka", "pytorch_cka": "cka", "cka_pytorch": "cka_pytorch"}
"""Method -> module."""
METHODS = ("forward", "fusionzoo", *PEERS)


def models() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return resnet18().eval(), resnet18().eval()


def images(args: argparse.Namespace) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(args.images, 3, 7, 7, generator=generator)
    data = nn.functional.interpolate(coarse, size=(args.size, args.size), mode="bilinear")
    data += 0.3 * torch.randn(data.shape, generator=generator)
    return DataLoader(TensorDataset(data), batch_size=args.batch)


@contextlib.contextmanager
def taps(nets: tuple[nn.Module, nn.Module], reduce: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Calls `reduce` with the number of the layer (0 .. 39) and its live output."""
    handles = []
    for i, net in enumerate(nets):
        for j, name in enumerate(LAYERS):
            place = i * len(LAYERS) + j
            hook = lambda _m, _i, out, place=place: reduce(place, out)  # noqa: E731
            handles.append(net.get_submodule(name).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_forward(nets: tuple[nn.Module, nn.Module], loader: DataLoader[Any]) -> None:
    with torch.inference_mode():
        for (batch,) in loader:
            for net in nets:
                net(batch)


def run_fusionzoo(nets: tuple[nn.Module, nn.Module], loader: DataLoader[Any]) -> Tensor:
    metric = MinibatchCKA(2 * len(LAYERS))
    grams: dict[int, Tensor] = {}
    with taps(nets, lambda place, out: grams.__setitem__(place, shifted_gram(out))), torch.inference_mode():
        for (batch,) in loader:
            for net in nets:
                net(batch)
            metric.add_grams(*[grams[i] for i in range(len(grams))])
    return metric.compute().cka[: len(LAYERS), len(LAYERS) :]


def run_torch_cka(nets: tuple[nn.Module, nn.Module], loader: DataLoader[Any]) -> Tensor:
    from torch_cka import CKA

    cka = CKA(*nets, "a", "b", model1_layers=LAYERS, model2_layers=LAYERS, device="cpu")
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        cka.compare(loader)
    return cka.hsic_matrix.detach().double()


def run_pytorch_cka(nets: tuple[nn.Module, nn.Module], loader: DataLoader[Any]) -> Tensor:
    from cka import compute_cka

    return compute_cka(*nets, loader, layers=LAYERS, model2_layers=LAYERS, progress=False)[0].detach().double()


def run_cka_pytorch(nets: tuple[nn.Module, nn.Module], loader: DataLoader[Any]) -> Tensor:
    from cka_pytorch import CKACalculator

    options = {"model1_layers": LAYERS, "model2_layers": LAYERS, "verbose": False}
    calculator = CKACalculator(*nets, device=torch.device("cpu"), **options)
    pairs = ((batch, None) for (batch,) in loader)
    return calculator.calculate_cka_matrix(pairs, num_epochs=1).detach().double()


def exact(nets: tuple[nn.Module, nn.Module], loader: DataLoader[Any]) -> Tensor:
    """(20, 20) the same estimator with float64 Grams, maps kept one layer at a time."""
    total = torch.zeros(2 * len(LAYERS), 2 * len(LAYERS), dtype=torch.float64)
    grams: dict[int, Tensor] = {}

    def gram(place: int, out: Tensor) -> None:
        rows = out.flatten(1)
        result = torch.zeros(len(rows), len(rows), dtype=torch.float64)
        for part in rows.split(1 << 14, dim=1):
            part = part.double()
            part = part - part.mean(0)
            result += part @ part.T
        grams[place] = result

    with taps(nets, gram), torch.inference_mode():
        for (batch,) in loader:
            for net in nets:
                net(batch)
            total += len(batch) * batch_hsic(torch.stack([grams[i] for i in range(len(grams))]))
    own = total.diagonal().sqrt()
    return (total / torch.outer(own, own))[: len(LAYERS), len(LAYERS) :]


RUNS: dict[str, Callable[..., Any]] = {
    "forward": run_forward,
    "fusionzoo": run_fusionzoo,
    "torch_cka": run_torch_cka,
    "pytorch_cka": run_pytorch_cka,
    "cka_pytorch": run_cka_pytorch,
}


def child(args: argparse.Namespace) -> None:
    """One method in this process; writes its numbers and its matrix."""
    torch.set_num_threads(args.threads)
    nets, loader = models(), images(args)
    if args.child == "exact":
        torch.save({"cka": exact(nets, loader)}, args.out)
        return
    run_forward(nets, [(next(iter(loader))[0][:2],)])  # type: ignore[arg-type]  # warm up
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = time.perf_counter(), time.process_time()
    cka = RUNS[args.child](nets, loader)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    torch.save({"wall_s": wall, "cpu_s": cpu, "extra_peak_mb": peak - base, "cka": cka}, args.out)


def measured(args: argparse.Namespace, method: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "result.pt")
        options = [f"--{k}={getattr(args, k)}" for k in ("images", "size", "batch", "threads")]
        command = [sys.executable, __file__, "--child", method, "--out", out, *options]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return {"failed": done.stderr.strip().splitlines()[-1]}
        return torch.load(out, weights_only=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "similarity.json")
    args = parser.parse_args()
    if args.child:
        child(args)
        return
    methods = [m for m in METHODS if m not in PEERS or importlib.util.find_spec(PEERS[m])]
    reference = measured(args, "exact")["cka"]
    rows: dict[str, dict[str, list[float]]] = {m: {} for m in methods}
    failed: dict[str, str] = {}
    load = [os.getloadavg()[0]]
    for turn in range(args.rounds):
        for method in methods:
            result = measured(args, method)
            if "failed" in result:
                failed[method] = result["failed"]
                print(f"round {turn} {method:12s} failed: {result['failed']}", flush=True)
                continue
            cka = result.pop("cka")
            if cka is not None:
                result["max_error"] = float((cka - reference).abs().max())
                result["mean_error"] = float((cka - reference).abs().mean())
            for key, value in result.items():
                rows[method].setdefault(key, []).append(value)
            print(f"round {turn} {method:12s} " + " ".join(f"{k} {v:.4g}" for k, v in result.items()), flush=True)
        load.append(os.getloadavg()[0])
    rows = {m: row for m, row in rows.items() if row}
    ratios = {"fusionzoo_over_forward": paired(rows["fusionzoo"], rows["forward"])}
    ratios |= {f"{peer}_over_fusionzoo": paired(rows[peer], rows["fusionzoo"]) for peer in PEERS if peer in rows}
    setting = {k: getattr(args, k) for k in ("images", "size", "batch", "rounds", "threads")}
    result = {
        **about("similarity", load, **setting),
        "what": "minibatch CKA, 20 x 20 layers of two ResNet-18",
        "numbers": {m: {k: spread(v) for k, v in row.items()} for m, row in rows.items()},
        "ratios": ratios,
        "failed": failed,
    }
    for name, ratio in ratios.items():
        print(f"{name}: " + ", ".join(f"{k} {v['median']:.3g}" for k, v in ratio.items()))
    write(result, args.out)


def paired(a: dict[str, list[float]], b: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """a / b round by round, for what both have."""
    return {k: spread([x / y for x, y in zip(a[k], b[k], strict=False)]) for k in a if k in b and all(b[k])}


if __name__ == "__main__":
    main()
