"""`fusionzoo.data.inspect` on folders whose truth was put there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionzoo.data import Folder, Planted, inspect
from fusionzoo.data.images import read_rgb
from fusionzoo.data.similar import alike, fingerprint
from fusionzoo.errors import InputError, UnknownNameError

H, W = 12, 16
TOML = """
class_names = ["wall", "floor", "thing"]
ignore = 255
x_kind = "depth"
[splits]
train = ["a", "b", "c"]
test = ["d", "e"]
trainval = ["a", "b", "c", "d"]
"""


def picture(seed: int, size: tuple[int, int] = (H, W)) -> np.ndarray:
    """Smooth, so that a copy of another size or quality looks alike."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3)).astype(np.uint8))
    return np.asarray(small.resize(size[::-1], Image.Resampling.BICUBIC))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("rgb", "x", "label"):
        (tmp_path / part).mkdir()
    for i, name in enumerate("abcde"):
        depth = np.full((H, W), 1000 * (i + 1) + 3000 * (i > 2), np.uint16)
        depth[0, : 4 * i] = 0
        label = np.full((H, W), i % 2, np.uint8)
        label[0] = 255
        save(tmp_path, name, picture(i), depth, label)
    (tmp_path / "dataset.toml").write_text(TOML)
    return tmp_path


def save(root: Path, name: str, rgb: np.ndarray, depth: np.ndarray, label: np.ndarray) -> None:
    for part, array in (("rgb", rgb), ("x", depth), ("label", label)):
        Image.fromarray(array).save(root / part / f"{name}.png")


def test_what_is_there(root: Path) -> None:
    found = inspect(f"folder:{root}", examples=2)
    assert [(s.split, s.n) for s in found.splits] == [("train", 3), ("test", 2)], "trainval holds both"
    assert found.ok and not found.equal and found.class_names == ["wall", "floor", "thing"] and found.x_channels == 1
    train, test = found.splits
    assert train.sizes == {"12x16": 3} and train.x.unit == "m"
    assert (train.x.low, train.x.high) == pytest.approx((1, 3)) and train.x.quantiles[2] == pytest.approx(2)
    assert train.x.missing == pytest.approx((0 + 4 + 8) / 3 / (H * W)) and train.x.most == pytest.approx(8 / (H * W))
    assert train.pixels == [2 * (H - 1) * W, (H - 1) * W, 0] and train.images == [2, 1, 0]
    assert train.ignored == pytest.approx(1 / H) and test.pixels == [(H - 1) * W, (H - 1) * W, 0]
    assert "train has no pixel of 1 classes: thing" in found.remarks
    assert any("median of depth is 2 in train, 7 in test" in remark for remark in found.remarks)
    assert [(e.split, e.id) for e in found.examples] == [("train", "a"), ("train", "b"), ("test", "d"), ("test", "e")]
    assert np.array_equal(found.examples[1].rgb, picture(1)) and found.examples[1].missing[0].sum() == 4
    told = json.loads(json.dumps(found.to_dict()))
    assert told["ok"] and "examples" not in told and told["splits"][1]["x"]["unit"] == "m"
    assert found == inspect(f"folder:{root}", examples=0, workers=2)


def test_what_cannot_be_read_is_listed(root: Path) -> None:
    (root / "rgb" / "b.png").write_bytes((root / "rgb" / "b.png").read_bytes()[:60])
    Image.fromarray(np.full((H, W), 7, np.uint8)).save(root / "label" / "e.png")
    Image.fromarray(np.zeros((H, W), np.uint16)).save(root / "x" / "c.png")
    found = inspect(f"folder:{root}")
    assert not found.ok and [(u.split, u.id) for u in found.unreadable] == [("train", "b"), ("test", "e")]
    assert "b.png cannot be read" in found.unreadable[0].error and "value 7" in found.unreadable[1].error
    assert found.splits[0].n == 3 and found.splits[0].sizes == {"12x16": 2} and found.splits[0].x.empty == ["c"]
    assert any("train: 1 of 3 images have no valid depth: c" in remark for remark in found.remarks)


def test_equal_images_whatever_their_files(root: Path) -> None:
    Image.fromarray(picture(0)).save(root / "rgb" / "d.png", compress_level=0)  # other bytes, the pixels of a
    shutil.copy(root / "rgb" / "b.png", root / "rgb" / "c.png")
    found = inspect(f"folder:{root}")
    assert [(s.first, s.second, s.bits) for s in found.equal] == [
        (("train", "b"), ("train", "c"), 0),
        (("train", "a"), ("test", "d"), 0),
    ]
    assert "1 images of two splits are equal in every pixel: train/a = test/d" in found.remarks
    assert "1 images are in one split twice: train/b = train/c" in found.remarks


def test_nearly_equal_images_when_asked(root: Path) -> None:
    big = picture(0, (120, 160))
    lighter = np.clip(big.astype(int) + 12, 0, 255).astype(np.uint8)
    depth, label = np.full((120, 160), 2000, np.uint16), np.zeros((120, 160), np.uint8)
    save(root, "a", big, depth, label)
    save(root, "d", lighter, depth, label)
    assert not inspect(f"folder:{root}").equal
    (pair,) = inspect(f"folder:{root}", near=True).equal
    assert (pair.first, pair.second) == (("train", "a"), ("test", "d")) and 1 <= pair.bits <= 12


def test_fingerprints_of_real_rooms(nyuv2_folder: Path) -> None:
    """A half-sized JPEG is near its original; neighbours in one room, and other rooms, are not."""
    names = [f"{i:04d}" for i in (433, 434, 464, 1, 700)]
    prints = [fingerprint(read_rgb(nyuv2_folder / "rgb" / f"{name}.jpg")) for name in names]
    from fusionzoo.data.images import resize_rgb

    small = fingerprint(resize_rgb(read_rgb(nyuv2_folder / "rgb" / "0433.jpg"), (240, 320)))
    assert all(p is not None for p in (*prints, small))
    ((i, j, bits),) = alike([small], prints)  # type: ignore[list-item]
    assert (i, j) == (0, 0) and bits <= 6
    assert not list(alike(prints[:1], prints[1:]))  # type: ignore[arg-type]


def test_real_images_of_nyuv2(nyuv2_folder: Path) -> None:
    found = inspect(f"nyuv2:{nyuv2_folder}", splits=["val", "test"], limit=3, examples=1)
    assert found.ok and [s.sizes for s in found.splits] == [{"480x640": 3}] * 2 and not found.equal
    assert all(0.7 <= s.x.low < 3 < s.x.high <= 10 and s.x.missing == 0 for s in found.splits)
    assert found.examples[0].rgb.shape == (180, 240, 3) and len(found.class_names) == 40


def test_an_incomplete_pair_is_an_image_that_cannot_be_used(root: Path) -> None:
    for name in ("x/b.png", "label/c.png", "rgb/d.png"):
        (root / name).unlink()
    found = inspect(f"folder:{root}")
    assert not found.ok and not found.refused
    assert [(u.split, u.id) for u in found.unreadable] == [("train", "b"), ("train", "c"), ("test", "d")]
    for row, words in zip(found.unreadable, ("add x/b.png", "add label/c.png", "add rgb/d.jpg"), strict=True):
        assert words in row.error and f"has no image '{row.id}'" in row.error
    assert [(s.n, s.sizes) for s in found.splits] == [(3, {"12x16": 1}), (2, {"12x16": 1})]
    with pytest.raises(InputError, match="x has no image 'b', which split 'train' names"):
        Folder(root, "train")
    with pytest.raises(InputError, match="incomplete is 'skip'"):
        Folder(root, "train", incomplete="skip")


def test_incomplete_pairs_in_folders_of_splits(root: Path) -> None:
    """No rgb tells of an image whose rgb is missing: x and label do."""
    (root / "dataset.toml").write_text("num_classes = 3\nignore = 255\n")
    for name in "abcde":
        for part in ("rgb", "x", "label"):
            split = root / ("train" if name in "abc" else "test") / part
            split.mkdir(parents=True, exist_ok=True)
            (root / part / f"{name}.png").rename(split / f"{name}.png")
    (root / "train/rgb/b.png").unlink()
    (root / "test/x/e.png").unlink()
    found = inspect(f"folder:{root}")
    assert [(s.split, s.n) for s in found.splits] == [("train", 3), ("test", 2)]
    assert [(u.split, u.id) for u in found.unreadable] == [("train", "b"), ("test", "e")]


def test_a_split_that_cannot_be_opened(root: Path) -> None:
    for part in ("rgb", "x", "label"):
        (root / part / "d.png").unlink()
    found = inspect(f"folder:{root}")
    assert [s.split for s in found.splits] == ["train"] and not found.ok
    assert "rgb has no image 'd', which split 'test' names" in found.refused["test"]
    with pytest.raises(InputError, match="has no image 'd'"):
        inspect(f"folder:{root}", splits=["test"])
    with pytest.raises(UnknownNameError, match="did you mean 'test'"):
        inspect(f"folder:{root}", splits=["tset"])


@pytest.mark.parametrize(
    ("named", "wanted"),
    [
        ("trainval test", "test trainval"),
        ("test trainval val train", "train val test"),
        ("fit held", "fit held"),
        ("all", "all"),
    ],
)
def test_splits_that_do_not_overlap(root: Path, named: str, wanted: str) -> None:
    lines = [f'{name} = ["{image}"]' for name, image in zip(named.split(), "abcd", strict=False)]
    (root / "dataset.toml").write_text("\n".join(["num_classes = 3", "ignore = 255", "[splits]", *lines]))
    assert [s.split for s in inspect(f"folder:{root}", examples=0).splits] == wanted.split()


def test_data_sets_themselves(root: Path) -> None:
    data = Planted("test", n=2, size=(32, 40))
    assert inspect(data).splits[0].split == "test"
    two = inspect({"mine": data, "theirs": Planted("test", n=1, size=(32, 40))})
    assert [s.n for s in two.splits] == [2, 1] and two.equal[0].first == ("mine", data.ids[0])
    with pytest.raises(InputError, match="belong to a spec"):
        inspect(data, limit=1)
    with pytest.raises(InputError, match="no split to look at"):
        inspect({})
