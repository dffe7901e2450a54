"""The average of the weights over training (EMA), which is what is validated and saved."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["update_average"]


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Moves `average` towards `model`: average = d average + (1 - d) model, for weights and statistics alike.

    d is `decay`, and less at the start: (1 + step) / (10 + step) while that is smaller. Counters are copied.

    >>> a, m = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(a.weight), nn.init.ones_(m.weight)
    >>> update_average(a, m, 0.75, step=1000)
    >>> float(a.weight.detach())
    0.25
    """
    decay = min(decay, (1 + step) / (10 + step))
    mine, theirs = average.state_dict(), model.state_dict()
    floats = [k for k, v in mine.items() if v.is_floating_point()]
    torch._foreach_lerp_([mine[k] for k in floats], [theirs[k] for k in floats], 1 - decay)
    for k in mine.keys() - set(floats):
        mine[k].copy_(theirs[k])
