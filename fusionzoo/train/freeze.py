"""Parts of a model that training leaves as they are: their weights, and the statistics of their norms."""

from __future__ import annotations

from fnmatch import fnmatchcase

from torch import nn

from fusionzoo.errors import InputError, closest
from fusionzoo.models import FusionModel
from fusionzoo.models.classes import class_axes
from fusionzoo.models.parts import encoder_parts

__all__ = ["freeze", "idle_encoders", "train_mode"]

PARTS = ("encoder", "all-but-head")


def freeze(model: FusionModel, what: str) -> str:
    """Makes parameters of `model` constant and says which in one line.

    In a training loop of one's own `train_mode(model)` takes the place of `model.train()`: it keeps the statistics of
    frozen norms too, as `finetune` does.

    Args:
        what: "encoder" (see `fusionzoo.models.parts`), "all-but-head" (all whose shape does not depend on the number of
            classes or scene types), or patterns of the names of modules or parameters, parted by commas: "rgb_encoder",
            "stage*".

    Raises:
        InputError: a pattern that nothing matches, or nothing left to train.

    >>> from fusionzoo.models import create_model
    >>> freeze(create_model("sum_mobilenetv1-025_fpn"), "all-but-head")
    'frozen: all-but-head, 2,173,712 of 2,175,389 parameters; their norms keep their statistics'
    """
    names = dict(model.named_parameters())
    if what == "encoder":
        chosen = {id(p) for part in encoder_parts(model).values() for p in part.parameters()}
    elif what == "all-but-head":
        heads = class_axes(model)
        chosen = {id(p) for name, p in names.items() if name not in heads and not name.startswith("scene_head.")}
    else:
        chosen = {id(names[name]) for pattern in what.split(",") for name in _matched(model, pattern.strip())}
    for p in names.values():
        p.requires_grad_(p.requires_grad and id(p) not in chosen)
    if not any(p.requires_grad for p in names.values()):
        raise InputError(f"--freeze {what} leaves nothing to train; name less, such as encoder or all-but-head")
    total = sum(p.numel() for p in names.values())
    frozen = sum(p.numel() for p in names.values() if not p.requires_grad)
    return f"frozen: {what}, {frozen:,} of {total:,} parameters; their norms keep their statistics"


def idle_encoders(model: FusionModel) -> list[str]:
    """Names of the encoders none of whose parameters learn.

    >>> from fusionzoo.models import create_model
    >>> idle_encoders(create_model("sum_mobilenetv1-025_fpn"))
    []
    """
    parts = encoder_parts(model)
    return [name for name, part in parts.items() if not any(p.requires_grad for p in part.parameters())]


def train_mode(model: nn.Module) -> None:
    """Training mode, but evaluation mode for every module all of whose parameters are frozen.

    So a frozen batch norm normalises by its stored statistics and keeps them, and a frozen part drops nothing.
    """
    model.train()
    for module in model.modules():
        own = list(module.parameters())
        if own and not any(p.requires_grad for p in own):
            module.eval()


def _matched(model: FusionModel, pattern: str) -> list[str]:
    """Parameters whose name, or that of a module around them, matches."""
    names = [name for name, _ in model.named_parameters()]
    out = [
        name
        for name in names
        for parts in [name.split(".")]
        if any(fnmatchcase(".".join(parts[:n]), pattern) for n in range(1, len(parts) + 1))
    ]
    if not out:
        known = [*PARTS, *{".".join(parts[:n]): 0 for name in names for parts in [name.split(".")] for n in (1, 2, 3)}]
        near = closest(pattern, known) or known[:5]
        raise InputError(f"--freeze {pattern}: no part of the model has that name; there are {', '.join(near)}, ...")
    return out
