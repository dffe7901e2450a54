"""The optimiser and its parts: parameter groups, gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from fusionzoo.models import FusionModel
from fusionzoo.models.parts import encoder_layers, encoder_parts
from fusionzoo.train.settings import Settings

__all__ = ["clip_gradients", "optimiser_of", "parameter_groups"]

MAX_NORM = 5.0
"""Largest norm of the gradient of all parameters together."""

GIVEN_SHARE = 0.3
"""Learning rate of encoders with given weights / that of all else, where the settings name none."""

MOMENTUM = 0.9
"""Of SGD, Nesterov's."""


def parameter_groups(
    model: nn.Module,
    slow: Iterable[nn.Module],
    *,
    lr: float,
    encoder_lr: float,
    layers: Iterable[Sequence[Sequence[nn.Parameter]]] = (),
    decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Each trainable parameter of `model` in exactly one group, for an optimiser of torch.optim.

    Which parameters share a group depends on no rate, so that an optimiser's state fits those of other rates.

    Args:
        slow: modules of `model` that learn at `encoder_lr`; all others at `lr`.
        layers: sequences of layers (see `fusionzoo.models.parts.encoder_layers`), the first nearest to the image.
        decay: a layer learns at `decay` times the rate of the one after it; the last of a sequence at its own.

    Vectors (biases, norms, scales) are not decayed: their groups have weight_decay 0; the others take the optimiser's.

    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    >>> groups = parameter_groups(net, [net[0]], lr=1.0, encoder_lr=0.1)
    >>> [(g["lr"], "weight_decay" in g, len(g["params"])) for g in groups]
    [(0.1, False, 1), (0.1, True, 1), (1.0, False, 1), (1.0, True, 1)]
    """
    held_back = {id(p) for module in slow for p in module.parameters()}
    depth = {id(p): len(seq) - 1 - i for seq in layers for i, layer in enumerate(seq) for p in layer}
    groups: dict[tuple[bool, int, bool], list[nn.Parameter]] = {}
    for p in model.parameters():
        if p.requires_grad:
            groups.setdefault((id(p) in held_back, depth.get(id(p), 0), p.ndim > 1), []).append(p)
    return [
        {"params": ps, "lr": (encoder_lr if is_slow else lr) * decay**n} | ({} if is_matrix else {"weight_decay": 0.0})
        for (is_slow, n, is_matrix), ps in groups.items()
    ]


def optimiser_of(model: FusionModel, settings: Settings) -> torch.optim.Optimizer:
    """The optimiser of a run on `model`, as `settings` name it, with all trainable parameters."""
    slow, encoder_lr = encoder_parts(model).values(), settings.encoder_lr
    if encoder_lr is None:
        encoder_lr = settings.lr * (GIVEN_SHARE if settings.init else 1.0)
    layers = encoder_layers(model) if settings.layer_decay < 1 else ()
    groups = parameter_groups(model, slow, lr=settings.lr, encoder_lr=encoder_lr, layers=layers,
                              decay=settings.layer_decay)  # fmt: skip
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=MOMENTUM, nesterov=True,
                               weight_decay=settings.weight_decay, fused=True)  # fmt: skip
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)


def clip_gradients(model: nn.Module, max_norm: float = MAX_NORM) -> float:
    """Scales all gradients of `model` down together where their norm is above `max_norm`; returns the norm before.

    The norm is NaN or infinite where a gradient is: then the gradients are of no use.
    """
    return float(torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm))
