"""Reading one image file as colour or as a label, and resizing. `decode` gets the pixels, `auxiliary` reads x."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from fusionzoo.data.decode import Pixels, read_pixels
from fusionzoo.errors import InputError

__all__ = ["read_colour_label", "read_label", "read_rgb", "resize_nearest", "resize_rgb", "rgb_bytes"]


def read_rgb(path: str | Path) -> Tensor:
    """uint8 (3, H, W), upright. Grey is repeated, alpha dropped, palettes and CMYK turned into RGB.

    Colour of 16 bits is brought to 8; whole numbers of any type that lie in 0..255 are taken as they are, and so are
    floats; floats in 0..1 are multiplied by 255. One bit is black and white.

    Raises:
        InputError: see `read_pixels`; also values whose range cannot be told, and what looks like depth.
    """
    array = read_pixels(path, colours=True).values
    if array.shape[2] not in (1, 3, 4):
        raise InputError(f"{path} has {array.shape[2]} channels; colour needs 3 (or 4, the last ignored)")
    array = _eight_bits(array[..., :3], path)
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def _eight_bits(array: np.ndarray, path: str | Path) -> np.ndarray:
    """Colour of any dtype as uint8."""
    if array.dtype == np.bool_:
        return array * np.uint8(255)
    if array.dtype == np.uint8:
        return array
    refused = f"{path} is {array.dtype}, not 8-bit colour"
    if array.shape[2] == 1:
        raise InputError(f"{refused}; convert it to an 8-bit PNG or JPEG (is it the depth?)")
    low, high = float(array.min()), float(array.max())  # NaN stays NaN
    if array.dtype.kind == "f" and 0 <= low and high <= 1:
        return np.rint(array * 255).astype(np.uint8)
    if 0 <= low and high <= 255 and (array.dtype.kind != "f" or high >= 2):
        return np.rint(array).astype(np.uint8)
    if array.dtype == np.uint16 and high > 4095:
        return ((array.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    raise InputError(f"{refused}, and its values {low:g} to {high:g} have no agreed range; convert it to an 8-bit PNG")


def _one_channel(pixels: Pixels, path: str | Path) -> np.ndarray | None:
    """(H, W) of a grey picture, however many channels it was saved with; None when it has colours."""
    values = pixels.values
    if values.shape[2] != 1 and (values.shape[2] not in (3, 4) or (values[..., :3] != values[..., :1]).any()):
        return None
    if pixels.cut:
        raise InputError(f"{path} is a 16-bit TIFF of several channels, of which 8 bits can be read; save one channel")
    return values[..., 0]


def read_label(path: str | Path) -> np.ndarray:
    """The class values as stored: integer (H, W), nothing mapped. Of a palette the indices count, not the colours.

    Raises:
        InputError: see `read_pixels`; also colour-coded labels and fractional values.
    """
    pixels = read_pixels(path)
    array = _one_channel(pixels, path)
    if array is None:
        channels = pixels.values.shape[2]
        seen = f"; its colours: {_commonest(pixels.values)}" if channels in (3, 4) else ""
        raise InputError(
            f"{path} has {channels} channels; a label is one channel of class numbers, not colours: say which colour is"
            f" which class in dataset.toml with label_colours = {{NAME = [r, g, b], ...}}{seen}"
        )
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        whole = np.nan_to_num(array, nan=0.5, posinf=0.5, neginf=0.5).astype(np.int64)
        if not np.array_equal(whole, array):
            raise InputError(f"{path} has values that are not whole class numbers")
        array = whole
    return array


def read_colour_label(path: str | Path, table: Mapping[tuple[int, int, int], int]) -> np.ndarray:
    """A colour-coded label as the numbers that `table` gives its colours: int64 (H, W).

    Raises:
        InputError: see `read_pixels`; also a colour that the table lacks.
    """
    values = read_pixels(path, colours=True).values
    if values.dtype == np.bool_:
        values = values * np.uint8(255)
    if values.shape[2] == 1:
        values = np.repeat(values, 3, axis=2)
    if values.dtype != np.uint8 or values.shape[2] < 3:
        raise InputError(f"{path} is {values.dtype} in {values.shape[2]} channels; label_colours is for 8-bit colours")
    codes = _codes(values)
    found, at = np.unique(codes, return_inverse=True)
    numbers = np.array([table.get(_colour(code), -1) for code in found], np.int64)
    if (numbers < 0).any():
        counts = np.bincount(at.ravel(), minlength=len(found))
        strange = int(np.argmax(np.where(numbers < 0, counts, -1)))
        colour = _colour(found[strange])
        near = min(table, key=lambda known: sum((a - b) ** 2 for a, b in zip(known, colour, strict=True)))
        raise InputError(
            f"{path} has the colour {list(colour)} in {int(counts[strange])} pixels, which label_colours in"
            f" dataset.toml lacks; the nearest it has is {list(near)}. Add it, or ignore_colours = [{list(colour)}]"
        )
    return numbers[at].reshape(codes.shape)


def _codes(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) colours -> (H, W) numbers r * 65536 + g * 256 + b."""
    wide = values[..., :3].astype(np.int64)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _colour(code: int) -> tuple[int, int, int]:
    return int(code) >> 16, int(code) >> 8 & 255, int(code) & 255


def _commonest(values: np.ndarray, n: int = 6) -> str:
    """The commonest colours of a picture, and how many more there are."""
    if values.dtype != np.uint8:
        return "not 8-bit"
    found, counts = np.unique(_codes(values), return_counts=True)
    first = ", ".join(str(list(_colour(c))) for c in found[np.argsort(-counts, kind="stable")][:n])
    return first + (f" and {len(found) - n} more" if len(found) > n else "")


def resize_nearest(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., h, w) -> (..., H, W), any dtype: the source pixel under each target pixel's centre. Invents no value.

    >>> resize_nearest(torch.tensor([[1, 2], [3, 4]]), (2, 4)).tolist()
    [[1, 1, 2, 2], [3, 3, 4, 4]]
    """
    height, width = image.shape[-2:]
    if (height, width) == tuple(size):
        return image
    rows = ((torch.arange(size[0]) * 2 + 1) * height) // (2 * size[0])
    cols = ((torch.arange(size[1]) * 2 + 1) * width) // (2 * size[1])
    return image[..., rows[:, None], cols]


def rgb_bytes(rgb: Tensor) -> Tensor:
    """Raw rgb as uint8 of any shape: of floats in 0..1 the nearest of 256 steps.

    >>> rgb_bytes(torch.tensor([0.0, 0.5, 1.0])).tolist()
    [0, 128, 255]
    """
    return rgb if rgb.dtype == torch.uint8 else (rgb.float() * 255).round().clamp(0, 255).to(torch.uint8)


def resize_rgb(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, h, w) -> (3, H, W), bilinear with antialiasing, dtype kept."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    if size[1] == 1 and size[0] > 1:  # torch mixes up the channels of pictures one pixel wide
        return resize_rgb(image.transpose(-1, -2).contiguous(), (1, size[0])).transpose(-1, -2)
    if size[1] == 1 and image.dtype == torch.uint8:  # and fails for bytes at a single pixel
        return resize_rgb(image.float(), size).round().clamp(0, 255).to(torch.uint8)
    return F.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
