"""Data with a class of each pixel and a scene type of each image: planted rooms, NYU Depth v2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data import collate, parse_spec, train_transform
from fusionzoo.data.planted_joint import CLASSES, PlantedJoint
from fusionzoo.data.planted_render import render
from fusionzoo.data.planted_scenes import PlantedScenes
from fusionzoo.errors import InputError

SHOWS = {"purple_panels": "panel", "teal_panels": "panel", "bumps": "relief", "niches": "relief"}
"""Scene type -> class of its patches; of the others "painted_relief"."""
TYPES = {1: "kitchen", 2: "living_room", 3: "furniture_store", 4: "office"}
VALUES = {1: 1, 2: 5, 3: 23, 4: 0}
"""Image -> file value of all its pixels: wall, chair, books, unlabelled."""


def test_planted_rooms_are_those_of_planted_scenes_and_patches_are_labelled_by_what_they_show() -> None:
    both, scenes = PlantedJoint("train", n=24, size=(48, 64)), PlantedScenes("train", n=24, size=(48, 64))
    classes, seen = list(CLASSES), set()
    for i in range(24):
        sample, scene = both[i], scenes[i]
        assert torch.equal(sample["rgb"], scene["rgb"]) and torch.equal(sample["x"], scene["x"])
        assert sample["scene"].dtype == torch.int64 and sample["scene"].shape == ()
        assert int(sample["scene"]) == int(scene["label"])
        kind = both.scene_names[int(sample["scene"])]
        # the layout of planted-scenes labels its patches as the wall that they hang on
        room = torch.from_numpy(render(scenes.layout(i), (48, 64), np.random.default_rng(0)).label)
        patches = sample["label"] != room
        assert set(sample["label"][patches].tolist()) <= {classes.index(SHOWS.get(kind, "painted_relief"))}
        assert set(room[patches].tolist()) <= {classes.index("wall")} and int(sample["label"].max()) < 8
        seen |= {classes[k] for k in sample["label"].unique().tolist()}
    assert seen == set(classes) and both.task == "segmentation" and both.scene_names == scenes.class_names


@pytest.mark.parametrize("cached", [False, True])
def test_the_type_goes_with_its_image_through_caches_transforms_and_batches(cached: bool) -> None:
    zoom = train_transform((32, 32), (48, 64))
    data = parse_spec("planted-joint", split="train", limit=6, size=(48, 64), cache=cached or None, transform=zoom)
    wanted = [int(s["label"]) for s in PlantedScenes("train", n=6, size=(48, 64))]
    for _ in range(2):  # made, then out of the cache
        batch = collate([data[i] for i in (5, 0, 3)])
        assert batch["scene"].tolist() == [wanted[i] for i in (5, 0, 3)] and batch["label"].shape == (3, 32, 32)
    assert data.scene_names == data.describe()["scene_names"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("rgb", "depth", "label40"):
        (tmp_path / name).mkdir()
    for number, value in VALUES.items():
        Image.fromarray(np.full((12, 16, 3), 100, np.uint8)).save(tmp_path / "rgb" / f"{number:04d}.jpg")
        Image.fromarray(np.full((12, 16), 2000, np.uint16)).save(tmp_path / "depth" / f"{number:04d}.png")
        Image.fromarray(np.full((12, 16), value, np.uint8)).save(tmp_path / "label40" / f"{number:04d}.png")
    (tmp_path / "train.txt").write_text("0001")
    (tmp_path / "test.txt").write_text("0002 0003 0004")
    lines = [f"{n:04d},train,{kind}" for n, kind in TYPES.items()]
    (tmp_path / "scenes.csv").write_text("\n".join(["id,split,scene_type", *lines]))
    return tmp_path


@pytest.mark.parametrize(("classes", "wanted"), [(40, [4, 22, 255]), (13, [3, 1, 255]), (4, [2, 3, 255])])
def test_nyu_depth_gives_pixels_of_any_label_map_and_the_type(folder: Path, classes: int, wanted: list[int]) -> None:
    data = parse_spec(f"nyuv2-joint:{folder}", num_classes=classes, size=(8, 8), label_size="input", cache=True)
    for _ in range(2):
        assert [int(s["label"].unique()) for s in data] == wanted and data[0]["label"].shape == (8, 8)
        assert [data.scene_names[int(s["scene"])] for s in data] == ["living room", "others", "office"]
    assert (data.name, data.task, data.num_classes) == ("nyuv2-joint", "segmentation", classes)
    (folder / "scenes.csv").write_text("id,scene_type\n0002,office")
    with pytest.raises(InputError, match="does not name image 0003"):
        parse_spec(f"nyuv2-joint:{folder}")[1]


def test_the_real_images_have_the_labels_of_nyuv2_and_the_types_of_nyuv2_scenes(nyuv2_folder: Path) -> None:
    kinds = ("nyuv2-joint", "nyuv2", "nyuv2-scenes")
    more = ({"num_classes": 13}, {"num_classes": 13}, {})
    sets = [parse_spec(f"{kind}:{nyuv2_folder}", limit=5, **m) for kind, m in zip(kinds, more, strict=True)]
    assert sets[0].scene_names == sets[2].class_names and sets[0].class_names == sets[1].class_names
    for both, pixels, scene in zip(*sets, strict=True):
        assert torch.equal(both["label"], pixels["label"]) and int(both["scene"]) == int(scene["label"])
        assert torch.equal(both["rgb"], scene["rgb"]) and both["id"] == scene["id"]
