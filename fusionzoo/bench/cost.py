"""What a model costs: parameters, multiply-accumulates, peak memory, and latency beside a reference's.

The first three are counted on the meta device and do not depend on the machine. Latency is measured in turns with the
reference, call by call, so that whatever else the machine does falls on both; `latency_ratio` is what to compare.
"""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["Cost", "cost", "counted", "latency", "peak_bytes"]

TURNS = 31
"""Calls of each model, after three that are not counted."""


@dataclass(frozen=True)
class Cost:
    """Of one image at the test size, float32, evaluation mode.

    Attributes:
        num_params: learnable numbers. gmacs: 10^9 multiply-accumulates.
        peak_mb: 10^6 bytes of weights and of all that lives at once in a forward pass.
        latency_ms: median of a call. latency_ratio: median over the turns of this model's time / the reference's.
    """

    num_params: int
    gmacs: float
    peak_mb: float
    latency_ms: float | None = None
    latency_ratio: float | None = None


def cost(
    build: Callable[[], nn.Module],
    reference: Callable[[], nn.Module],
    size: tuple[int, int],
    x_channels: int,
    device: str | torch.device = "cpu",
) -> Cost:
    """Cost of the model that `build` makes, its latency in turns with that of `reference`.

    Args:
        build, reference: make a model `(rgb (1, 3, H, W), x (1, Cx, H, W)) -> Tensor`.
        size: (H, W) of the image.
    """
    ours, ratio = latency(build(), reference(), size, x_channels, device)
    return replace(counted(build, size, x_channels), latency_ms=ours, latency_ratio=ratio)


def counted(build: Callable[[], nn.Module], size: tuple[int, int], x_channels: int) -> Cost:
    """What does not depend on the machine: parameters, multiply-accumulates, peak memory."""
    with torch.device("meta"), torch.no_grad():
        model = build().eval()
        images = torch.empty(1, 3, *size), torch.empty(1, x_channels, *size)
        with FlopCounterMode(display=False) as counter:
            model(*images)
        weights = sum(v.numel() * v.element_size() for v in (*model.parameters(), *model.buffers()))
        peak = weights + peak_bytes(lambda: model(*images))
    return Cost(sum(p.numel() for p in model.parameters()), round(counter.get_total_flops() / 2e9, 4), peak / 1e6)


def latency(
    model: nn.Module, reference: nn.Module, size: tuple[int, int], x_channels: int, device: str | torch.device = "cpu"
) -> tuple[float, float]:
    """(milliseconds of a call of `model`, its time / the reference's), medians over turns."""
    pair = [m.eval().to(device) for m in (model, reference)]
    images = torch.zeros(1, 3, *size, device=device), torch.zeros(1, x_channels, *size, device=device)
    seconds: list[list[float]] = [[], []]
    with torch.no_grad():
        for turn in range(-3, TURNS):
            for which in ((0, 1), (1, 0))[turn % 2]:  # neither always runs in what the other left in the caches
                _wait(device)
                begun = time.perf_counter()
                pair[which](*images)
                _wait(device)
                if turn >= 0:
                    seconds[which].append(time.perf_counter() - begun)
    ratios = [a / b for a, b in zip(*seconds, strict=True)]
    return 1e3 * statistics.median(seconds[0]), statistics.median(ratios)


def _wait(device: str | torch.device) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def peak_bytes(call: Callable[[], object]) -> int:
    """Most bytes that the tensors made during `call` took at one time; what was there before is not counted.

    >>> peak_bytes(lambda: torch.zeros(1000) + 1 + 1)  # the sum so far and the next one
    8000
    """
    with _Live() as live, torch.no_grad():
        call()
    return live.peak


class _Live(TorchDispatchMode):
    """Follows the storages that operations make, until each is freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {v.untyped_storage()._cdata for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)}
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves(out):
            if isinstance(value, Tensor):
                storage = value.untyped_storage()
                if storage._cdata not in given | self.known:
                    self.known.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size
