"""Spearman rank correlation (Spearman 1904), with ties averaged."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["spearman"]


def ranks(values: Tensor) -> Tensor:
    """Ranks from 0 along the last axis (..., n), ties averaged, float64.

    >>> ranks(torch.tensor([5.0, 1.0, 5.0])).tolist()
    [1.5, 0.0, 1.5]
    """
    values = values.contiguous()
    ordered = values.sort().values
    below, upto = (torch.searchsorted(ordered, values, right=right) for right in (False, True))
    return (below + upto - 1).double() / 2


def pearson(a: Tensor, b: Tensor) -> float:
    """Pearson correlation of two vectors (n,); NaN where one is constant."""
    a, b = a - a.mean(), b - b.mean()
    size = float((a.square().sum() * b.square().sum()).sqrt())
    return float((a * b).sum()) / size if size > 0 else float("nan")


def spearman(a: Tensor, b: Tensor) -> float:
    """Spearman rank correlation of two vectors, ties averaged; pairs with a NaN are left out; NaN where undefined.

    >>> spearman(torch.tensor([1.0, 2.0, 9.0]), torch.tensor([0.1, 0.2, 0.3]))
    1.0
    """
    a, b = a.double().flatten(), b.double().flatten()
    keep = ~(a.isnan() | b.isnan())
    if int(keep.sum()) < 2:
        return float("nan")
    return pearson(ranks(a[keep]), ranks(b[keep]))
