"""One aligned pair of image files, or the depth alone; bringing x and label to the size of rgb."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.auxiliary import DEPTH_KINDS, XFormat, read_x
from fusionzoo.data.decode import orientation
from fusionzoo.data.images import read_rgb, resize_nearest
from fusionzoo.errors import FusionZooWarning, InputError
from fusionzoo.modalities import split
from fusionzoo.preprocess import missing_x, validate_pair, validate_x

__all__ = ["check_pair", "fitted", "joined", "nearest", "read_depth", "read_pair", "turned_alone"]


def read_pair(
    rgb: str | Path,
    x: str | Path,
    x_kind: str = "depth",
    scale: float | None = None,
    *,
    align: bool = False,
    offset: float = 0.0,
    encoding: str | None = None,
    missing: tuple[float, ...] = (),
    keep_empty: bool = False,
    say: Callable[[str], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """(rgb uint8 (3, H, W), x float32 (Cx, H, W)) from two files; depth in metres, 0 = missing.

    Args:
        rgb, x: the files, see `fusionzoo.data.decode`.
        x_kind, scale, offset, encoding, missing: see `XFormat`.
        align: bring x of another size to that of rgb, by nearest neighbour; both must show the same view.
        keep_empty: accept x without any valid value.
        say: called with a remark, see `turned_alone`; None: warnings.warn.

    Raises:
        InputError: a file that cannot be read, sizes that differ, negative or all-missing depth, a unit that cannot be.
    """
    image = read_rgb(rgb)
    raw, factor = XFormat(x_kind, scale, offset, encoding, None, missing).read(x)
    where = f"{rgb} and {x}"
    raw = fitted(raw, (image.shape[-2], image.shape[-1]), align, where)
    if (remark := turned_alone({"rgb": rgb, "x": x}, (image.shape[-2], image.shape[-1]))) is not None:
        (say or partial(warnings.warn, category=FusionZooWarning, stacklevel=2))(remark)
    aux = torch.from_numpy(raw.astype(np.float32) * np.float32(factor))
    check_pair(image, aux, x_kind, where, keep_empty)
    return image, aux


def read_depth(
    path: str | Path, scale: float | None = None, *, encoding: str | None = None, missing: tuple[float, ...] = ()
) -> Tensor:
    """float32 (1, H, W) metres from a file, 0 = missing; arguments and errors as of `read_pair`."""
    depth = read_x(path, "depth", scale, encoding=encoding, missing=missing)
    validate_x(depth, "depth", str(path))
    return depth


def fitted(array: np.ndarray, size: tuple[int, int], align: bool, where: str, part: str = "x") -> np.ndarray:
    """(..., h, w) at `size`, that of rgb: as it is, resampled by nearest neighbour when `align`, or refused.

    Raises:
        InputError: another size, and `align` is off; or the same shape turned by a quarter (within a tenth), which no
            resampling aligns.
    """
    height, width = array.shape[-2:]
    if (height, width) == size:
        return array
    text = f"{where}: {part} is {width}x{height} but rgb is {size[1]}x{size[0]} (width x height)"
    if (height - width) * (size[0] - size[1]) < 0 and abs(width * size[1] - height * size[0]) <= 0.1 * width * size[1]:
        raise InputError(
            f"{text}: one of them is turned by a quarter, in its pixels or by its EXIF orientation, which is applied;"
            " turn and export them alike"
        )
    if align:
        return nearest(array, size)
    same = abs(height * size[1] - width * size[0]) <= 0.02 * height * size[1]
    raise InputError(
        f"{text}; {'' if same else 'their shapes differ, and '}if both show the same view, --align resamples {part}"
        " (align = true in dataset.toml, align=True); otherwise register and export them at one size"
    )


def joined(
    parts: Sequence[tuple[str, np.ndarray, float]], size: tuple[int, int], align: bool, where: str
) -> np.ndarray:
    """x of several modalities as one: float32 (Cx, H, W) at `size`, that of rgb, in the units of their kinds.

    Args:
        parts: (name, array (C, h, w) as stored, factor that gives its unit) of each modality.

    Raises:
        InputError: as of `fitted`.
    """
    values = ((name, raw.astype(np.float32) * np.float32(factor)) for name, raw, factor in parts)
    return np.concatenate([fitted(value, size, align, where, name) for name, value in values])


def turned_alone(parts: Mapping[str, str | Path], size: tuple[int, int]) -> str | None:
    """One sentence where some parts of an image were turned by their EXIF orientation, others have none, and no size
    tells whether those lie as the picture shows or as it is stored: a half turn, a mirror image, a square. Else None.

    Args:
        parts: part ("rgb", "x", "label") -> its file. size: (H, W), upright.
    """
    turns = {part: orientation(path) for part, path in parts.items()}
    turned = {part: turn for part, turn in turns.items() if turn > 4 and size[0] == size[1] or 1 < turn <= 4}
    plain = [part for part, turn in turns.items() if turn == 1]
    if not turned or not plain:
        return None
    first = next(iter(turned))
    is_one = len(plain) == 1
    return (
        f"{parts[first]} was turned by its EXIF orientation ({turned[first]}) and {' and '.join(plain)}"
        f" {'has' if is_one else 'have'} none: right if {'it lies' if is_one else 'they lie'} as the picture shows,"
        " wrong if as the camera stored it; export all upright, without EXIF, to be sure"
    )


def nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`resize_nearest` for NumPy arrays of any dtype."""
    height, width = array.shape[-2:]
    if (height, width) == size:
        return array
    index = resize_nearest(torch.arange(height * width).view(height, width), size).numpy()
    return array.reshape(*array.shape[:-2], -1)[..., index]


def check_pair(rgb: Tensor, x: Tensor, x_kind: str, where: str, keep_empty: bool = False) -> None:
    """`validate_pair` for an image of a data set; x that is missing everywhere is accepted with `keep_empty`, and
    refused without it, saying how to go on. Of several modalities each is looked at by itself."""
    if "+" in x_kind:
        for part, own in split(x, x_kind):
            check_pair(rgb, own, part.kind, f"{where}, {part.name}", keep_empty)
        return
    if bool(missing_x(x, x_kind).all()) and not bool((x < 0).any()):
        if not keep_empty:
            what = "depth is zero everywhere (or NaN)" if x_kind in DEPTH_KINDS else "x is NaN or infinite everywhere"
            raise InputError(
                f"{where}: {what}: no pixel was measured; --empty skip leaves such images out, --empty keep uses their"
                " rgb"
            )
        x = torch.ones_like(x)  # nothing but its shape is left to validate
    validate_pair(rgb, x, x_kind, where)
