from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data import Folder, NYUv2, Planted, WithTransform, parse_spec
from fusionzoo.errors import InputError, UnknownNameError


@pytest.fixture
def nyu(tmp_path: Path) -> Path:
    root = tmp_path / "nyu"
    for name in ("rgb", "depth", "label40"):
        (root / name).mkdir(parents=True)
    for number in range(1, 9):
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(root / "rgb" / f"{number:04d}.jpg")
        Image.fromarray(np.full((8, 8), 1000 * number, np.uint16)).save(root / "depth" / f"{number:04d}.png")
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(root / "label40" / f"{number:04d}.png")
    (root / "train.txt").write_text("1 2 3")
    (root / "test.txt").write_text("4 5 6 7 8")
    return root


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    root = tmp_path / "rooms"
    for name, image in (
        ("rgb", np.zeros((8, 8, 3), np.uint8)),
        ("x", np.ones((8, 8), np.uint16)),
        ("label", np.eye(8)),
    ):
        (root / name).mkdir(parents=True)
        Image.fromarray(image if name != "label" else image.astype(np.uint8)).save(root / name / "one.png")
    (root / "dataset.toml").write_text("num_classes = 2")
    return root


def test_nyuv2(nyu: Path) -> None:
    data = parse_spec(f"nyuv2:{nyu}", size=(4, 4), num_classes=13, limit=2)
    assert isinstance(data, NYUv2) and data.split == "test" and data.ids == ["0004", "0006"] and data.num_classes == 13
    assert data[0]["rgb"].shape == (3, 4, 4) and float(data[0]["x"].max()) == pytest.approx(4.0)
    assert parse_spec(f"nyuv2:{nyu}", split="trainval", label_size="input", size=(2, 2))[0]["label"].shape == (2, 2)
    assert parse_spec(f"nyuv2:{nyu}").num_classes == 40


def test_folder(rooms: Path) -> None:
    data = parse_spec(f"folder:{rooms}")
    assert isinstance(data, Folder) and data.split == "all" and len(data) == 1
    (rooms / "dataset.toml").write_text('num_classes = 2\n[splits]\nfit = ["one"]')
    with pytest.raises(InputError, match="has no split 'test'; name one of its splits: fit"):
        parse_spec(f"folder:{rooms}")
    assert parse_spec(f"folder:{rooms}", split="fit").ids == ["one"]
    (rooms / "dataset.toml").write_text('num_classes = 2\n[splits]\ntest = ["one"]')
    assert parse_spec(f"folder:{rooms}").split == "test"


def test_planted() -> None:
    data = parse_spec("planted", size=(60, 80), limit=3)
    assert isinstance(data, Planted) and len(data) == 3 and data.split == "test" and data[0]["rgb"].shape == (3, 60, 80)
    whole = parse_spec("planted", size=(60, 80), seed=1, split="val")
    assert whole.split == "val" and len(parse_spec("planted", limit=10**6)) == len(parse_spec("planted"))
    assert len(parse_spec("planted", n=5)) == 5 and len(parse_spec("planted", n=5, limit=9)) == 5
    cached = parse_spec("planted", size=(60, 80), limit=3, cache=True, label_size="input")
    for _ in range(2):
        for index in range(3):
            for key in ("rgb", "x", "label"):
                mine, theirs = cached[index][key], data[index][key]
                assert torch.equal(mine, theirs) and mine.dtype == theirs.dtype, key
    assert (
        cached.class_names == data.class_names and cached.concepts == data.concepts and cached[1]["id"] == data.ids[1]
    )
    changed = parse_spec("planted", size=(60, 80), limit=1, transform=lambda s: {**s, "id": "new"})
    assert isinstance(changed, WithTransform) and changed[0]["id"] == "new" and changed.num_classes == data.num_classes
    with pytest.raises(InputError, match=f"has {data.num_classes} classes, not 3"):
        parse_spec("planted", num_classes=3)
    with pytest.raises(InputError, match="takes no path"):
        parse_spec("planted:/tmp")


def test_what_is_refused(nyu: Path, rooms: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown data 'nyu'; did you mean 'nyuv2'"):
        parse_spec("nyu:somewhere")
    with pytest.raises(UnknownNameError, match="did you mean 'planted'"):
        parse_spec("plantd")
    with pytest.raises(UnknownNameError, match=r"planted-joint \| planted-saliency \| nyuv2:PATH \| folder:PATH"):
        parse_spec("")
    with pytest.raises(InputError, match=r"'nyuv2' has no path; give nyuv2:PATH, the folder with rgb/ depth/ label40/"):
        parse_spec("nyuv2")
    with pytest.raises(InputError, match=r"gone does not exist; folder: needs the folder with rgb/ x/ label/"):
        parse_spec(f"folder:{tmp_path / 'gone'}")
    with pytest.raises(InputError, match=f"did you mean nyuv2:{nyu}"):
        parse_spec(str(nyu))
    with pytest.raises(InputError, match=f"did you mean folder:{rooms}"):
        parse_spec(str(rooms))
    with pytest.raises(UnknownNameError, match="unknown option of nyuv2 data 'cach'; did you mean 'cache'"):
        parse_spec(f"nyuv2:{nyu}", cach=True)
    with pytest.raises(UnknownNameError, match="unknown option of planted data 'sed'"):
        parse_spec("planted", sed=1)
    with pytest.raises(UnknownNameError, match="unknown split 'tset'; did you mean 'test'"):
        parse_spec(f"nyuv2:{nyu}", split="tset")


def test_a_wrapper_passes_attributes_on_and_survives_copying(nyu: Path) -> None:
    import copy

    data = WithTransform(parse_spec(f"nyuv2:{nyu}"), dict)
    assert data.name == "nyuv2" and data.ignore_index == 255 and len(data) == 5
    assert copy.deepcopy(data).ids == data.ids
    with pytest.raises(AttributeError):
        _ = data.no_such_thing


def test_what_only_folders_have_changes_nothing_elsewhere(nyu: Path, rooms: Path) -> None:
    options = {"align": True, "empty_depth": "keep", "labels": False, "limit": 1}
    assert (parse_spec(f"nyuv2:{nyu}", **options)[0]["label"] == 3).all()
    assert len(parse_spec("planted", **options)) == 1
    (rooms / "label" / "one.png").unlink()
    Image.fromarray(np.full((8, 8), 900, np.uint16)).save(rooms / "x" / "one.png")
    assert (parse_spec(f"folder:{rooms}", **options)[0]["label"] == 255).all()
