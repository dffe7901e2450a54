"""Weights of an RGB encoder for an encoder of another input."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionzoo.errors import InputError

__all__ = ["init_x_from_rgb"]


def init_x_from_rgb(
    rgb_state: dict[str, Tensor], x_state: dict[str, Tensor], *, joined: bool = False
) -> dict[str, Tensor]:
    """An x encoder's state from RGB weights: equal where shapes are, the first convolution summed over its input
    channels.

    The kernel sum keeps the response to a grey image of equal values in every channel; it is divided over Cx channels.

    Args:
        joined: the first convolution sees colour, then x, in one image: colour's kernels stay as they are, and x's have
            the strength of one colour channel, their mean, divided over Cx.
    """
    for key in {**x_state, **rgb_state}:
        if key not in rgb_state or key not in x_state:
            raise InputError(f"{key!r} is {'missing' if key in x_state else 'left over'}: weights of another encoder")
    out = {}
    for key, target in x_state.items():
        source = rgb_state[key]
        if source.shape != target.shape:
            if source.ndim != 4 or source.shape[0] != target.shape[0] or source.shape[2:] != target.shape[2:]:
                raise InputError(f"cannot fit {key} {tuple(source.shape)} to {tuple(target.shape)}")
            if joined:
                left = target.shape[1] - source.shape[1]
                x = source.mean(dim=1, keepdim=True).repeat_interleave(left, dim=1) / left
                source = torch.cat([source, x], dim=1)
            else:
                source = source.sum(dim=1, keepdim=True).expand_as(target) / target.shape[1]
        out[key] = source.to(target.dtype).clone()
    return out
