"""Data with one class for a whole image: planted scenes, whose types follow from what hangs there; NYU Depth v2's."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data import adapt, eval_transform, inspect, parse_spec, train_transform
from fusionzoo.data.nyuv2_scenes import NYUv2Scenes
from fusionzoo.data.planted_render import render
from fusionzoo.data.planted_scenes import CLASSES, PlantedScenes
from fusionzoo.errors import InputError
from fusionzoo.report.data_page import html


def looks(data: PlantedScenes, index: int) -> set[tuple[str, str]]:
    """(colour, relief) of every patch of a scene, in words."""
    found = set()
    for slot in data.layout(index).slots:
        turn = None if slot.colours is None else colorsys.rgb_to_hsv(*slot.colours[0])[0]
        names = {0.0: "red", 0.07: "orange", 0.34: "green", 0.49: "teal", 0.62: "blue", 0.8: "purple", 1.0: "red"}
        colour = "bare" if turn is None else names[min(names, key=lambda at: abs(at - turn))]
        found.add((colour, "flat" if slot.relief == 0 else "out" if slot.relief > 0 else "in"))
    return found


def test_a_scene_type_is_what_its_patches_show() -> None:
    data = PlantedScenes("train", n=40, size=(32, 48))
    allowed = {
        "purple_panels": {("purple", "flat")}, "teal_panels": {("teal", "flat")},
        "bumps": {("bare", "out")}, "niches": {("bare", "in")},
        "joint_a": {("red", "out"), ("green", "in")}, "joint_b": {("red", "in"), ("green", "out")},
        "orange_bumps": {("orange", "out")}, "blue_niches": {("blue", "in")},
    }  # fmt: skip
    names = list(CLASSES)
    types = [names[int(data[i]["label"])] for i in range(40)]
    assert set(types) == set(names) and data[0]["label"].shape == (1, 1)
    for index, name in enumerate(types):
        assert looks(data, index) and looks(data, index) <= allowed[name]


def test_colour_does_not_tell_relief_and_depth_does_not_tell_colour() -> None:
    """A scene drawn again with its relief turned round, or with other colours: one input stays as it was."""
    data = PlantedScenes("train", n=12, size=(32, 48))
    index = next(i for i in range(12) if list(CLASSES)[int(data[i]["label"])] in ("bumps", "joint_a"))
    layout = data.layout(index)
    turned = replace(layout, slots=tuple(replace(s, relief=-s.relief) for s in layout.slots))
    painted = replace(layout, slots=tuple(replace(s, colours=((0.1, 0.6, 0.6),) * 2) for s in layout.slots))
    plain, other, new = (render(at, (32, 48), np.random.default_rng(0)) for at in (layout, turned, painted))
    assert np.array_equal(plain.rgb, other.rgb) and not np.array_equal(plain.clean, other.clean)
    assert np.array_equal(plain.clean, new.clean) and not np.array_equal(plain.rgb, new.rgb)


def test_no_transform_changes_the_class_of_a_whole_image() -> None:
    data = PlantedScenes("train", n=3, size=(32, 48))
    plain, label = data[0], data[0]["label"]
    zoom = train_transform((16, 24), (32, 48), scale=(0.4, 2.0))
    shapes = set()
    for k in range(8):
        draw = [k / 8] * 8
        out = zoom(plain, draw)
        segmented = zoom({**plain, "label": torch.zeros(32, 48, dtype=torch.long)}, draw)
        assert torch.equal(out["label"], label) and torch.equal(out["rgb"], segmented["rgb"])
        assert torch.equal(out["x"], segmented["x"])
        shapes.add(tuple(out["rgb"].shape))
    assert shapes == {(3, 16, 24)}
    assert torch.equal(eval_transform((16, 16), "input")(plain)["label"], label)


def test_the_page_of_such_data_names_types_and_paints_nothing() -> None:
    found = inspect({"test": PlantedScenes("test", n=2, size=(32, 48))}, examples=1)
    page = html(found)
    assert f"planted-scenes-test-s0-00000: {found.class_names[int(found.examples[0].label[0, 0])]}" in page
    assert "classes of planted" not in page and "rgb of planted-scenes-test-s0-00000" in page


def test_a_list_of_samples_says_its_task_by_its_labels() -> None:
    samples = [PlantedScenes("test", n=1, size=(32, 48))[0]]
    assert adapt(samples, class_names=list(CLASSES)).task == "classification"
    samples = [{**samples[0], "label": torch.zeros(32, 48, dtype=torch.long)}]
    assert adapt(samples, class_names=list(CLASSES)).task == "segmentation"


TYPES = {1: "kitchen", 2: "living_room", 3: "furniture_store", 4: "home_office", 5: "office", 6: "office_kitchen"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("rgb", "depth", "label40"):
        (tmp_path / name).mkdir()
    for number in TYPES:
        Image.fromarray(np.full((12, 16, 3), 100, np.uint8)).save(tmp_path / "rgb" / f"{number:04d}.jpg")
        Image.fromarray(np.full((12, 16), 2000, np.uint16)).save(tmp_path / "depth" / f"{number:04d}.png")
        Image.fromarray(np.full((12, 16), number, np.uint8)).save(tmp_path / "label40" / f"{number:04d}.png")
    (tmp_path / "train.txt").write_text("0001 0002")
    (tmp_path / "test.txt").write_text("0003 0004 0005 0006")
    lines = [f"{n:04d},train,{kind}" for n, kind in TYPES.items()]
    (tmp_path / "scenes.csv").write_text("\n".join(["id,split,scene_type", *lines]))
    return tmp_path


def test_nine_frequent_types_of_nyu_depth_stay_and_the_others_are_one(folder: Path) -> None:
    test = parse_spec(f"nyuv2-scenes:{folder}", cache=True, size=(8, 8), label_size="input")
    for _ in range(2):  # read, then out of the cache
        named = [test.class_names[int(s["label"])] for s in test]
        assert named == ["others", "home office", "office", "others"]
    assert test[0]["label"].shape == (1, 1) and test[0]["rgb"].shape == (3, 8, 8)
    assert (test.name, test.task, test.num_classes) == ("nyuv2-scenes", "classification", 10)
    trained = NYUv2Scenes(folder, "trainval")
    assert [trained.class_names[int(s["label"])] for s in trained] == ["kitchen", "living room"]


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "names the scene type of each image"), ("id,room\n0003,office", "wanted id, scene_type"),
     ("id,scene_type\n0003,", "line 2: wanted an id and a scene type"), ("id,scene_type\n0004,office", "image 0003")],
)  # fmt: skip
def test_a_list_of_types_that_cannot_be_read(folder: Path, text: str | None, said: str) -> None:
    place = folder / "scenes.csv"
    place.unlink() if text is None else place.write_text(text)
    with pytest.raises(InputError, match=said):
        NYUv2Scenes(folder, "test")[0]
