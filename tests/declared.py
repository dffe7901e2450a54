"""Holds the values that pass a probe against what the probe declares: axes, range, sum."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from fusionzoo.probes.point import Probe

__all__ = ["check_declaration"]


def check_declaration(point: Probe, value: Tensor, what: str, sizes: Mapping[str, int | Collection[int]]) -> None:
    """AssertionError unless `value` has the declared axes, range and sum.

    Args:
        what: named in the message.
        sizes: axis -> its size, or those it may have. Axes that are not named must agree within the value.
    """
    assert bool(torch.isfinite(value).all()), what
    axes = point.axes.split()
    assert len(axes) == value.ndim, f"{what}: {tuple(value.shape)} has not the axes {point.axes}"
    seen: dict[str, int] = {}
    for axis, length in zip(axes, value.shape, strict=True):
        allowed = sizes.get(axis, seen.setdefault(axis, length))
        if axis.isdigit():
            allowed = int(axis)
        elif axis == "C":
            assert point.channels is not None, f"{what}: C, but no number of channels"
            allowed = point.channels
        wanted = {allowed} if isinstance(allowed, int) else set(allowed)
        assert length in wanted, f"{what}: axis {axis} of {tuple(value.shape)} is not {allowed}"
    if "C" not in axes and point.channels is not None:
        assert value.shape[min(1, value.ndim - 1)] == point.channels, what
    if point.low is not None:
        assert float(value.min()) >= point.low, what
    if point.high is not None:
        assert float(value.max()) <= point.high, what
    if point.sums_to_one is not None:
        total = value.sum(point.sums_to_one)
        torch.testing.assert_close(total, torch.ones_like(total))
