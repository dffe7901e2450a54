"""One aligned pair of image files, or the depth alone."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from fusionzoo.data.images import read_rgb, read_x
from fusionzoo.preprocess import validate_pair, validate_x

__all__ = ["read_depth", "read_pair"]


def read_pair(
    rgb: str | Path, x: str | Path, x_kind: str = "depth", scale: float | None = None
) -> tuple[Tensor, Tensor]:
    """(rgb uint8 (3, H, W), x float32 (Cx, H, W)) from two files; depth in metres, 0 = missing.

    Args:
        rgb, x: the files, see `fusionzoo.data.images`.
        x_kind: "depth", "inverse_depth", "hha" or "thermal".
        scale: stored x times this is the unit; None: what the file type settles.

    Raises:
        InputError: a file that cannot be read, sizes that differ, NaN, negative or all-zero depth.
    """
    image, aux = read_rgb(rgb), read_x(x, x_kind, scale)
    validate_pair(image, aux, x_kind, f"{rgb} and {x}")
    return image, aux


def read_depth(path: str | Path, scale: float | None = None) -> Tensor:
    """float32 (1, H, W) metres from a file, 0 = missing; `scale` and errors as of `read_pair`."""
    depth = read_x(path, "depth", scale)
    validate_x(depth, "depth", str(path))
    return depth
