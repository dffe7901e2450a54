"""Fuzzing of image files: damaged PNG, JPEG, TIFF and NPY give one line or pixels, never a traceback or much memory."""

from __future__ import annotations

import io
import os
import resource
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fusionzoo.data.auxiliary import read_x
from fusionzoo.data.images import read_label, read_rgb
from fusionzoo.errors import InputError

EXAMPLES = int(os.environ.get("FUSIONZOO_FUZZ", "0"))
BOUNDED = settings(
    max_examples=EXAMPLES or 150,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8)
DEPTH = RNG.integers(0, 5000, (12, 16)).astype(np.uint16)


def whole() -> dict[str, bytes]:
    """Name -> content of good files."""
    files = {}
    for name, array in (("c.png", COLOUR), ("c.jpg", COLOUR), ("c.tif", COLOUR), ("d.png", DEPTH), ("d.tif", DEPTH)):
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, format={"png": "PNG", "jpg": "JPEG", "tif": "TIFF"}[name[2:]])
        files[name] = buffer.getvalue()
    for name, array in (("c.npy", COLOUR), ("d.npy", DEPTH.astype(np.float32) / 1000)):
        buffer = io.BytesIO()
        np.save(buffer, array)
        files[name] = buffer.getvalue()
    return files


FILES = whole()


@BOUNDED
@given(data=st.data())
def test_damaged_images(tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        # most bytes of a format's header are near the front
        at = data.draw(st.one_of(st.integers(0, min(150, len(content) - 1)), st.integers(0, len(content) - 1)))
        action = data.draw(st.sampled_from(["set", "cut", "insert", "repeat"]))
        if action == "set":
            content[at] = data.draw(st.integers(0, 255))
        elif action == "cut":
            del content[at : at + data.draw(st.integers(1, 40))]
        elif action == "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            content[at:at] = content[max(0, at - 8) : at]
        if not content:
            break
    ending = data.draw(st.sampled_from([".png", ".npy", ".tif", Path(name).suffix, Path(name).suffix]))
    path = tmp_path / f"x{ending}"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_rgb, read_x, read_label):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow thinks of the file
            try:
                read(path)
            except InputError as error:
                assert "\n" not in str(error) and len(str(error)) < 600 and str(path) in str(error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int) -> bytes:
    """A tiny PNG file whose header claims width x height grey pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def npy(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + bytes(64)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", png(60_000, 60_000)),
        ("a.png", png(2**31 - 1, 2**31 - 1)),
        ("a.npy", npy((40_000, 40_000))),
        ("a.npy", npy((2**40, 2**40))),
        ("a.npy", npy((-1, 4))),
    ],
    ids=["bomb", "largest", "6 GB", "2^80", "negative"],
)
def test_claimed_sizes_are_not_allocated(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (read_rgb, read_x, read_label):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(InputError) as caught:
                read(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
