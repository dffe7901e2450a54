"""Learning-rate schedules: the factor of every group's rate at each step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

__all__ = ["SCHEDULES", "schedule", "set_rates"]

SCHEDULES = ("cosine", "poly", "constant")
POWER = 0.9
"""Of the polynomial schedule, as in DeepLab (Chen et al. 2017)."""


def schedule(name: str, steps: int, warmup: int | None = None) -> Callable[[int], float]:
    """Factor of the learning rate at step 0..`steps`: linear warm-up, then a cosine or (1 - t)^0.9 to zero, or 1.

    Args:
        warmup: steps of the warm-up; the first has 1 / warmup of the rate. None: 5 % of `steps`.

    >>> factor = schedule("cosine", 100)
    >>> factor(0), factor(5), factor(100)
    (0.2, 1.0, 0.0)
    >>> schedule("poly", 100, 0)(50) == 0.5**0.9, schedule("constant", 100, 4)(0)
    (True, 0.25)
    """
    warm = max(1, steps // 20) if warmup is None else warmup
    rest = max(1, steps - warm)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        done = min((step - warm) / rest, 1.0)
        if name == "poly":
            return float((1 - done) ** POWER)
        return 0.5 * (1 + math.cos(math.pi * done)) if name == "cosine" else 1.0

    return factor


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Gives each group of `optimiser` its own rate (that at the first call) times `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
