"""Error bars from per-group sums: the delete-one-group jackknife.

Images are dealt into groups (contiguous blocks where neighbours are alike, as video frames are); sums are kept per
group.
Leaving out one group at a time costs one subtraction, no second pass:
se = sqrt((g - 1) / g * sum_i (theta_i - mean theta)^2) (Tukey 1958; Efron and Stein 1981).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from fusionzoo.errors import InputError

__all__ = ["group_of", "jackknife"]


def group_of(index: int, n: int, groups: int) -> int:
    """The contiguous block, 0 .. groups-1, of image `index` among `n`.

    >>> [group_of(i, 6, 3) for i in range(6)]
    [0, 0, 1, 1, 2, 2]
    """
    if not 0 <= index < n:
        raise InputError(f"image {index} is not among {n}")
    return index * groups // n


def jackknife(statistic: Callable[..., Tensor], tallies: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Value and standard error of a statistic of sums.

    Args:
        statistic: takes the sums over groups, one per tally, and returns a tensor of any shape.
        tallies: each (G, ...), dim 0 the group. Groups whose tallies are all zero are left out.

    Returns:
        The statistic of all groups, and its standard error of the same shape; NaN with fewer than two groups.

    >>> x = torch.tensor([1., 2., 3., 4.], dtype=torch.float64)
    >>> mean, se = jackknife(lambda s, n: s / n, [x, torch.ones(4, dtype=torch.float64)])
    >>> round(float(mean), 4), round(float(se), 4)  # the usual standard error of a mean
    (2.5, 0.6455)
    """
    totals = [t.sum(0) for t in tallies]
    value = statistic(*totals)
    used = torch.stack([t.reshape(len(t), -1).ne(0).any(1) for t in tallies]).any(0).nonzero().flatten().tolist()
    if len(used) < 2:
        return value, torch.full_like(value, float("nan"))
    without = torch.stack([statistic(*(total - t[i] for total, t in zip(totals, tallies, strict=True))) for i in used])
    g = len(used)
    return value, ((g - 1) / g * (without - without.mean(0)).square().sum(0)).sqrt()
