"""What training has to know of a data set before it begins, found in one pass over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fusionzoo.data.validate import no_x
from fusionzoo.modalities import parts_of
from fusionzoo.preprocess import QUANTILES, Preprocess, missing_x
from fusionzoo.train.data import loader

__all__ = ["Survey", "survey"]

VALUES = 1 << 21
"""Values of x that the quantiles are of, at most; evenly spaced in every image."""


@dataclass(frozen=True)
class Survey:
    """Facts of a data set.

    Attributes:
        n: images.
        pixels: (K,) int64, labelled pixels of each class.
        x_mean, x_std: mean and standard deviation of valid x per channel (Cx numbers; of 1/x for inverse depth), 4
            digits; missing pixels do not count.
        x_quantiles: the 1, 25, 50, 75 and 99 % quantiles of valid raw x, all channels together.
        x_missing: mean and largest share of missing values an image, over the images that have any valid value.
            Of several modalities both hold the numbers of the first, of the second, ...
        empty: indices of the images without any valid value of x.
        unlike: images whose x is far from what the given weights saw, and what the first of them says of itself.
    """

    n: int
    pixels: Tensor
    x_mean: tuple[float, ...]
    x_std: tuple[float, ...]
    x_quantiles: tuple[float, ...]
    x_missing: tuple[float, ...]
    empty: tuple[int, ...]
    unlike: tuple[int, str]


def survey(
    data: Any, *, preprocess: Preprocess | None = None, workers: int = 0, look: Callable[[int, int], None] | None = None
) -> Survey:
    """Goes once through `data` (samples as of `fusionzoo.data`) and fills its cache on the way.

    Args:
        preprocess: of the weights that training starts from, to compare with what they saw.
        workers: processes that read.
        look: called for every image with (how many were read, how many there are).

    Raises:
        InputError: an unusable sample, by name.

    >>> from fusionzoo.data import Planted
    >>> found = survey(Planted("train", n=2, size=(32, 32)))
    >>> found.n, found.empty, len(found.x_quantiles), 1 < found.x_mean[0] < 5
    (2, (), 5, True)
    """
    counts = torch.zeros(256, dtype=torch.int64)
    sums = torch.zeros(3, data.x_channels, dtype=torch.float64)  # number, sum, sum of squares of each channel
    parts = parts_of(data.x_kind, data.x_channels)
    values: list[list[Tensor]] = [[] for _ in parts]
    shares: list[list[float]] = [[] for _ in parts]
    empty: list[int] = []
    far: list[str] = []
    most = max(64, VALUES // max(1, len(data)))
    for i, sample in enumerate(s for batch in loader(data, 1, workers=workers) for s in batch):
        if look is not None:
            look(i + 1, len(data))
        counts += torch.bincount(sample["label"].flatten(), minlength=256)
        x = sample["x"].float()
        valid = ~missing_x(x, data.x_kind)
        if no_x(x, data.x_kind):
            empty.append(i)
            continue
        fed = x.double().masked_fill(~valid, 1.0)
        for part, own, share in zip(parts, values, shares, strict=True):
            share.append(1 - float(part.of(valid).float().mean()))
            seen = part.of(x)[part.of(valid)]
            own.append(seen[:: -(-seen.numel() // most)])
            if part.kind == "inverse_depth":
                part.of(fed).reciprocal_()
        fed = fed.masked_fill(~valid, 0.0).flatten(1)  # (Cx, HW)
        sums += torch.stack([valid.flatten(1).sum(1).double(), fed.sum(1), fed.square().sum(1)])
        if preprocess is not None and (sentence := preprocess.unlike(x)) is not None:
            far.append(f"{sample['id']}: {sentence}")
    mean = sums[1] / sums[0].clamp(min=1)
    std = (sums[2] / sums[0].clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    return Survey(
        n=len(data),
        pixels=counts[: data.num_classes],
        x_mean=tuple(round(float(v), 4) for v in mean),
        x_std=tuple(round(float(v), 4) for v in std),
        x_quantiles=tuple(q for own in values for q in _quantiles(own)),
        x_missing=tuple(round(v, 4) for own in shares if own for v in (sum(own) / len(own), max(own))),
        empty=tuple(empty),
        unlike=(len(far), far[0] if far else ""),
    )


def _quantiles(values: list[Tensor]) -> tuple[float, ...]:
    if not values:
        return ()
    ordered = torch.cat(values).sort().values
    places = [round(q * (len(ordered) - 1)) for q in QUANTILES]
    return tuple(round(float(ordered[i]), 4) for i in places)
