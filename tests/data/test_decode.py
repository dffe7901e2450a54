"""Pixels of files as other programs write them, against Pillow's own rendering or bytes put together by hand."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fusionzoo.data.auxiliary import read_x
from fusionzoo.data.decode import read_pixels
from fusionzoo.data.images import read_colour_label, read_label, read_rgb
from fusionzoo.errors import InputError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)
WIDE = RNG.integers(500, 9000, (6, 9)).astype(np.uint16)
LABEL = RNG.integers(0, 4, (6, 9)).astype(np.uint8)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(path: Path, rows: list[bytes], width: int, bits: int, colour_type: int) -> Path:
    """A PNG of unfiltered rows, whatever its bit depth and colour type (2 colour, 4 grey + alpha, 6 colour + alpha)."""
    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def wide_png(path: Path, channels: list[np.ndarray], colour_type: int) -> Path:
    array = np.stack(channels, axis=-1)
    return png(path, [row.astype(">u2").tobytes() for row in array], array.shape[1], 16, colour_type)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(turn: int, ending: str, tmp_path: Path) -> None:
    path, tag = tmp_path / f"a.{ending}", Image.Exif()
    tag[0x0112] = turn
    options = {"lossless": True} if ending == "webp" else {"quality": 95} if ending == "jpg" else {}
    Image.fromarray(COLOUR).save(path, exif=tag, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(read_rgb(path).permute(1, 2, 0), expected)
    assert read_rgb(path).shape == ((3, 9, 6) if turn >= 5 else (3, 6, 9))


@pytest.mark.parametrize("turn", [3, 6])
def test_x_and_labels_are_turned_like_rgb(turn: int, tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = turn
    Image.fromarray(WIDE).save(tmp_path / "x.png", exif=tag)
    Image.fromarray(LABEL).save(tmp_path / "label.png", exif=tag)
    wide_png(tmp_path / "wide.png", [WIDE] * 3, 2)
    k = {3: 2, 6: -1}[turn]  # quarter turns against the clock
    assert np.allclose(read_x(tmp_path / "x.png")[0].numpy() * 1000, np.rot90(WIDE, k))
    assert np.array_equal(read_label(tmp_path / "label.png"), np.rot90(LABEL, k))


def test_16_bits_in_several_channels_are_kept(tmp_path: Path) -> None:
    full = np.full_like(WIDE, 65535)
    for name, channels, kind in (("rgb", [WIDE] * 3, 2), ("rgba", [WIDE] * 3 + [full], 6), ("la", [WIDE, full], 4)):
        path = wide_png(tmp_path / f"{name}.png", channels, kind)
        assert np.allclose(read_x(path)[0].numpy(), WIDE / 1000, atol=1e-6), name
        assert np.array_equal(read_label(path), WIDE), name
    half = np.where(np.arange(9) % 2, 65535, 0).astype(np.uint16) * np.ones((6, 1), np.uint16)
    seen = read_x(wide_png(tmp_path / "holes.png", [WIDE, half], 4))[0].numpy()
    assert (seen[:, ::2] == 0).all() and np.allclose(seen[:, 1::2], WIDE[:, 1::2] / 1000)  # transparent is missing
    bright = [RNG.integers(0, 65536, (6, 9)).astype(np.uint16) for _ in range(3)]
    colour = read_rgb(wide_png(tmp_path / "colour.png", bright, 2))
    assert np.abs(colour.numpy() - np.stack(bright) / 257).max() <= 0.5
    with pytest.raises(InputError, match="3 channels; depth needs 1. Is it colour"):
        read_x(tmp_path / "colour.png")


def filtered(array: np.ndarray) -> list[bytes]:
    """The rows of (H, W, C) uint16 with the five filters of PNG in turn, each with its type in front."""
    rows = array.astype(">u2").reshape(len(array), -1).view(np.uint8).astype(int)
    step, out, above = 2 * array.shape[2], [], np.zeros(rows.shape[1], int)
    for number, row in enumerate(rows):
        left, corner = (np.concatenate([np.zeros(step, int), r[:-step]]) for r in (row, above))
        near = left + above - corner
        distance = np.abs(np.stack([near - left, near - above, near - corner]))
        paeth = np.choose(distance.argmin(0), [left, above, corner])  # ties: left, above, corner
        guess = [0 * row, left, above, (left + above) // 2, paeth][number % 5]
        out.append(bytes([number % 5]) + ((row - guess) % 256).astype(np.uint8).tobytes())
        above = row
    return out


@pytest.mark.parametrize(("count", "colour_type"), [(3, 2), (2, 4), (4, 6)])
def test_16_bit_png_with_every_filter(count: int, colour_type: int, tmp_path: Path) -> None:
    array = RNG.integers(0, 65536, (23, 17, count)).astype(np.uint16)
    array[:, :, 0] = np.arange(17) * 300  # smooth, too
    head = struct.pack(">IIBBBBB", 17, 23, 16, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(filtered(array)))
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", body[:50]) + chunk(b"IDAT", body[50:]) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    pixels = read_pixels(tmp_path / "a.png")
    assert np.array_equal(pixels.array, array) and pixels.alpha == (colour_type != 2)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits(bits: int, tmp_path: Path) -> None:
    values = RNG.integers(0, 2**bits, (5, 16)).astype(np.uint8)
    shifts = 8 - bits * (1 + np.arange(8 // bits))
    packed = (values.reshape(5, -1, 8 // bits) << shifts).sum(2).astype(np.uint8)
    path = png(tmp_path / "a.png", [row.tobytes() for row in packed], 16, bits, 0)
    assert np.array_equal(read_label(path), values)  # class numbers
    assert np.array_equal(read_rgb(path)[0], values * (255 // (2**bits - 1)))  # black to white


def test_grey_alpha_palette_and_cmyk_as_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(COLOUR)
    grey = np.asarray(picture.convert("L"))
    for mode, expected in (("LA", np.repeat(grey[None], 3, 0)), ("RGBA", COLOUR.transpose(2, 0, 1))):
        picture.convert(mode).save(tmp_path / f"{mode}.png")
        assert np.array_equal(read_rgb(tmp_path / f"{mode}.png"), expected), mode
    few = Image.fromarray(np.where(LABEL[..., None] > 1, (200, 30, 90), (0, 0, 255)).astype(np.uint8))
    few.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "P.gif.png")
    assert np.array_equal(read_rgb(tmp_path / "P.gif.png").permute(1, 2, 0), few)
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(read_rgb(tmp_path / "cmyk.tif").permute(1, 2, 0).numpy() - COLOUR.astype(int)).max() <= 2


def test_arrays_in_torchs_order_and_of_other_types(tmp_path: Path) -> None:
    rgb, path = torch.from_numpy(COLOUR.transpose(2, 0, 1).copy()), tmp_path / "a.npy"
    for array in (rgb.numpy(), rgb.numpy()[None], COLOUR.astype(np.int64), COLOUR.astype(">f4"), COLOUR / 255):
        np.save(path, array)
        assert torch.equal(read_rgb(path), rgb), array.dtype
    for array in (WIDE[None], WIDE[None, None], WIDE[..., None], WIDE.astype(">u2"), WIDE.astype(np.int32)):
        np.save(path, array)
        assert np.allclose(read_x(path)[0].numpy(), WIDE / 1000, atol=1e-6), array.shape
    np.save(path, np.moveaxis(COLOUR, 2, 0).astype(np.uint8))
    assert torch.equal(read_x(path, "hha"), rgb.float())
    for array in (LABEL[None], LABEL == 1):
        np.save(path, array)
        assert np.array_equal(read_label(path), array.reshape(LABEL.shape))
    for wrong in (COLOUR.astype(np.float32) * 3, -COLOUR.astype(np.int32), (COLOUR.astype(np.uint16) * 10)):
        np.save(path, wrong)
        with pytest.raises(InputError, match="not 8-bit colour"):
            read_rgb(path)


def test_labels_saved_as_grey_colour(tmp_path: Path) -> None:
    for name, array in (("rgb", np.dstack([LABEL] * 3)), ("rgba", np.dstack([LABEL] * 3 + [np.full_like(LABEL, 255)]))):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
        assert np.array_equal(read_label(tmp_path / f"{name}.png"), LABEL)
    Image.fromarray(LABEL).convert("LA").save(tmp_path / "la.png")
    assert np.array_equal(read_label(tmp_path / "la.png"), LABEL)


def test_painted_labels(tmp_path: Path) -> None:
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)], np.uint8)
    painted = Image.fromarray(colours[LABEL])
    painted.save(tmp_path / "a.png")
    painted.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "p.png")
    table = {tuple(map(int, colour)): number for number, colour in enumerate(colours)}
    for name in ("a.png", "p.png"):
        assert np.array_equal(read_colour_label(tmp_path / name, table), LABEL)
    with pytest.raises(InputError, match=r"3 channels; .* label_colours = .*its colours: .*\[128, 128, 0\]"):
        read_label(tmp_path / "a.png")
    del table[(128, 0, 0)]
    count = int((LABEL == 1).sum())
    with pytest.raises(
        InputError, match=rf"colour \[128, 0, 0\] in {count} pixels.*the nearest it has is \[0, 0, 0\]|"
    ):
        read_colour_label(tmp_path / "a.png", table)


def test_thermal_and_grey_of_three_channels(tmp_path: Path) -> None:
    grey = RNG.integers(0, 250, (6, 9)).astype(np.uint8)
    near = np.dstack([grey, grey + 1, grey + 3])
    Image.fromarray(near).save(tmp_path / "near.png")
    assert np.array_equal(read_x(tmp_path / "near.png", "thermal")[0], grey + 1)  # the middle one of each pixel
    Image.fromarray(np.dstack([near, np.full_like(grey, 255)])).save(tmp_path / "opaque.png")
    assert np.array_equal(read_x(tmp_path / "opaque.png", "thermal")[0], grey + 1)  # not the opacity
    wide_png(tmp_path / "wide.png", [WIDE] * 3, 2)
    assert np.allclose(read_x(tmp_path / "wide.png", "thermal", 0.02)[0], WIDE * 0.02)
    Image.fromarray(COLOUR).save(tmp_path / "painted.png")
    with pytest.raises(InputError, match="painted with a colour map"):
        read_x(tmp_path / "painted.png", "thermal")


def test_what_cannot_be_read_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.exr").write_bytes(b"v/1\x01")
    with pytest.raises(InputError, match=r"a\.exr is OpenEXR, which is not read; save it as NPY"):
        read_x(tmp_path / "a.exr")
    cut = wide_png(tmp_path / "cut.png", [WIDE] * 3, 2)
    cut.write_bytes(cut.read_bytes()[:80])
    with pytest.raises(InputError, match=r"cut\.png cannot be read"):
        read_x(cut)
    assert read_pixels(wide_png(tmp_path / "c.png", [WIDE] * 3, 2)).array.dtype == np.uint16
