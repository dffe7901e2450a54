"""EXIF orientations of some parts of an image and not of others: what no size tells is said, once."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from fusionzoo.data import parse_spec
from fusionzoo.data.decode import orientation, read_pixels
from fusionzoo.data.pair import read_pair, turned_alone
from fusionzoo.errors import FusionZooWarning, InputError
from tests.train.rooms import rooms


def save(path: Path, array: np.ndarray, turn: int | None = None) -> Path:
    tags = Image.Exif()
    if turn is not None:
        tags[0x0112] = turn
    Image.fromarray(array).save(path, **({} if turn is None else {"exif": tags.tobytes()}))
    return path


COLOUR = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("turn", [None, 1, 3, 6])
def test_the_orientation_in_the_header(turn: int | None, ending: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"a.{ending}", COLOUR, turn)
    assert orientation(path) == (turn or 1)
    assert read_pixels(path).array.shape[:2] == ((8, 6) if turn == 6 else (6, 8))


def test_what_has_no_header(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", COLOUR)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    assert orientation(tmp_path / "a.npy") == orientation(tmp_path / "b.jpg") == 1


@pytest.mark.parametrize(
    ("rgb", "x", "square", "said"),
    [
        (6, None, True, r"rgb.jpg was turned by its EXIF orientation \(6\) and x has none"),
        (3, None, False, r"rgb.jpg was turned by its EXIF orientation \(3\) and x has none"),
        (2, 1, False, r"orientation \(2\) and x has none"),
        (None, 8, True, r"x.png was turned by its EXIF orientation \(8\) and rgb has none"),
        (3, 3, False, None),
        (8, 8, True, None),
        (1, None, True, None),
        (None, None, True, None),
        (6, None, False, None),  # the sizes tell: x lies as the picture shows
    ],
)
def test_parts_of_which_some_are_turned(
    rgb: int | None, x: int | None, square: bool, said: str | None, tmp_path: Path
) -> None:
    size = (8, 8) if square else (6, 8)
    colour = save(tmp_path / "rgb.jpg", np.full((*size, 3), 90, np.uint8), rgb)
    shown = size[::-1] if rgb in (6, 8) and x is None else size
    depth = save(tmp_path / "x.png", np.full(shown, 2000, np.uint16), x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_pair(colour, depth)
    assert len(caught) == (said is not None)
    if said is not None:
        with pytest.warns(FusionZooWarning, match=said):
            read_pair(colour, depth)


def test_depth_as_the_sensor_has_it_beside_a_turned_picture_is_refused(tmp_path: Path) -> None:
    colour = save(tmp_path / "rgb.jpg", COLOUR, 6)
    depth = save(tmp_path / "x.png", np.full((6, 8), 2000, np.uint16))
    with pytest.raises(InputError, match="turned by a quarter, in its pixels or by its EXIF orientation"):
        read_pair(colour, depth, align=True)
    label = save(tmp_path / "label.png", np.zeros((6, 8), np.uint8))
    both = turned_alone({"rgb": save(tmp_path / "r.jpg", COLOUR, 4), "x": depth, "label": label}, (6, 8))
    assert both is not None and "x and label have none: right if they lie" in both


@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_says_it_of_the_first(
    workers: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = rooms(tmp_path, sizes=((32, 32),))
    for path in sorted((tmp_path / "rgb").iterdir())[1:]:
        save(path, np.array(Image.open(path)), 6)
    data = parse_spec(spec, split="train")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda text, *where, **more: os.write(2, f"{text}\n".encode()))
        for _ in range(2):
            list(DataLoader(data, 1, num_workers=workers, multiprocessing_context="fork" if workers else None))
    text = capfd.readouterr().err
    assert text.count("turned by its EXIF orientation (6) and x and label have none") == 1 and "rgb/00" in text
