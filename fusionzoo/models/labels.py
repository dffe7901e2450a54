"""For all that predicts or validates: eval mode, and class scores to a label map in bounded memory or a probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["class_probability", "evaluating", "predict_labels"]

MOST = 1 << 26
"""Upsampled scores held at once, 256 MB of float32; a larger label map is made in horizontal stripes."""


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def predict_labels(
    logits: Tensor, size: Sequence[int], *, dtype: torch.dtype = torch.int64, most: int = MOST
) -> Tensor:
    """Arg max over classes of logits (B, K, h, w), upsampled to `size` bilinearly (align_corners=False).

    Interpolation only averages four neighbours, so a class wins nowhere if, in every 2x2 window of the logits, its
    largest value lies below another class's smallest. Such classes (most of 40) are left out before the upsampling;
    the result is that of the whole computation. A stripe's scores equal those of the whole map to float32 rounding.

    Args:
        logits: of any floating type; finite.
        size: (H, W) of the result.
        dtype: of the result; uint8 holds 256 classes.
        most: numbers that the upsampled scores of one image may have at once.

    Returns:
        (B, H, W) class numbers 0..K-1; the lowest of equals.

    >>> logits = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]], [[-9.0, -9.0]]]])
    >>> predict_labels(logits, (1, 4))
    tensor([[[0, 0, 1, 1]]])
    """
    height, width = size
    if tuple(logits.shape[2:]) == (height, width):
        return logits.max(1).indices.to(dtype)
    out = torch.empty((logits.shape[0], height, width), dtype=dtype, device=logits.device)
    for one, labels in zip(logits.float(), out, strict=True):  # (K, h, w), (H, W)
        able = _able(one)
        scores = one[able]
        rows = max(1, most // (len(able) * width))
        if rows >= height:
            up = F.interpolate(scores[None], size=(height, width), mode="bilinear", align_corners=False)[0]
            labels.copy_(able[up.max(0).indices])  # the first of equals, as argmax; three times as fast
            continue
        for top in range(0, height, rows):
            up = _stripe(scores, top, min(top + rows, height), (height, width))
            labels[top : top + rows] = able[up.max(0).indices]
    return out


def class_probability(logits: Tensor, size: Sequence[int], number: int) -> Tensor:
    """Probability (B, H, W), float32, of class `number` from logits (B, K, h, w): upsampled to `size` as by
    `predict_labels`, then softmax over classes.

    >>> class_probability(torch.tensor([[[[0.0]], [[0.0]]]]), (1, 2), 1)
    tensor([[[0.5000, 0.5000]]])
    """
    scores = logits.float()
    if tuple(scores.shape[2:]) != tuple(size):
        scores = F.interpolate(scores, size=tuple(size), mode="bilinear", align_corners=False)
    return scores.softmax(1)[:, number]


def _able(logits: Tensor) -> Tensor:
    """The classes of (K, h, w) that can win somewhere between the pixels, ascending."""
    high, low = logits, logits  # of each 2x2 window; far faster by shifted views than by max_pool2d
    for axis in (1, 2):
        n = logits.shape[axis] - 1
        if n > 0:
            high = torch.maximum(high.narrow(axis, 0, n), high.narrow(axis, 1, n))  # (K, h - 1, w - 1)
            low = torch.minimum(low.narrow(axis, 0, n), low.narrow(axis, 1, n))
    bar = low.amax(0) - 1e-5 * logits.abs().amax()  # rounding of the interpolation
    return (high >= bar).any(dim=2).any(dim=1).nonzero()[:, 0]


def _stripe(scores: Tensor, top: int, bottom: int, size: tuple[int, int]) -> Tensor:
    """Rows `top` to `bottom` of scores (K, h, w) upsampled to `size`: (K, bottom - top, W)."""
    source = scores.shape[1]
    at = (torch.arange(top, bottom, device=scores.device).float() + 0.5) * (source / size[0]) - 0.5
    at = at.clamp(min=0)
    above = at.long().clamp(max=source - 1)
    below = (above + 1).clamp(max=source - 1)
    rows = torch.lerp(scores[:, above], scores[:, below], (at - above)[:, None])  # (K, rows, w)
    return F.interpolate(rows[None], size=(bottom - top, size[1]), mode="bilinear", align_corners=False)[0]
