"""Nearly equal images: the same picture resized, compressed or lightened. One fingerprint of 256 bits an image.

The fingerprint says, on a grid of 16 x 17 mean brightnesses, whether each is below its right neighbour ("difference
hash"). Two views of one room differ in a hundred bits and more, two copies of a picture in a few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor

__all__ = ["CLOSE", "alike", "fingerprint"]

CLOSE = 12
"""Bits of 256 in which fingerprints of nearly equal images may differ."""

_BLOCK = 512
_PLAIN = 24  # so many bits must be set, and unset: a flat picture says nothing


def fingerprint(rgb: Tensor) -> np.ndarray | None:
    """(3, H, W) -> (4,) uint64; None for a picture too plain to be told from others.

    >>> import torch
    >>> fingerprint(torch.zeros(3, 8, 8, dtype=torch.uint8)) is None
    True
    """
    grid = F.interpolate(rgb.float().mean(dim=0)[None, None], (16, 17), mode="area")[0, 0]
    bits = (grid[:, 1:] > grid[:, :-1]).flatten().numpy()  # (16, 16) -> (256,)
    if not _PLAIN <= int(bits.sum()) <= bits.size - _PLAIN:
        return None
    return np.packbits(bits).view(np.uint64)


def alike(
    ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray], close: int = CLOSE
) -> Iterator[tuple[int, int, int]]:
    """(i, j, differing bits) of every i of `ours` that has a nearest j of `theirs` within `close` bits.

    >>> a = np.arange(4, dtype=np.uint64)
    >>> list(alike([a, a + np.uint64(7)], [~a, a]))
    [(0, 1, 0), (1, 1, 10)]
    """
    if not ours or not theirs:
        return
    others = np.stack(theirs)  # (n, 4)
    for start in range(0, len(ours), _BLOCK):
        block = np.stack(ours[start : start + _BLOCK])
        bits = np.zeros((len(block), len(others)), np.int32)
        for word in range(block.shape[1]):
            bits += np.bitwise_count(block[:, word, None] ^ others[None, :, word])
        best = bits.argmin(axis=1)
        for i, j in enumerate(best):
            if bits[i, j] <= close:
                yield start + i, int(j), int(bits[i, j])
