"""Reading one image file: colour, auxiliary (depth, HHA, thermal) or label. Pillow and NumPy only.

8-bit and 16-bit PNG, JPEG, integer or 32-bit float TIFF, NPY. Whatever cannot be read gives one InputError that names
the file and what to do; nothing is guessed.
"""

from __future__ import annotations

import struct
import tokenize
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from fusionzoo.errors import InputError
from fusionzoo.preprocess import X_KINDS

__all__ = ["X_CHANNELS", "default_scale", "read_array", "read_label", "read_rgb", "read_x", "read_x_raw"]
__all__ += ["resize_nearest", "resize_rgb"]

X_CHANNELS = {"depth": 1, "inverse_depth": 1, "grey": 1, "hha": 3, "thermal": 1}
"""Channels of each kind of x."""

FARTHEST = 200.0
"""Float depth whose median is above that many metres is taken for another unit."""

_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    OverflowError,
    LookupError,
    TypeError,
    MemoryError,
    RecursionError,
    tokenize.TokenError,  # NumPy reads the header of an old .npy file as Python text
)


def read_array(path: str | Path) -> np.ndarray:
    """The pixels as stored: (H, W) or (H, W, C), any integer or float dtype. Palette images give the indices.

    Raises:
        InputError: the file is missing, is a folder, is not an image, is cut off, or has no pixels.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder, not an image" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {kind}; give the path of an image file")
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            from PIL import Image

            try:
                with Image.open(path) as image:
                    image.load()
                    array = np.array(image)
                    if image.format == "PNG" and image.mode == "I":  # how older Pillows open 16-bit grey
                        array = array.astype(np.uint16)
            except Image.DecompressionBombError as error:
                raise ValueError(error) from error
    except _DECODE_ERRORS as error:
        reason = " ".join(str(error).split()).replace(f" {str(path)!r}", "") or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}); copy or export the file again") from error
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(
            f"{path} holds {array.dtype} of shape {array.shape}, wanted numbers of shape (H, W) or (H, W, C)"
        )
    return array


def read_rgb(path: str | Path) -> Tensor:
    """uint8 (3, H, W). Grey images are repeated, a fourth channel (alpha) is dropped.

    Raises:
        InputError: see `read_array`; also 16-bit or float colour, which has no agreed range.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() != ".npy":
        array = _palette_to_rgb(path)
    else:
        array = read_array(path)
    if array.dtype != np.uint8:
        raise InputError(
            f"{path} is {array.dtype}, not 8-bit colour; convert it to an 8-bit PNG or JPEG (is it the depth?)"
        )
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.shape[2] not in (3, 4):
        raise InputError(f"{path} has {array.shape[2]} channels; colour needs 3 (or 4, the last ignored)")
    return torch.from_numpy(np.ascontiguousarray(array[..., :3].transpose(2, 0, 1)))


def _palette_to_rgb(path: Path) -> np.ndarray:
    """read_array, with palette, CMYK and grey-alpha images turned into RGB."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.mode in ("P", "PA", "CMYK", "YCbCr", "LA", "LAB", "HSV"):
                return np.array(image.convert("RGB"))
    except (*_DECODE_ERRORS, Image.DecompressionBombError):
        pass  # read_array meets the same error and words it
    return read_array(path)


def default_scale(array: np.ndarray, x_kind: str, path: str | Path) -> float:
    """What turns a stored value into the unit of `x_kind`, where the file type settles it.

    Depth: 16-bit integers are millimetres (0.001), floats are metres (1). HHA, thermal and grey: 8-bit and float 1.

    Raises:
        InputError: the unit cannot be told (8-bit depth, 16-bit thermal), or float depth is no metres; give the scale.
    """
    if array.dtype.kind == "f" and x_kind in ("depth", "inverse_depth"):
        known = array[np.isfinite(array) & (array > 0)]
        if known.size and float(np.median(known)) > FARTHEST:
            raise InputError(
                f"{path}: half of its depths are above {FARTHEST:g}, which are no metres; for millimetres give the"
                " scale 0.001 (--x-scale, x_scale)"
            )
    if array.dtype.kind == "f":
        return 1.0
    if x_kind in ("depth", "inverse_depth"):
        if array.dtype.itemsize >= 2:
            return 0.001
        hint = "give the scale, metres for one step (--x-scale, x_scale)"
        raise InputError(f"{path} is 8-bit, so its depth unit is unknown; {hint}")
    if array.dtype == np.uint8:
        return 1.0
    raise InputError(
        f"{path} is {array.dtype}; {x_kind} is fed as 0..255, so give the scale that turns its values into that"
    )


def read_x_raw(path: str | Path, x_kind: str = "depth") -> np.ndarray:
    """The auxiliary image as stored, (Cx, H, W); integer or float32.

    `hha` has three channels, all other kinds one. A 4-channel image of kind `thermal` is taken
    as red, green, blue and thermal (the layout of the MFNet set): the fourth channel is x.
    """
    if x_kind not in X_KINDS:
        raise InputError(f"x_kind {x_kind!r} is not one of {', '.join(X_KINDS)}")
    array = read_array(path)
    if array.ndim == 2:
        array = array[..., None]
    if x_kind == "thermal" and array.shape[2] == 4:
        array = array[..., 3:]
    wanted = X_CHANNELS[x_kind]
    if array.shape[2] == 3 and wanted == 1 and (array == array[..., :1]).all():
        array = array[..., :1]  # a grey image saved as three equal channels
    if array.shape[2] != wanted:
        hint = "; make it from depth with: fusionzoo hha" if x_kind == "hha" else ""
        raise InputError(f"{path} has {array.shape[2]} channels; {x_kind} needs {wanted}{hint}")
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def read_x(path: str | Path, x_kind: str = "depth", scale: float | None = None) -> Tensor:
    """float32 (Cx, H, W): stored values times `scale` (None: `default_scale`). Depth is in metres, 0 = missing."""
    raw = read_x_raw(path, x_kind)
    factor = default_scale(raw, x_kind, path) if scale is None else float(scale)
    return torch.from_numpy(raw.astype(np.float32) * np.float32(factor))


def read_label(path: str | Path) -> np.ndarray:
    """The class values as stored: integer (H, W), nothing mapped.

    Raises:
        InputError: see `read_array`; also colour-coded labels and fractional values.
    """
    array = read_array(path)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2:
        raise InputError(f"{path} has {array.shape[2]} channels; a label is one channel of class numbers, not colours")
    if array.dtype.kind == "f":
        whole = array.astype(np.int64)
        if not np.array_equal(whole, array):
            raise InputError(f"{path} has values that are not whole class numbers")
        array = whole
    return array


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


def resize_rgb(image: Tensor, size: tuple[int, int]) -> Tensor:
    """(3, h, w) -> (3, H, W), bilinear with antialiasing, dtype kept."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    return F.resize(image, list(size), InterpolationMode.BILINEAR, antialias=True)
