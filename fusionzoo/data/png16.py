"""PNG files with 16 bits a channel in several channels, of which Pillow keeps the upper 8 bits only.

The filters of PNG (specification, section 9) work byte by byte: each byte refers to the same byte of the pixel to the
left, above, and above left. So the filtered bytes of a 16-bit picture, parted into the first and the last half of each
pixel, are two pictures of 8 bits with the same filters, and those Pillow undoes exactly.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

__all__ = ["SIGNATURE", "decode_png16"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {2: 3, 4: 2, 6: 4}
"""Colour type -> channels: colour, grey with opacity, colour with opacity."""


def decode_png16(data: bytes) -> np.ndarray:
    """The pixels of a whole file, uint16 (H, W, C) with C = 2, 3 or 4.

    Raises:
        ValueError: damaged or cut off, interlaced, or another kind of PNG.
    """
    header, body = _chunks(data)
    width, height, bits, colour, _, _, interlaced = header
    if bits != 16 or colour not in _CHANNELS or interlaced or not width or not height:
        raise ValueError("an interlaced PNG of 16 bits" if interlaced else "no 16-bit PNG of several channels")
    count = _CHANNELS[colour]
    row = 1 + 2 * count * width
    raw = zlib.decompressobj().decompress(body, row * height)
    if len(raw) < row * height:
        raise ValueError("the pixels are cut off")
    rows = np.frombuffer(raw, np.uint8).reshape(height, row)
    filtered = rows[:, 1:].reshape(height, width, 2, count)
    halves = [_unfiltered(rows[:, :1], filtered[:, :, half], colour) for half in (0, 1)]
    pixels = np.ascontiguousarray(np.concatenate(halves, axis=2))  # (H, W, 2 C) bytes, the high one of each two first
    return pixels.view(">u2").astype(np.uint16)


def _chunks(data: bytes) -> tuple[tuple[int, ...], bytes]:
    """The fields of IHDR, and the compressed pixels."""
    header: tuple[int, ...] = ()
    body, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        if data[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(kind + content)):
            raise ValueError(f"the chunk {kind!r} is damaged or cut off")
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", content)
        elif kind == b"IDAT":
            body.append(content)
        elif kind == b"IEND":
            break
        at += 12 + length
    if not header:
        raise ValueError("there is no header")
    return header, b"".join(body)


def _unfiltered(filters: np.ndarray, filtered: np.ndarray, colour: int) -> np.ndarray:
    """(H, 1) filter types and (H, W, C) filtered bytes -> (H, W, C) bytes."""
    from PIL import Image

    height, width, _ = filtered.shape
    rows = np.concatenate([filters, filtered.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 0)), (b"IEND", b""))
    file = SIGNATURE + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
    with Image.open(io.BytesIO(file)) as image:
        return np.array(image)
