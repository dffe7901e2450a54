from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data import Folder
from fusionzoo.errors import InputError, UnknownNameError

H, W = 10, 14
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (4, H, W, 3)).astype(np.uint8)
DEPTH = RNG.integers(400, 6000, (4, H, W)).astype(np.uint16)
DEPTH[:, :2] = 0  # missing
LABEL = RNG.integers(0, 4, (4, H, W)).astype(np.uint8)  # 0 = unlabelled, 1..3
IDS = ["a1", "a2", "b1", "b2"]
TOML = """
name = "rooms"
class_names = ["wall", "floor", "thing"]
ignore = 0
label_offset = 1
x_scale = 0.001

[splits]
train = "train.txt"
test = ["b2"]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("rgb", "x", "label"):
        (tmp_path / part).mkdir()
    for i, stem in enumerate(IDS):
        Image.fromarray(COLOUR[i]).save(tmp_path / "rgb" / f"{stem}.png")
        Image.fromarray(DEPTH[i]).save(tmp_path / "x" / f"{stem}.png")
        Image.fromarray(LABEL[i]).save(tmp_path / "label" / f"{stem}.png")
    (tmp_path / "dataset.toml").write_text(TOML)
    (tmp_path / "train.txt").write_text("b1\na1 a2\n")
    return tmp_path


def rewrite(root: Path, **lines: str | None) -> None:
    """Replaces (or, with None, removes) `key = ...` lines at the top of dataset.toml."""
    head, _, tail = TOML.partition("\n[splits]")
    kept = [line for line in head.splitlines() if line.split(" = ")[0] not in lines]
    kept += [f"{key} = {value}" for key, value in lines.items() if value is not None and key != "splits"]
    if "splits" not in lines:
        kept.append("[splits]" + tail)
    (root / "dataset.toml").write_text("\n".join(kept))


def test_values_are_exact(root: Path) -> None:
    data = Folder(root, "train")
    assert data.ids == ["b1", "a1", "a2"] and data.name == "rooms" and data.class_names == ["wall", "floor", "thing"]
    for index, i in enumerate((2, 0, 1)):
        sample = data[index]
        assert sample["id"] == IDS[i]
        assert np.array_equal(sample["rgb"].numpy(), COLOUR[i].transpose(2, 0, 1))
        assert np.allclose(sample["x"][0].numpy(), DEPTH[i] / 1000.0, atol=1e-6) and (sample["x"][0, :2] == 0).all()
        assert np.array_equal(sample["label"].numpy(), np.where(LABEL[i] == 0, 255, LABEL[i].astype(int) - 1))
        assert (sample["rgb"].dtype, sample["x"].dtype, sample["label"].dtype) == (
            torch.uint8,
            torch.float32,
            torch.int64,
        )
    assert json.loads(json.dumps(data.describe()))["n"] == 3
    small = Folder(root, "train", num_classes=3, size=(5, 7), label_size="input", limit=2, cache=True)
    assert small.ids == ["b1", "a1"] and torch.equal(small[0]["label"], data[0]["label"][1::2, 1::2])
    assert torch.equal(small[0]["x"], data[0]["x"][:, 1::2, 1::2])


def test_x_in_every_format_is_the_same(root: Path) -> None:
    wanted = Folder(root, "test")[0]["x"]
    rewrite(root, x_scale=None)
    metres = (DEPTH[3] / 1000).astype(np.float32)
    path = root / "x" / "b2.png"
    for ending, array in ((".png", DEPTH[3]), (".npy", metres), (".tif", metres), (".tiff", DEPTH[3])):
        path.unlink()
        path = path.with_suffix(ending)
        np.save(path, array) if ending == ".npy" else Image.fromarray(array).save(path)
        assert torch.allclose(Folder(root, "test")[0]["x"], wanted, atol=1e-6), ending


def test_without_splits_and_with_numbers_of_classes(root: Path) -> None:
    rewrite(root, splits=None, class_names=None, num_classes="3", name=None)
    data = Folder(root)
    assert data.ids == IDS and data.split == "all" and data.name == root.name
    assert data.class_names == ["class 0", "class 1", "class 2"]


def test_thermal_and_several_ignored_values(root: Path) -> None:
    rewrite(root, x_kind='"thermal"', ignore="[0, 2]", x_scale=None)
    Image.fromarray((DEPTH[3] // 100).astype(np.uint8)).save(root / "x" / "b2.png")
    sample = Folder(root, "test")[0]
    assert np.array_equal(sample["x"][0].numpy(), DEPTH[3] // 100)
    expected = np.where(np.isin(LABEL[3], (0, 2)), 255, LABEL[3].astype(int) - 1)
    assert np.array_equal(sample["label"].numpy(), expected)


@pytest.mark.parametrize("cache", [False, True])
def test_bad_pairs_are_named(root: Path, cache: bool) -> None:
    def load() -> None:
        Folder(root, "test", cache=cache)[0]

    x, label = root / "x" / "b2.png", root / "label" / "b2.png"
    load()
    Image.fromarray(DEPTH[3][:, :-1]).save(x)
    with pytest.raises(InputError, match=r"x.b2\.png: x is 13x10 but rgb is 14x10"):
        load()
    Image.fromarray(np.zeros((H, W), np.uint16)).save(x)
    with pytest.raises(InputError, match=r"x.b2\.png: depth is zero everywhere"):
        load()
    x.unlink()
    bad = np.full((H, W), 1000, np.float32)
    bad[3, 4] = np.nan
    np.save(x.with_suffix(".npy"), bad)
    load()  # a missing value
    np.save(x.with_suffix(".npy"), -1000 * np.ones((H, W)))
    with pytest.raises(InputError, match="negative"):
        load()
    np.save(x.with_suffix(".npy"), np.ones((H, W)))
    with pytest.raises(InputError, match=r"x.b2\.npy: half of its depths are nearer than 1 cm, one step being 0.001 m"):
        load()
    np.save(x.with_suffix(".npy"), 1000 * np.ones((H, W)))
    load()
    wrong = LABEL[3].copy()
    wrong[0, :2] = 4
    Image.fromarray(wrong).save(label)
    with pytest.raises(InputError, match=r"b2\.png has the value 4 in 2 pixels; classes are 1 to 3, ignored \[0\]"):
        load()
    Image.fromarray(LABEL[3][1:]).save(label)
    with pytest.raises(InputError, match=r"label.b2\.png: label is 14x9 but rgb is 14x10"):
        load()


def test_partners_and_duplicates(root: Path) -> None:
    (root / "x" / "b2.png").rename(root / "x" / "b3.png")
    with pytest.raises(InputError, match=r"x has no image 'b2', which split 'test' names"):
        Folder(root, "test")
    rewrite(root, splits=None)
    with pytest.raises(InputError, match=r"x has no image 'b2', which split 'all' names"):
        Folder(root)
    (root / "x" / "b3.png").rename(root / "x" / "b2.png")
    np.save(root / "x" / "b2.npy", np.ones((H, W)))
    with pytest.raises(InputError, match=r"has both b2\.npy and b2\.png; keep one"):
        Folder(root)


def test_splits_that_cannot_be_used(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown split 'tests'; did you mean 'test'"):
        Folder(root, "tests")
    (root / "train.txt").write_text("a1 a2 a1")
    with pytest.raises(InputError, match="names 'a1' more than once"):
        Folder(root, "train")
    (root / "train.txt").write_text("")
    with pytest.raises(InputError, match="is empty"):
        Folder(root, "train")
    (root / "train.txt").unlink()
    with pytest.raises(InputError, match=r"train\.txt does not exist; dataset\.toml names it"):
        Folder(root, "train")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"clas_names": '["a"]'}, "unknown key 'clas_names'; did you mean 'class_names'"),
        ({"zzz": "1"}, "unknown key 'zzz'; name, class_names"),
        ({"class_names": None}, "give class_names = .* or num_classes"),
        ({"class_names": '["a", "a", "b"]'}, "list of different names"),
        ({"class_names": "[1, 2, 3]"}, "list of different names"),
        ({"num_classes": "4"}, "num_classes is 4 but class_names has 3"),
        ({"num_classes": "true"}, "num_classes is True; give a number"),
        ({"class_names": None, "num_classes": "255"}, "255 classes; 1 to 254"),
        ({"x_kind": '"dept"'}, "unknown x_kind 'dept'; did you mean 'depth'"),
        ({"x_scale": "0"}, "x_scale is 0"),
        ({"x_scale": '"mm"'}, "x_scale is 'mm'; give a positive number"),
        ({"ignore": '"void"'}, "ignore is 'void'"),
        ({"label_offset": "0.5"}, "label_offset is 0.5; give a whole number"),
        ({"splits": None, "name": "3"}, "name is 3; give a text"),
    ],
)
def test_toml_that_cannot_be_used(root: Path, lines: dict, message: str) -> None:
    rewrite(root, **lines)
    with pytest.raises((InputError, UnknownNameError), match=message) as caught:
        Folder(root, "test")
    assert "dataset.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_missing_parts(root: Path) -> None:
    (root / "dataset.toml").write_text("name = ")
    with pytest.raises(InputError, match="is not valid TOML"):
        Folder(root)
    (root / "dataset.toml").write_text(TOML.replace('["b2"]', "[2]"))
    with pytest.raises(InputError, match="split 'test' needs the name of a file with ids, or a list"):
        Folder(root)
    (root / "dataset.toml").write_text(TOML)
    with pytest.raises(InputError, match="has 3 classes, not 5"):
        Folder(root, "test", num_classes=5)
    (root / "label").rename(root / "classes")
    with pytest.raises(InputError, match="label does not exist; a data set folder has"):
        Folder(root, "test")
    (root / "label").mkdir()
    with pytest.raises(InputError, match="label has no image"):
        Folder(root, "test")
    with pytest.raises(InputError, match="nowhere is no folder"):
        Folder(root / "nowhere")


def split_first(root: Path) -> Path:
    """train/rgb, train/x, train/label, and the same of val."""
    for split, part in itertools.product(("train", "val"), ("rgb", "x", "label")):
        (root / split / part).mkdir(parents=True)
        image = (
            np.full((4, 6, 3), 90, np.uint8)
            if part == "rgb"
            else np.full((4, 6), 1, np.uint16 if part == "x" else np.uint8)
        )
        for i in range(2):
            Image.fromarray(image).save(root / split / part / f"{i}.png")
    (root / "dataset.toml").write_text('class_names = ["a", "b"]\n')
    return root


def test_a_folder_of_a_split_without_images_is_named(tmp_path: Path) -> None:
    root = split_first(tmp_path / "d")
    for part in ("rgb", "x", "label"):
        for i in range(2):
            (root / "val" / part / f"{i}.png").unlink()
    (root / "test").mkdir()
    with pytest.raises(InputError, match=r"d/val holds no image of rgb, so there is no split 'val'.*: train, all"):
        Folder(root, "val")
    with pytest.raises(InputError, match=r"d/test holds no image of rgb"):
        Folder(root, None)
    assert len(Folder(root, "train")) == len(Folder(root, "all")) == 2


def test_a_missing_partner_is_looked_for_where_the_others_of_its_split_lie(tmp_path: Path) -> None:
    root = split_first(tmp_path / "d")
    (root / "train" / "label" / "1.png").unlink()
    with pytest.raises(InputError, match=r"d/train/label has no image .*; add train/label/1.png or take"):
        Folder(root, "train")


def test_files_that_are_not_read_are_named(tmp_path: Path) -> None:
    root = split_first(tmp_path / "d")
    for path in root.glob("*/x/*.png"):
        path.unlink()
        np.savez(path.with_suffix(".npz"), np.ones((4, 6)))
    with pytest.raises(
        InputError, match=r"x holds \.npz files \(an archive of arrays\), which are not read; save them as"
    ):
        Folder(root, "train")


def test_sizes_that_differ_need_a_size_for_batches_and_cache(root: Path) -> None:
    for part, image in (("rgb", COLOUR[0][:6]), ("x", DEPTH[0][:6]), ("label", LABEL[0][:6])):
        Image.fromarray(image).save(root / part / "a1.png")
    data = Folder(root, "train")
    assert data[1]["rgb"].shape == (3, 6, W) and data[0]["rgb"].shape == (3, H, W)
    from fusionzoo.data import collate

    with pytest.raises(InputError, match=r"a1: rgb is \(3, 6, 14\) but b1 has \(3, 10, 14\)"):
        collate([data[0], data[1]])
    cached = Folder(root, "train", cache=True)
    assert cached[1]["rgb"].shape == (3, 6, W) and torch.equal(cached[1]["label"], data[1]["label"])
    assert Folder(root, "train", cache_size=(5, 7))[1]["label"].shape == (5, 7)
