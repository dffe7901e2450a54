"""Published data sets on small trees of their official layouts; truths are written here, not taken from the code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data import parse_spec
from fusionzoo.data.official import OfficialDataset
from fusionzoo.data.spec import OFFICIAL, label_maps, official
from fusionzoo.errors import FusionZooWarning, InputError, UnknownNameError

H, W = 6, 8
RNG = np.random.default_rng(0)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def colour(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3)).astype(np.uint8)


def mfnet(root: Path) -> None:
    for number, name in enumerate(("00001D", "00002N", "00003D", "00004N")):
        four = np.dstack([colour(number), np.full((H, W), 40 + number, np.uint8)])
        four[0, 0, 3] = 0  # thermal, though a PNG calls it transparent
        save(root / "images" / f"{name}.png", four)
        save(root / "labels" / f"{name}.png", np.arange(H * W).reshape(H, W).astype(np.uint8) % 9)
    for split, names in {"train": "00001D 00002N", "val": "00003D", "test": "00004N", "test_night": "00004N"}.items():
        (root / f"{split}.txt").write_text("\n".join(names.split()) + "\n")


def pst900(root: Path) -> None:
    for split in ("train", "test"):
        for number in range(2):
            name = f"{number}_frame.png"
            save(root / split / "rgb" / name, colour(number))
            save(root / split / "thermal" / name, np.full((H, W), 90 + number, np.uint8))
            save(root / split / "labels" / name, np.arange(H * W).reshape(H, W).astype(np.uint8) % 5)


def fmb(root: Path) -> None:
    for split in ("train", "test"):
        for number in range(2):
            name = f"0000{number}.png"
            save(root / split / "Visible" / name, colour(number))
            save(root / split / "Infrared" / name, np.full((H, W, 3), 30 + number, np.uint8))  # grey in three channels
            save(root / split / "Label" / name, np.arange(H * W).reshape(H, W).astype(np.uint8) % 15)


def scannet(root: Path) -> None:
    scenes = {"train": ["scene0000_00", "scene0000_01"], "val": ["scene0011_00"]}
    for split, names in scenes.items():
        (root / f"scannetv2_{split}.txt").parent.mkdir(parents=True, exist_ok=True)
        (root / f"scannetv2_{split}.txt").write_text("\n".join(names))
        for scene in names:
            folder = root / "scannet_frames_25k" / scene
            save(folder / "color" / "000100.jpg", np.full((H, W, 3), 120, np.uint8))
            save(
                folder / "depth" / "000100.png",
                (1000 + np.arange(H * W // 4).reshape(H // 2, W // 2)).astype(np.uint16),
            )
            save(folder / "label" / "000100.png", np.arange(H * W).reshape(H, W).astype(np.uint8) % 41)
    folder = root / "scannet_frames_test" / "scene0707_00"
    save(folder / "color" / "000000.jpg", np.full((H, W, 3), 120, np.uint8))
    save(folder / "depth" / "000000.png", np.full((H // 2, W // 2), 2000, np.uint16))


def cityscapes(root: Path) -> None:
    for split, city in (("train", "aachen"), ("train", "zurich"), ("val", "lindau"), ("test", "bonn")):
        name = f"{split}/{city}/{city}_000000_000019"
        save(root / "leftImg8bit" / f"{name}_leftImg8bit.png", colour())
        stored = np.full((H, W), 1 + 256 * 20, np.uint16)  # 20 pixels
        stored[0, 0], stored[0, 1], stored[0, 2] = 0, 1, 1 + 128  # missing, no disparity, half a pixel
        save(root / "disparity" / f"{name}_disparity.png", stored)
        save(root / "gtFine" / f"{name}_gtFine_labelIds.png", np.arange(H * W).reshape(H, W).astype(np.uint8) % 34)
        camera = root / "camera" / f"{name}_camera.json"
        camera.parent.mkdir(parents=True, exist_ok=True)
        camera.write_text(json.dumps({"extrinsic": {"baseline": 0.25}, "intrinsic": {"fx": 2000.0}}))


def deliver(root: Path) -> None:
    places = [("fog", "MAP_1_point2"), ("sun", "MAP_1_point2"), ("sun", "MAP_6_point3_motionblur")]
    for split in ("train", "val", "test"):
        for weather, place in places:
            where = f"{weather}/{split}/{place}/000010"
            save(root / "img" / f"{where}_rgb_front.png", colour())
            save(root / "hha" / f"{where}_depth_front.png", colour(1))
            far = np.zeros((H, W, 3), np.uint8)
            far[..., 2] = 2  # 2 * 65536 / (2^24 - 1) of 1000 m
            far[0] = 255  # the far plane
            save(root / "depth" / f"{where}_depth_front.png", far)
            save(root / "event" / f"{where}_event_front.png", colour(2)[: H // 2, : W // 2])
            save(root / "lidar" / f"{where}_lidar_front.png", np.full((H, W), 7, np.uint8))
            label = np.zeros((H, W, 3), np.uint8)
            label[..., 0] = np.arange(H * W).reshape(H, W) % 26
            label[0, 0, 0] = 255
            save(root / "semantic" / f"{where}_semantic_front.png", label)


TREES: dict[str, Callable[[Path], None]] = {
    "mfnet": mfnet, "pst900": pst900, "fmb": fmb, "scannet": scannet, "cityscapes": cityscapes, "deliver": deliver,
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., OfficialDataset]:
    def opened(kind: str, split: str = "train", words: str = "partial", **options: object) -> OfficialDataset:
        if not (tmp_path / kind).exists():
            TREES[kind](tmp_path / kind)
        with pytest.warns(FusionZooWarning, match="going on with") if "partial" in words else _nothing():
            return parse_spec(f"{kind}:{tmp_path / kind}{'#' if words else ''}{words}", split=split, **options)

    return opened


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


SIZES = {
    "sunrgbd": {"train": 5285, "test": 5050},
    "mfnet": {"train": 784, "val": 392, "test": 393, "test_day": 205, "test_night": 188},
    "pst900": {"train": 597, "test": 297},
    "fmb": {"train": 1220, "test": 280},
    "scannet": {"train": 19466, "val": 5436, "test": 2135},
    "cityscapes": {"train": 2975, "val": 500, "test": 1525},
    "deliver": {"train": 3983, "val": 2005, "test": 1897},
    "nju2k": {"train": 1485, "test": 500},
    "nlpr": {"train": 700, "test": 300},
    "sip": {"test": 929},
}


@pytest.mark.parametrize("kind", OFFICIAL)
def test_each_states_what_it_is(kind: str) -> None:
    cls = official(kind)
    facts = cls.facts
    assert cls.name == kind and dict(facts.splits) == SIZES[kind]
    assert all((facts.title, facts.paper, facts.licence, facts.get, facts.layout)) and set(facts.parts) <= set(
        facts.splits
    )
    for count, classes in facts.classes.items():
        assert count == len(classes.names) == len(set(classes.names)) == len(classes.values) == len(classes.colours)
        assert not set(classes.values) & set(classes.void)
        if kind != "sunrgbd":  # the colours of NYU-40's classes
            assert len(set(classes.colours)) == count
    assert label_maps(kind)[0] == next(iter(facts.classes)) and label_maps("nyuv2") == (40, 13, 4)
    doc = __import__(f"fusionzoo.data.{kind}", fromlist=["x"]).__doc__
    assert all(word in doc for word in ("Paper:", "Licence:", "To get it:", "Splits:", "ayout"))


@pytest.mark.parametrize("kind", TREES)
def test_samples_of_every_set(kind: str, tree: Callable[..., OfficialDataset]) -> None:
    data = tree(kind)
    sample = data[0]
    assert sample["rgb"].dtype == torch.uint8 and sample["rgb"].shape == (3, H, W)
    assert sample["x"].dtype == torch.float32 and sample["x"].shape == (data.x_channels, H, W)
    assert sample["label"].dtype == torch.int64 and sample["label"].shape == (H, W)
    known = sample["label"][sample["label"] != 255]
    assert 0 <= int(known.min()) and int(known.max()) < data.num_classes == len(data.palette)
    told = data.describe()
    assert json.loads(json.dumps(told)) == told and told["licence"]
    small = tree(kind, size=(3, 4), label_size="input", limit=1, cache=True)
    assert small[0]["x"].shape == (data.x_channels, 3, 4) == (data.x_channels, *small[0]["label"].shape)
    assert torch.equal(small[0]["x"], sample["x"][:, 1::2, 1::2])
    unlabelled = tree(kind, labels=False, empty_depth="keep", align=True)
    assert (unlabelled[0]["label"] == 255).all()


def test_mfnet(tree: Callable[..., OfficialDataset]) -> None:
    data = tree("mfnet")
    assert data.ids == ["00001D", "00002N"] and data.x_kind == "thermal" and data.class_names[1] == "car"
    sample = data[1]
    assert np.array_equal(sample["rgb"].numpy(), colour(1).transpose(2, 0, 1))
    assert sample["x"][0, 0, 0] == 0 and (sample["x"].flatten()[1:] == 41).all()
    assert np.array_equal(sample["label"].numpy(), np.arange(H * W).reshape(H, W) % 9)
    eight = tree("mfnet", num_classes=8)
    assert eight.class_names[0] == "car" and eight.palette[0] == (64, 0, 128)
    wanted = np.arange(H * W).reshape(H, W) % 9 - 1
    assert np.array_equal(eight[0]["label"].numpy(), np.where(wanted < 0, 255, wanted))
    assert tree("mfnet", split="test_night").ids == ["00004N"] and tree("mfnet", split=None).split == "test"
    with pytest.raises(InputError, match="MFNet has 9 or 8 classes, not 7"):
        tree("mfnet", words="", num_classes=7)


def test_the_real_images_of_mfnet(shared: Path, tmp_path: Path) -> None:
    """Day and night: the values of one pixel each as another program reads them; labels are made up."""
    (tmp_path / "images").symlink_to(shared / "data" / "mfnet_rgbt_sample")
    for name in ("01477D", "01234N"):
        save(tmp_path / "labels" / f"{name}.png", np.zeros((480, 640), np.uint8))
    (tmp_path / "test.txt").write_text("01477D\n01234N\n")
    with pytest.warns(FusionZooWarning, match="has 2 images, not 393: 391 less; going on with 2"):
        data = parse_spec(f"mfnet:{tmp_path}#partial")
    for index, name in enumerate(data.ids):
        bands = [np.asarray(band) for band in Image.open(tmp_path / "images" / f"{name}.png").split()]
        assert np.array_equal(data[index]["rgb"].numpy(), np.stack(bands[:3]))
        assert np.array_equal(data[index]["x"][0].numpy(), bands[3])
    day, night = (float(data[i]["rgb"].float().mean()) for i in (0, 1))
    assert day > 2 * night, "01477D is by day, 01234N by night"


def test_infrared_of_three_channels_and_void_in_fmb(tree: Callable[..., OfficialDataset]) -> None:
    sample = tree("fmb", split="test")[1]
    assert (sample["x"] == 31).all()
    values = np.arange(H * W).reshape(H, W) % 15
    assert np.array_equal(sample["label"].numpy(), np.where(values == 0, 255, values - 1))
    assert np.array_equal(tree("fmb", num_classes=15)[0]["label"].numpy(), values)
    assert tree("pst900", num_classes=4)[0]["label"][0, 0] == 255 and tree("pst900").class_names[4] == "survivor"


def test_scannet_maps_40_to_20_and_enlarges_depth(tree: Callable[..., OfficialDataset]) -> None:
    data = tree("scannet", split=None)
    assert data.split == "val" and data.ids == ["scene0011_00/000100"]
    assert data.class_names[12:] == ["desk", "curtain", "refridgerator", "shower curtain", "toilet", "sink", "bathtub",
                                     "otherfurniture"]  # fmt: skip
    label, x = data[0]["label"].flatten(), data[0]["x"][0]
    truth = {0: 255, 1: 0, 12: 11, 13: 255, 14: 12, 16: 13, 24: 14, 28: 15, 33: 16, 34: 17, 36: 18, 39: 19, 40: 255}
    assert {value: int(label[value]) for value in truth} == truth
    assert torch.allclose(x[::2, ::2], (1000 + torch.arange(12.0).view(3, 4)) / 1000) and torch.equal(x[0], x[1])
    assert int(tree("scannet", num_classes=40)[0]["label"].flatten()[13]) == 12
    with pytest.raises(InputError, match=r"labels of ScanNet's split 'test' are not published; use 'val'"):
        tree("scannet", split="test", words="")
    assert tree("scannet", split="test", labels=False).ids == ["scene0707_00/000000"]


def test_cityscapes_disparity_is_depth(tree: Callable[..., OfficialDataset]) -> None:
    data = tree("cityscapes", split="val")
    x, label = data[0]["x"][0], data[0]["label"].flatten()
    assert x[0, 0] == 0 and x[0, 1] == 0, "missing, and nothing to divide by"
    assert x[0, 2] == 300, "1000 m by the formula"
    assert torch.allclose(x.flatten()[3:], torch.tensor(0.25 * 2000 / 20))
    truth = {7: 0, 8: 1, 9: 255, 11: 2, 17: 5, 18: 255, 23: 10, 26: 13, 29: 255, 31: 16, 33: 18, 0: 255}
    assert {value: int(label[value]) for value in truth} == truth
    camera = next(Path(data.root).glob("camera/val/*/*.json"))
    camera.write_text('{"extrinsic": {}}')
    with pytest.raises(InputError, match=r"camera\.json has no positive extrinsic baseline and intrinsic fx"):
        data[0]


def test_deliver_offers_each_modality_as_x(tree: Callable[..., OfficialDataset]) -> None:
    hha = tree("deliver")
    assert hha.x_kind == "hha" and hha.ids[0] == "fog/MAP_1_point2/000010_front"
    assert np.array_equal(hha[0]["x"].numpy(), colour(1).transpose(2, 0, 1))
    depth = tree("deliver", words="depth,partial")
    assert depth.x_kind == "depth" and (depth[0]["x"][0, 0] == 0).all(), "the far plane was not measured"
    assert depth[0]["x"][0, 1:].numpy() == pytest.approx(1000 * 2 * 65536 / 16777215)
    event = tree("deliver", words="partial,event")
    assert event.x_channels == 3 and np.array_equal(
        event[0]["x"].numpy()[:, ::2, ::2], colour(2).transpose(2, 0, 1)[:, :3, :4]
    )
    lidar = tree("deliver", words="lidar,partial")
    assert lidar.x_kind == "lidar" and (lidar[0]["x"] == 7).all() and lidar.x_channels == 3
    label = hha[0]["label"].flatten()
    assert [int(label[i]) for i in (0, 1, 25, 26)] == [255, 0, 24, 255]
    assert tree("deliver", words="event,sun").ids == [
        "sun/MAP_1_point2/000010_front",
        "sun/MAP_6_point3_motionblur/000010_front",
    ]
    assert tree("deliver", words="motionblur").ids == ["sun/MAP_6_point3_motionblur/000010_front"]
    with pytest.raises(UnknownNameError, match="unknown word of deliver data 'lidra'; did you mean 'lidar'"):
        tree("deliver", words="lidra")
    several = tree("deliver", words="lidar,depth,event,partial")
    assert several.x_kind == "lidar+depth+event" and several.x_channels == 7
    whole = several[0]["x"]
    for one, at in ((lidar, slice(0, 3)), (depth, slice(3, 4)), (event, slice(4, 7))):
        assert torch.equal(whole[at], one[0]["x"])
    with pytest.raises(InputError, match="has lidar twice"):
        tree("deliver", words="lidar,lidar")
    with pytest.raises(InputError, match="chooses case twice"):
        tree("deliver", words="fog,night")
    with pytest.raises(InputError, match="of DELIVER has no image"):
        tree("deliver", words="night")


def test_too_few_are_refused_with_number_and_name(tmp_path: Path) -> None:
    mfnet(tmp_path / "m")
    (tmp_path / "m" / "images" / "00002N.png").unlink()
    with pytest.raises(InputError) as error:
        parse_spec(f"mfnet:{tmp_path / 'm'}", split="train")
    text = str(error.value)
    assert "has 2 images, not 784: 782 less" in text and "lacks a file of 1 of 2 images" in text
    assert f"the first {tmp_path / 'm' / 'images' / '00002N.png'}" in text and "images/ labels/ train.txt" in text
    assert f"mfnet:{tmp_path / 'm'}#partial" in text and "\n" not in text
    with pytest.warns(FusionZooWarning, match="going on with 1"):
        assert parse_spec(f"mfnet:{tmp_path / 'm'}#partial", split="train").ids == ["00001D"]

    cityscapes(tmp_path / "c")
    with pytest.raises(InputError, match="has 2 images, not 2975: 2973 less, of aachen 1 of 174"):
        parse_spec(f"cityscapes:{tmp_path / 'c'}", split="train")
    scannet(tmp_path / "s")
    (tmp_path / "s" / "scannetv2_train.txt").write_text("scene0000_00\nscene0000_01\nscene0707_07")
    with pytest.raises(InputError, match="2 images, not 19466: 19464 less, 1 scenes have none, the first scene0707_07"):
        parse_spec(f"scannet:{tmp_path / 's'}", split="train")
    fmb(tmp_path / "f")
    (tmp_path / "f" / "test" / "Visible" / "00000.png").unlink()
    with pytest.raises(InputError, match=r"lacks a file of 1 of 2 images, the first .*test.Visible.00000\.png"):
        parse_spec(f"fmb:{tmp_path / 'f'}")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"has no images, not 280: 280 less; wanted train/ and test/.*SegMiF"):
        parse_spec(f"fmb:{tmp_path / 'nothing'}")
    with pytest.raises(InputError, match=r"test\.txt does not exist; it lists the images of split 'test'"):
        parse_spec(f"mfnet:{tmp_path / 'nothing'}")


def test_a_whole_split_needs_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from fusionzoo.data.pst900 import PST900

    pst900(tmp_path)
    monkeypatch.setattr(PST900, "facts", replace(PST900.facts, splits={"train": 2, "test": 2}))
    assert len(parse_spec(f"pst900:{tmp_path}")) == 2
    save(tmp_path / "test" / "labels" / "more.png", np.zeros((H, W), np.uint8))
    with pytest.raises(InputError, match=r"has 3 images, not 2: 1 more, lacks a file of 1 of 3 images.*rgb.more\.png"):
        parse_spec(f"pst900:{tmp_path}")


def test_values_that_no_label_has(tree: Callable[..., OfficialDataset], tmp_path: Path) -> None:
    data = tree("mfnet")
    save(tmp_path / "mfnet" / "labels" / "00001D.png", np.full((H, W), 9, np.uint8))
    with pytest.raises(InputError, match=r"00001D\.png has the value 9 in 48 pixels; labels of MFNet are 0 to 8"):
        data[0]
    Image.fromarray(colour()).save(tmp_path / "mfnet" / "images" / "00001D.png")
    with pytest.raises(InputError, match="uint8 in 3 channels; an image of MFNet has four of 8 bits"):
        data[0]


def test_specs_that_are_not_right(tmp_path: Path) -> None:
    cityscapes(tmp_path / "c")
    with pytest.raises(InputError, match=r"did you mean cityscapes:"):
        parse_spec(str(tmp_path / "c"))
    with pytest.raises(InputError, match=r"'mfnet' has no path; give mfnet:PATH, the folder with images/ labels/"):
        parse_spec("mfnet")
    with pytest.raises(UnknownNameError, match="did you mean 'cityscapes'"):
        parse_spec(f"cityscape:{tmp_path}")
    with pytest.raises(UnknownNameError, match="unknown word of mfnet data 'part'; did you mean 'partial'"):
        parse_spec(f"mfnet:{tmp_path}#part")
    with pytest.raises(UnknownNameError, match="unknown option of deliver data 'cach'; did you mean 'cache'"):
        parse_spec(f"deliver:{tmp_path}", cach=True)
    with pytest.raises(UnknownNameError, match="unknown split of MFNet 'tset'; did you mean 'test'"):
        parse_spec(f"mfnet:{tmp_path}", split="tset")
    (tmp_path / "a#b").mkdir()
    with pytest.raises(InputError, match="a#b: split 'test' of FMB has no images"):
        parse_spec(f"fmb:{tmp_path / 'a#b'}")


def test_commands_take_them_and_fit_the_classes(tmp_path: Path) -> None:
    """Check and fine-tuning open MFNet with the eight or nine classes that the model has."""
    from fusionzoo._check import open_data
    from fusionzoo.models import create_model
    from fusionzoo.preprocess import Preprocess
    from fusionzoo.train.data import training_data
    from fusionzoo.train.settings import Settings

    mfnet(tmp_path)
    names = ["car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump"]
    look = Preprocess(x_kind="thermal", x_scale=1 / 255, x_mean=(0.5,), x_std=(0.25,))
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=8, preprocess=look)
    model.set_classes(names)
    spec = f"mfnet:{tmp_path}#partial"
    with pytest.warns(FusionZooWarning, match="going on with 1"):
        assert open_data(spec, model, None, split=None, size=(H, W), limit=None, align=False).class_names == names
    with pytest.warns(FusionZooWarning, match="going on with 2"):
        assert training_data(Settings(model="m", data=spec, base=(H, W)), model).class_names == names
    with pytest.warns(FusionZooWarning, match="going on with 2"):
        assert training_data(Settings(model="m", data=spec, base=(H, W)), None).num_classes == 9
