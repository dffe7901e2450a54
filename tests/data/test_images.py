from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data.auxiliary import read_x
from fusionzoo.data.images import read_label, read_rgb, resize_nearest, resize_rgb
from fusionzoo.errors import InputError

RNG = np.random.default_rng(0)
DEPTH_MM = RNG.integers(0, 10_000, (6, 8)).astype(np.uint16)
COLOUR = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def test_rgb_png_npy_and_alpha_are_exact(tmp_path: Path) -> None:
    expected = torch.from_numpy(COLOUR).permute(2, 0, 1)
    rgba = np.dstack([COLOUR, RNG.integers(0, 256, (6, 8)).astype(np.uint8)])
    for name, array in (("a.png", COLOUR), ("a.npy", COLOUR), ("b.png", rgba), ("a.tif", COLOUR)):
        rgb = read_rgb(save(tmp_path / name, array))
        assert rgb.dtype == torch.uint8 and torch.equal(rgb, expected), name


def test_rgb_jpeg_grey_and_palette(tmp_path: Path) -> None:
    flat = np.full((8, 8, 3), (200, 30, 90), np.uint8)
    jpeg = read_rgb(save(tmp_path / "a.jpg", flat))
    assert (jpeg.float().mean((1, 2)) - torch.tensor([200.0, 30.0, 90.0])).abs().max() < 3
    grey = read_rgb(save(tmp_path / "g.png", COLOUR[..., 0]))
    assert torch.equal(grey, torch.from_numpy(COLOUR[..., 0]).expand(3, -1, -1))
    palette = Image.fromarray(flat).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "p.png")
    assert torch.equal(read_rgb(tmp_path / "p.png"), torch.from_numpy(flat).permute(2, 0, 1))


def test_depth_units(tmp_path: Path) -> None:
    metres = torch.from_numpy(DEPTH_MM.astype(np.float64) / 1000).float()[None]
    for name, array in (
        ("a.png", DEPTH_MM),
        ("a.tif", DEPTH_MM),
        ("b.tif", DEPTH_MM.astype(np.float32) / 1000),
        ("a.npy", DEPTH_MM.astype(np.float64) / 1000),
        ("b.npy", DEPTH_MM),
    ):
        x = read_x(save(tmp_path / name, array))
        assert x.dtype == torch.float32 and x.shape == (1, 6, 8), name
        torch.testing.assert_close(x, metres, rtol=1e-6, atol=1e-7, msg=name)
    torch.testing.assert_close(read_x(tmp_path / "a.png", scale=0.0002), metres / 5, rtol=1e-6, atol=1e-7)


def test_float_millimetres_are_not_taken_for_metres(tmp_path: Path) -> None:
    path = save(tmp_path / "mm.npy", DEPTH_MM.astype(np.float32) + 1000)
    with pytest.raises(InputError, match="no metres; for millimetres give the scale 0.001"):
        read_x(path)
    assert torch.equal(read_x(path, scale=0.001)[0], torch.from_numpy(DEPTH_MM.astype(np.float32) + 1000) * 0.001)
    assert float(read_x(save(tmp_path / "m.npy", np.full((4, 5), 90.0, np.float32))).max()) == 90.0


def test_units_that_cannot_be_told_are_asked_for(tmp_path: Path) -> None:
    eight = save(tmp_path / "d.png", (DEPTH_MM // 40).astype(np.uint8))
    with pytest.raises(InputError, match=r"d\.png is 8-bit.*give the scale"):
        read_x(eight)
    assert read_x(eight, scale=0.04).max() == pytest.approx(int((DEPTH_MM // 40).max()) * 0.04)
    with pytest.raises(InputError, match="thermal is fed as 0..255"):
        read_x(save(tmp_path / "t.png", DEPTH_MM), "thermal")


def test_hha_thermal_and_channel_counts(tmp_path: Path) -> None:
    path = save(tmp_path / "c.png", COLOUR)
    assert torch.equal(read_x(path, "hha"), torch.from_numpy(COLOUR).permute(2, 0, 1).float())
    with pytest.raises(InputError, match="has 3 channels; depth needs 1"):
        read_x(path, "depth")
    four = np.dstack([COLOUR, RNG.integers(0, 256, (6, 8)).astype(np.uint8)])
    assert torch.equal(read_x(save(tmp_path / "f.png", four), "thermal")[0], torch.from_numpy(four[..., 3]).float())
    same = np.repeat(COLOUR[..., :1], 3, axis=2)
    assert torch.equal(read_x(save(tmp_path / "s.png", same), "thermal")[0], torch.from_numpy(same[..., 0]).float())
    with pytest.raises(InputError, match="'sonar' is not one of depth"):
        read_x(path, "sonar")


def test_labels(tmp_path: Path) -> None:
    label = RNG.integers(0, 41, (6, 8)).astype(np.uint8)
    palette = Image.fromarray(label).convert("P")
    palette.putpalette(list(RNG.integers(0, 256, 768)))
    palette.save(tmp_path / "p.png")  # colours must not matter: the index is the class
    for path in (
        tmp_path / "p.png",
        save(tmp_path / "a.png", label),
        save(tmp_path / "b.png", label.astype(np.uint16)),
        save(tmp_path / "a.npy", label.astype(np.float32)),
    ):
        assert np.array_equal(read_label(path), label), path
    with pytest.raises(InputError, match="not colours"):
        read_label(save(tmp_path / "c.png", COLOUR))
    with pytest.raises(InputError, match="not whole class numbers"):
        read_label(save(tmp_path / "f.npy", label + 0.5))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.npy"])
@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9])
def test_cut_off_files_give_one_line(tmp_path: Path, name: str, keep: float) -> None:
    path = save(tmp_path / name, RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError) as caught:
            read_rgb(path)
    text = str(caught.value)
    assert str(path) in text and "\n" not in text and len(text) < 400


def test_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("this is a note, not an image")
    with pytest.raises(InputError, match=r"note\.png cannot be read .*export the file again"):
        read_rgb(tmp_path / "note.png")
    with pytest.raises(InputError, match=r"gone\.png does not exist"):
        read_x(tmp_path / "gone.png")
    with pytest.raises(InputError, match="is a folder"):
        read_label(tmp_path)
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"pickle\.npy cannot be read"):
        read_x(tmp_path / "pickle.npy")
    with pytest.raises(InputError, match=r"\(H, W\)"):
        read_x(save(tmp_path / "flat.npy", np.zeros(5)))
    with pytest.raises(InputError, match="not 8-bit colour"):
        read_rgb(save(tmp_path / "depth.png", DEPTH_MM))


@pytest.mark.parametrize("size", [(3, 4), (6, 8), (12, 16), (5, 7), (7, 20)])
def test_resize_nearest_against_torch(size: tuple[int, int]) -> None:
    image = torch.randperm(48).view(1, 6, 8)
    oracle = torch.nn.functional.interpolate(image[None].double(), size=size, mode="nearest-exact")[0].long()
    assert torch.equal(resize_nearest(image, size), oracle)


def test_resize_rgb_against_pillow() -> None:
    rgb = torch.from_numpy(RNG.integers(0, 256, (40, 60, 3)).astype(np.uint8)).permute(2, 0, 1)
    oracle = np.asarray(Image.fromarray(rgb.permute(1, 2, 0).numpy()).resize((25, 18), Image.Resampling.BILINEAR))
    difference = resize_rgb(rgb, (18, 25)).int() - torch.from_numpy(oracle.copy()).permute(2, 0, 1).int()
    assert difference.abs().max() <= 1


@pytest.mark.parametrize("source", [(12, 16), (12, 1), (3, 3)])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (9, 1), (1, 9)])
def test_pictures_one_pixel_wide_are_resized_as_pillow_does(source: tuple[int, int], size: tuple[int, int]) -> None:
    image = torch.randint(0, 256, (3, *source), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    wanted = Image.fromarray(image.permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BILINEAR)
    found = resize_rgb(image, size)
    assert found.dtype == torch.uint8 and found.shape == (3, *size)
    assert np.abs(found.permute(1, 2, 0).numpy().astype(int) - np.asarray(wanted).astype(int)).max() <= 1
