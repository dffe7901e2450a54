"""What stands for a modality that is taken away. A score without a modality depends on it, so it is always named.

* "mean": the model's declared substitute, zeros after normalisation, that is the mean of the data it was made for.
* "zero": zeros before normalisation: a black image; for depth, nothing measured (which the preprocessing fills with the
  mean, so that for depth "zero" and "mean" are one).
* "permute": the modality of another image of the data (`Split.cycle`): each value is real, only the pairing is lost.
  With both modalities absent both come from the same other image.
* "noise": independent normal values with mean 0 and standard deviation 1 after normalisation, drawn for each image anew
  from the seed and the image's number.
* "blur": what is left after three box blurs over an eighth of the shorter side each: the large and soft parts.

All but "permute" are computed from the image itself, so no policy depends on batches or processes. Policies differ in
what they keep: the mean is far from any real image, a permuted one is real but wrong and can mislead the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionzoo.errors import unknown

__all__ = ["CONSTANT", "POLICIES", "blurred", "check_policy", "substitute"]

POLICIES = ("mean", "zero", "permute", "noise", "blur")
CONSTANT = ("mean", "zero")
"""Policies whose substitute is the same for all images."""
BLUR = 8


class Normaliser(Protocol):
    """The part of a model's preprocessing that "zero" needs: raw to normalised, of each modality."""

    rgb: Callable[[Tensor], Tensor]
    x: Callable[[Tensor], Tensor]


def check_policy(name: str) -> None:
    """Raises UnknownNameError for a policy that does not exist."""
    if name not in POLICIES:
        raise unknown("absence policy", name, POLICIES)


def substitute(
    policy: str,
    stream: str,
    value: Tensor,
    places: Sequence[int],
    preprocess: Normaliser,
    other: Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """What stands for a batch of one modality.

    Args:
        policy: one of POLICIES.
        stream: "rgb" or "x".
        value: (B, C, H, W), normalised.
        places: number of each image in the run.
        other: like `value`, of the other images; needed by "permute" only.

    Returns:
        Shaped like `value`.

    >>> from fusionzoo.preprocess import Preprocess
    >>> value = torch.ones(2, 3, 4, 4)
    >>> [round(float(substitute(p, "rgb", value, [0, 1], Preprocess()).mean()), 2) for p in ("mean", "zero", "blur")]
    [0.0, -1.99, 1.0]
    """
    check_policy(policy)
    if policy == "mean":
        return torch.zeros_like(value)
    if policy == "zero":
        raw = value.new_zeros(value.shape, dtype=torch.float32)
        return (preprocess.rgb(raw) if stream == "rgb" else preprocess.x(raw)).to(value.dtype)
    if policy == "permute":
        assert other is not None and other.shape == value.shape
        return other
    if policy == "blur":
        return blurred(value)
    return torch.stack([_noise(value[i], place, stream, seed) for i, place in enumerate(places)])


def _noise(value: Tensor, place: int, stream: str, seed: int) -> Tensor:
    """Drawn on the CPU, so that every machine draws the same."""
    number = (seed * 2 + (stream == "x")) * 1_000_003 + place
    drawn = torch.randn(value.shape, generator=torch.Generator().manual_seed(number))
    return drawn.to(value)


def blurred(value: Tensor) -> Tensor:
    """Three box blurs, the edges repeated. (B, C, H, W) -> the same shape."""
    width = min(value.shape[-2:]) // BLUR | 1  # odd
    if width == 1:
        return value
    margin = width // 2
    out = value
    for _ in range(3):
        # separable: rows, then columns
        out = F.avg_pool2d(F.pad(out, (margin, margin, 0, 0), mode="replicate"), (1, width), stride=1)
        out = F.avg_pool2d(F.pad(out, (0, 0, margin, margin), mode="replicate"), (width, 1), stride=1)
    return out
