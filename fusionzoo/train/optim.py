"""The optimiser's parts: parameter groups, gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

__all__ = ["clip_gradients", "parameter_groups"]

MAX_NORM = 5.0
"""Largest norm of the gradient of all parameters together."""


def parameter_groups(
    model: nn.Module, slow: Iterable[nn.Module], *, lr: float, encoder_lr: float
) -> list[dict[str, Any]]:
    """Each trainable parameter of `model` in exactly one group, for torch.optim.AdamW.

    Args:
        slow: modules of `model` that learn at `encoder_lr`; all others at `lr`.

    Vectors (biases, norms, scales) are not decayed: their groups have weight_decay 0; the others take the optimiser's.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> groups = parameter_groups(net, [net[0]], lr=1.0, encoder_lr=0.1)
    >>> [(g["lr"], "weight_decay" in g, len(g["params"])) for g in groups]
    [(0.1, False, 1), (0.1, True, 1), (1.0, False, 1), (1.0, True, 1)]
    """
    held_back = {id(p) for module in slow for p in module.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in model.parameters():
        if p.requires_grad:
            groups.setdefault((id(p) in held_back, p.ndim > 1), []).append(p)
    return [
        {"params": ps, "lr": encoder_lr if is_slow else lr} | ({} if is_matrix else {"weight_decay": 0.0})
        for (is_slow, is_matrix), ps in groups.items()
    ]


def clip_gradients(model: nn.Module, max_norm: float = MAX_NORM) -> float:
    """Scales all gradients of `model` down together where their norm is above `max_norm`; returns the norm before.

    The norm is NaN or infinite where a gradient is: then the gradients are of no use.
    """
    return float(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm))
