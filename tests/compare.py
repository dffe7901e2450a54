"""How two computations of one thing are compared: outputs to a stated tolerance, stored tensors to the last bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
SAME = 1e-5
"""Two forward passes of one model on one input: other kernels differ by about 1e-7 of the largest value, what is wrong
(a weight, a constant, an order) by 1e-3 and more."""


def distance(got: Tensor, want: Tensor) -> float:
    """Largest difference between two outputs of one shape, as a share of the largest value; NaN where one has NaN."""
    assert got.shape == want.shape, f"{tuple(got.shape)} is not {tuple(want.shape)}"
    got, want = got.detach().double(), want.detach().double()
    return float((got - want).abs().max() / want.abs().max().clamp(min=1e-30))


def off_zero(module: M) -> M:
    """`module` after its first step, as it were: matrices that start at zero are random, of variance 1 / fan-in.

    Until then nothing in front of them has a gradient, and no input that comes in through them matters.
    """
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for value in module.parameters():
            if value.ndim > 1 and not value.is_meta and not bool(value.any()):
                value.copy_(torch.randn(value.shape, generator=generator) * value[0].numel() ** -0.5)
    return module


def same_tensors(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts hold the same keys, types and values, to the last bit."""
    return one.keys() == other.keys() and all(
        value.dtype == other[key].dtype and torch.equal(value, other[key]) for key, value in one.items()
    )


def close(a: Any, b: Any, tolerance: float = 1e-9) -> bool:
    """Equal structure, numbers within tolerance."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    return a == b
