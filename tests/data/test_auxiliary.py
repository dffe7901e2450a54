"""Depth as sensors and data sets store it: marks of missing pixels, units, packed bits; and what is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionzoo.data.auxiliary import XFormat, read_x, without_holes
from fusionzoo.data.hha import NYU_CAMERA, hha
from fusionzoo.data.pair import read_pair
from fusionzoo.errors import InputError

RNG = np.random.default_rng(0)
Y, X = np.mgrid[0:48, 0:64]
ROOM = (1500 + 30 * Y + 17 * X + RNG.integers(0, 5, (48, 64))).astype(np.uint16)  # 1.5 to 4 m, in millimetres
HOLES = RNG.random(ROOM.shape) < 0.2


def save(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def metres(path: Path, **options: object) -> np.ndarray:
    return read_x(path, **options)[0].numpy()  # type: ignore[arg-type]


EXPECTED = np.where(HOLES, 0, ROOM / 1000)


@pytest.mark.parametrize("mark", [0, 65535])
@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
def test_the_top_of_16_bits_is_missing(mark: int, ending: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"d.{ending}", np.where(HOLES, mark, ROOM).astype(np.uint16))
    assert np.allclose(metres(path), EXPECTED, atol=1e-6)


@pytest.mark.parametrize("mark", [0.0, np.nan, np.inf, -np.inf, -1.0, 65.535, 1e10, 3e38])
@pytest.mark.parametrize("ending", ["tif", "npy"])
def test_marks_in_float_depth(mark: float, ending: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"d.{ending}", np.where(HOLES, mark, ROOM / 1000).astype(np.float32))
    assert np.allclose(metres(path), EXPECTED, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "mark"), [(np.int16, -1), (np.int16, 32767), (np.int32, 2**31 - 1), (np.int64, -9), (np.int32, 65535)]
)
def test_marks_in_other_integers(dtype: type, mark: int, tmp_path: Path) -> None:
    path = save(tmp_path / "d.npy", np.where(HOLES, dtype(mark), ROOM.astype(dtype)))
    assert np.allclose(metres(path), EXPECTED, atol=1e-6)


def test_doubles_beyond_single_precision_are_missing(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npy", np.where(HOLES, 1e300, ROOM / 1000))
    assert np.allclose(metres(path), EXPECTED, atol=1e-6)


def test_a_top_value_among_its_like_is_a_measurement() -> None:
    far = np.array([[65535, 65534, 65000, 64000, 0]], np.uint16)  # 1/256 m: nothing stands apart
    assert np.array_equal(without_holes(far), far)
    assert np.array_equal(without_holes(far, (65535, 65000)), [[0, 65534, 0, 64000, 0]])
    bytes8 = np.array([[255, 40, 30]], np.uint8)  # 8 bits saturate at their top
    assert np.array_equal(without_holes(bytes8), bytes8)
    several = np.array([[-1.0, -2.0, 3.0]])  # no mark: left to be refused
    assert np.array_equal(without_holes(several), several)


def test_negative_depth_and_no_depth_are_refused(tmp_path: Path) -> None:
    rgb = save(tmp_path / "rgb.png", RNG.integers(0, 256, (48, 64, 3)).astype(np.uint8))
    for array, words in (
        (ROOM / -1000.0, "negative"),
        (np.full(ROOM.shape, np.nan), "no pixel was measured"),
        (np.full(ROOM.shape, 65535, np.uint16), "no pixel was measured"),
    ):
        with pytest.raises(InputError, match=words):
            read_pair(rgb, save(tmp_path / "d.npy", array))


def test_units_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "d.npy"
    for array, options, words in (
        (ROOM // 1000, {}, r"nearer than 2 cm, one step being 0\.001 m.*0\.0002 for 1/5000 m as TUM"),
        (ROOM.astype(np.int32) * 20, {}, "above 40 m, one step being"),
        (ROOM / 1e6, {}, "nearer than 1 cm"),
        (ROOM, {"scale": 1.0}, "above 500 m, one step being 1 m.*correct the scale"),
        (ROOM / 1000, {"scale": 0.001}, "nearer than 1 cm.*correct the scale"),
    ):
        np.save(path, array)
        with pytest.raises(InputError, match=words):
            read_x(path, **options)
    for scale in (0.0002, 1 / 256, 0.000125):
        stored = np.rint(ROOM / 1000 / scale).astype(np.uint16)
        assert np.allclose(metres(save(tmp_path / "s.png", stored), scale=scale), ROOM / 1000, atol=scale)


def test_packed_bits_are_named_and_read(tmp_path: Path) -> None:
    rotated = save(tmp_path / "rotated.png", (ROOM << 3 | ROOM >> 13).astype(np.uint16))
    swapped = save(tmp_path / "swapped.png", ROOM.byteswap())
    for path, encoding in ((rotated, "sunrgbd"), (swapped, "swapped")):
        for scale in (None, 0.001):
            with pytest.raises(InputError, match=f"x_encoding = '{encoding}'"):
                read_x(path, scale=scale)
        assert np.allclose(metres(path, encoding=encoding), ROOM / 1000, atol=1e-6)
    far = np.array(ROOM, np.int64) * 3  # up to 12 m: the rotated bits spill over
    path = save(tmp_path / "far.png", ((far << 3 | far >> 13) & 0xFFFF).astype(np.uint16))
    assert np.allclose(metres(path, encoding="sunrgbd"), far / 1000, atol=1e-6)
    floor = np.repeat(np.arange(900, 4740, 80, dtype=np.uint16)[:, None], 64, 1)  # every row is of one depth
    with pytest.raises(InputError, match="x_encoding = 'swapped'"):
        read_x(save(tmp_path / "rows.png", floor.byteswap()))
    fifth = save(tmp_path / "fifth.png", (ROOM.astype(np.uint32) * 5).astype(np.uint16))
    assert float(np.median(metres(fifth))) > 10  # smooth, not packed: only what the weights saw tells
    assert np.median(metres(rotated, encoding="plain")) == pytest.approx(8 * np.median(ROOM) / 1000, abs=0.01)
    with pytest.raises(InputError, match="is for 16-bit depth"):
        read_x(save(tmp_path / "f.npy", ROOM / 1000), encoding="sunrgbd")


def test_disparity(tmp_path: Path) -> None:
    pixels = 120.0 / (ROOM / 1000)  # focal length times baseline 120
    stored = np.where(HOLES, 0, np.rint(pixels * 256 + 1)).astype(np.uint16)
    form = XFormat(scale=1 / 256, offset=-1 / 256, disparity=120.0)
    raw, factor = form.read(save(tmp_path / "d.png", stored))
    assert factor == 1 and np.allclose(raw[0], EXPECTED, rtol=2e-3)
    with pytest.raises(InputError, match="uint16 disparity; give x_scale"):
        XFormat(disparity=120.0).read(tmp_path / "d.png")


def test_thermal_offset_and_range(tmp_path: Path) -> None:
    kelvin = np.rint((RNG.random((5, 7)) * 40 + 280) * 100).astype(np.uint16)  # 1/100 K
    raw, factor = XFormat("thermal", 0.01, -273.15).read(save(tmp_path / "t.png", kelvin))
    assert np.allclose(raw[0] * factor, kelvin / 100 - 273.15, atol=1e-4)
    for array in (RNG.random((5, 7)), RNG.random((5, 7)) * 50 - 20, RNG.random((5, 7)) * 300 + 200):
        with pytest.raises(InputError, match=r"thermal is fed as 0\.\.255"):
            read_x(save(tmp_path / "t.npy", array), "thermal")
    assert np.allclose(metres(save(tmp_path / "t.npy", RNG.random((5, 7)) * 0 + 30.5), x_kind="thermal"), 30.5)


def test_hha_of_what_is_no_room() -> None:
    room = np.asarray(ROOM, np.float32) / 1000
    import torch

    camera = NYU_CAMERA.at((48, 64))
    depth = torch.from_numpy(room)
    holed = depth.clone()
    holed[HOLES] = float("nan")
    zero = depth.clone()
    zero[HOLES] = 0
    assert torch.equal(hha(holed, camera), hha(zero, camera))
    for wrong, words in ((depth / 1000, "near"), (depth * 20, "far"), (torch.from_numpy(ROOM.astype(int)), "far")):
        with pytest.raises(InputError, match=f"no room is that {words}"):
            hha(wrong, camera)


def test_align(tmp_path: Path) -> None:
    rgb = save(tmp_path / "rgb.png", RNG.integers(0, 256, (96, 128, 3)).astype(np.uint8))
    x = save(tmp_path / "x.png", ROOM)
    with pytest.raises(InputError, match=r"x is 64x48 but rgb is 128x96.*; if both show the same view, --align"):
        read_pair(rgb, x)
    aligned = read_pair(rgb, x, align=True)[1][0].numpy()
    assert np.allclose(aligned, np.repeat(np.repeat(ROOM / 1000, 2, 0), 2, 1), atol=1e-6)
    save(tmp_path / "wide.png", ROOM[:, :48])
    with pytest.raises(InputError, match="their shapes differ"):
        read_pair(rgb, tmp_path / "wide.png")
    turned = save(tmp_path / "turned.png", np.rot90(np.kron(ROOM, np.ones((2, 2), np.uint16))).copy())
    small = save(tmp_path / "small.png", np.rot90(ROOM).copy())  # as the sensor has it, beside colour turned by EXIF
    for x, align in itertools.product((turned, small), (False, True)):
        with pytest.raises(InputError, match="turned by a quarter, in its pixels or by its EXIF orientation"):
            read_pair(rgb, x, align=align)


def test_depth_normalised_to_be_shown_is_refused(tmp_path: Path) -> None:
    """0..1 with the very 1 as its largest value, as `d / d.max()` leaves it; a scale says what 1 is."""
    shown = save(tmp_path / "shown.npy", (ROOM / ROOM.max()).astype(np.float32))
    with pytest.raises(InputError, match="its depths fill 0..1 to the very 1.*--x-scale"):
        metres(shown)
    assert np.allclose(metres(shown, scale=float(ROOM.max()) / 1000), ROOM / 1000, atol=1e-5)
    assert float(metres(save(tmp_path / "wall.npy", np.ones((4, 5), np.float32))).max()) == 1.0
    assert metres(save(tmp_path / "near.npy", (ROOM / 4500).astype(np.float32))).shape == ROOM.shape


def test_infinite_values_do_not_hide_the_range_of_a_picture(tmp_path: Path) -> None:
    """0..1 with one infinity is not 0..255; 0..200 with one is, and the infinity is left for the preprocessing."""
    warm = (ROOM / ROOM.max()).astype(np.float32)
    warm[3, 4] = np.inf
    with pytest.raises(InputError, match="thermal is fed as 0..255"):
        read_x(save(tmp_path / "warm.npy", warm), "thermal")
    read = read_x(save(tmp_path / "hot.npy", warm * 200), "thermal")[0].numpy()
    assert np.isinf(read[3, 4]) and np.allclose(np.delete(read, 3, 0), np.delete(warm * 200, 3, 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "sonar"}, "'sonar' is not one of"),
        ({"scale": 0.0}, "x_scale is 0.0; give a positive number"),
        ({"offset": float("nan")}, "x_offset is nan"),
        ({"encoding": "sunrgb"}, "did you mean 'sunrgbd'"),
        ({"disparity": -1.0}, "x_disparity is -1.0"),
        ({"kind": "thermal", "missing": (0.0,)}, "missing is for depth, but x is thermal"),
        ({"kind": "hha", "encoding": "swapped"}, "x_encoding is for depth, but x is hha"),
    ],
)
def test_formats_that_cannot_be(options: dict, words: str) -> None:
    with pytest.raises((InputError, KeyError), match=words):
        XFormat(**options)
