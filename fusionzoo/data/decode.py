"""From an image file to its pixels as stored, upright: nothing scaled, no bit lost. Pillow and NumPy only.

8-bit and 16-bit PNG (grey, colour, with alpha; 1, 2 and 4 bits too), JPEG, WebP, BMP, integer or float TIFF, NPY. An
EXIF orientation is applied. Whatever cannot be read gives one InputError that names the file and what to do.
"""

from __future__ import annotations

import struct
import tokenize
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusionzoo.data.png16 import SIGNATURE, decode_png16
from fusionzoo.errors import InputError

__all__ = ["Pixels", "orientation", "planes", "read_pixels"]

_DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, OverflowError, LookupError, TypeError,
    AttributeError, MemoryError, RecursionError,
    tokenize.TokenError,  # NumPy reads the header of an old .npy file as Python text
)  # fmt: skip
NOT_READ = {".exr": "OpenEXR", ".pfm": "PFM", ".npz": "an archive of arrays", ".mat": "MATLAB", ".hdr": "Radiance"}
_CONVERTED = ("CMYK", "YCbCr", "LAB", "HSV")
_STEP_OF_BITS = {2: 85, 4: 17}
"""Pillow stretches grey of 2 or 4 bits to 0..255: by that factor."""


@dataclass(frozen=True)
class Pixels:
    """What a file holds.

    Attributes:
        array: (H, W, C) in a native dtype; bool for pictures of one bit.
        alpha: the last channel is the opacity.
        cut: the file has 16 bits a channel, of which only the upper 8 could be read.
    """

    array: np.ndarray
    alpha: bool = False
    cut: bool = False

    @property
    def values(self) -> np.ndarray:
        """`array` without the opacity."""
        return self.array[..., :-1] if self.alpha else self.array


def read_pixels(path: str | Path, colours: bool = False) -> Pixels:
    """The pixels of a file.

    Arrays of NPY files are (H, W), (H, W, C) or, as torch has them, (C, H, W), C being 1 to 4; one image more in front
    is no harm.

    Args:
        colours: of a picture with a palette give the colours, (H, W, 3), not the indices, (H, W, 1); grey of 2 or 4
            bits is stretched to 0..255.

    Raises:
        InputError: the file is missing, is a folder, is not an image, is cut off, or has no pixels.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder, not an image" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {kind}; give the path of an image file")
    ending = path.suffix.lower()
    if ending in NOT_READ:
        raise InputError(
            f"{path} is {NOT_READ[ending]}, which is not read; save it as NPY or float TIFF (metres), or 16-bit PNG"
        )
    try:
        pixels = Pixels(planes(_npy(path))) if ending == ".npy" else _picture(path, colours)
    except _DECODE_ERRORS as error:
        reason = " ".join(str(error).split()).replace(f" {str(path)!r}", "") or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason[:200]}); copy or export the file again") from error
    array = pixels.array
    if array.dtype.kind not in "uifb" or array.ndim != 3 or 0 in array.shape:
        shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
        raise InputError(f"{path} holds {array.dtype} of shape {shape}, wanted numbers of shape (H, W) or (H, W, C)")
    native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))
    return Pixels(native, pixels.alpha, pixels.cut)


def _npy(path: Path) -> np.ndarray:
    """The array of an NPY file. A negative size, to older NumPy "as many as there are", is an error."""
    with path.open("rb") as file:
        major, _ = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape = header(file)[0]
        if min(shape, default=0) < 0:
            raise ValueError(f"its header states a shape of {shape}")
        file.seek(0)
        return np.load(file, allow_pickle=False)


def planes(array: np.ndarray) -> np.ndarray:
    """An array (H, W), (H, W, C) or (C, H, W) as (H, W, C)."""
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        return array[..., None]
    if array.ndim == 3 and array.shape[2] > 4 and array.shape[0] <= 4:
        return array.transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
    return array


def _picture(path: Path, colours: bool) -> Pixels:
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(26)
    # IHDR: ... bit depth at 24, colour type at 25 (0 grey, 2 colour, 3 palette, 4 grey + alpha, 6 colour + alpha)
    bits, kind = (head[24], head[25]) if head[:8] == SIGNATURE and len(head) == 26 else (8, 2)
    try:
        with Image.open(path) as image:
            mode, tiff = image.mode, image.format == "TIFF"
            tag = getattr(image, "tag_v2", {}).get(258, 8) if tiff else bits
            depth = max(tag) if isinstance(tag, tuple) else tag
            if bits == 16 and kind != 0:
                array, alpha = decode_png16(path.read_bytes()), kind in (4, 6)
                cut = False
            else:
                image.load()
                if mode in _CONVERTED or (colours and mode in ("P", "PA")):
                    array = np.array(image.convert("RGB"))
                else:
                    array = np.array(image)
                if image.format == "PNG" and mode == "I":  # how older Pillows open 16-bit grey
                    array = array.astype(np.uint16)
                if not colours and mode == "L" and (kind == 0 or tiff) and depth in _STEP_OF_BITS:
                    array = array // np.uint8(_STEP_OF_BITS[depth])
                array = array[..., None] if array.ndim == 2 else array
                alpha = mode in ("LA", "La", "RGBA", "RGBa") or (mode == "PA" and not colours)
                cut = tiff and depth == 16 and array.dtype == np.uint8
            turn = 1 if tiff else _orientation(image)  # Pillow turns TIFF itself
    except Image.DecompressionBombError as error:
        raise ValueError(error) from error
    return Pixels(_upright(array, turn), alpha, cut)


def orientation(path: str | Path) -> int:
    """The EXIF orientation by which `read_pixels` turns a file upright, 1 to 8, from its header alone; 1: as stored."""
    from PIL import Image

    if Path(path).suffix.lower() == ".npy":
        return 1
    try:
        with Image.open(path) as image:
            if image.format == "PNG" and not {"exif", "Raw profile type exif"} & set(image.info):
                return 1  # Pillow would read all of it, to see whether the orientation comes last
            return _orientation(image)
    except (*_DECODE_ERRORS, Image.DecompressionBombError):
        return 1  # the reader meets the same error and words it


def _orientation(image: Any) -> int:
    """The EXIF orientation, 1 to 8; 1 where the file has none, or none that any program could read."""
    try:
        turn = image.getexif().get(0x0112, 1)
    except _DECODE_ERRORS:
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    """(H, W, C) as it shows with EXIF orientation `turn`."""
    if turn in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        array = array[::-1]
    if turn in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array
