"""Official weights -> ours: `checkpoints` reads whole models, `blocks` runs the authors' parts for parity.

    block(kind, state_dict, ctor)   our fusion block, called with the original's inputs and returning its outputs
    model(kind, state_dict, ctor)   the same for a whole model

`kind` is one of `original_kinds()`, `state_dict` maps the original's keys to tensors, `ctor` holds the arguments of the
original's constructor. Quirks that official weights need are switched on here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from fusionzoo.errors import check_known
from fusionzoo.hub.originals import blocks, checkpoints

__all__ = ["block", "model", "original_kinds"]


def original_kinds() -> list[str]:
    """Every kind that `block` or `model` knows, sorted.

    >>> "acnet_acm" in original_kinds(), "mfnet" in original_kinds()
    (True, True)
    """
    return sorted({*blocks.kinds(), *checkpoints.kinds()})


def block(kind: str, state_dict: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> nn.Module:
    """Our module with the original's weights, in eval mode, called as the original is.

    Args:
        kind: a name of `original_kinds()`.
        state_dict: the original's keys and tensors, complete.
        ctor: the original's constructor arguments; sizes are taken from here, never guessed from the tensors.

    Returns:
        A module: the original's inputs in its order -> its outputs in its order (a tensor, or a tuple of tensors).
        Inner values of the original are probes under `original.`, in its layout; our own probes under `module.`.

    Raises:
        UnknownNameError: no such kind.
        InputError: `ctor` lacks an argument or holds one that is not supported.
        CheckFailed: keys without a place, places without a key, or other shapes; all listed.
    """
    check_known("original block", kind, blocks.kinds(), "fusionzoo.hub.originals.original_kinds()")
    return blocks.build(kind, state_dict, ctor)


def model(kind: str, state_dict: Mapping[str, Tensor], ctor: Mapping[str, Any]) -> nn.Module:
    """Our whole model with the original's weights, in eval mode, called as the original is.

    Arguments, what is returned and errors are as of `block`; the model itself, with our inputs `(rgb, x)`, is the
    `.module` of what is returned.
    """
    check_known("original model", kind, checkpoints.kinds(), "fusionzoo.hub.originals.original_kinds()")
    return blocks.whole(kind, state_dict, ctor)
