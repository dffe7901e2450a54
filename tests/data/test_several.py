"""Data of several modalities: `planted-multi` against its truth, folders with a table for each modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data import as_kind, collate, parse_spec
from fusionzoo.data.planted_multi import FLICKER, WARM, PlantedMulti
from fusionzoo.errors import InputError, UnknownNameError

SIZE = (60, 80)


@pytest.fixture(scope="module")
def scenes() -> list[dict[str, torch.Tensor]]:
    data = PlantedMulti("train", n=40, size=SIZE)
    return [data[i] for i in range(len(data))]


def test_each_sensor_shows_its_class_and_no_other_does(scenes: list[dict[str, torch.Tensor]]) -> None:
    """Warm patches stand out of the wall in the thermal image alone, flickering ones in the events alone."""
    label = torch.stack([s["label"] for s in scenes])
    x = torch.stack([s["x"] for s in scenes])  # (N, 5, H, W): depth, thermal, three of events
    rgb = torch.stack([s["rgb"] for s in scenes]).float()
    near = {k: [] for k in ("warm", "flicker")}  # type: ignore[var-annotated]
    for name, k in (("warm", WARM), ("flicker", FLICKER)):
        for i in range(len(scenes)):
            mask = label[i] == k
            if int(mask.sum()) < 30:
                continue
            wide = torch.nn.functional.max_pool2d(mask[None, None].float(), 7, 1, 3)[0, 0] > 0
            ring = wide & ~mask & (label[i] == 1)  # wall about it
            if int(ring.sum()) < 30:
                continue
            levels = [x[i, 1], x[i, 2:].amax(0) > 0, rgb[i].mean(0)]
            near[name].append([float(v[mask].float().mean() - v[ring].float().mean()) for v in levels])
    warm, flicker = (torch.tensor(near[name]).mean(0) for name in ("warm", "flicker"))
    assert len(near["warm"]) > 10 and len(near["flicker"]) > 10
    assert float(warm[0]) == pytest.approx(45, abs=3) and abs(float(warm[1])) < 0.01 and abs(float(warm[2])) < 6
    assert float(flicker[1]) == pytest.approx(0.44, abs=0.03) and abs(float(flicker[0])) < 3
    assert abs(float(flicker[2])) < 6


def test_a_sensor_that_is_not_chosen_changes_no_other(scenes: list[dict[str, torch.Tensor]]) -> None:
    all_ = parse_spec("planted-multi", split="train", size=SIZE, limit=40)
    some = parse_spec("planted-multi:rgb,event,depth", split="train", size=SIZE, limit=40)
    assert (all_.x_kind, all_.x_channels, some.x_kind, some.x_channels) == ("depth+thermal+event", 5, "event+depth", 4)
    one, two = all_[3], some[3]
    assert torch.equal(one["x"][[2, 3, 4, 0]], two["x"]) and torch.equal(one["rgb"], two["rgb"])
    assert torch.equal(one["x"], scenes[3]["x"]) and torch.equal(one["label"], two["label"])
    assert collate([one, all_[4]])["x"].shape == (2, 5, *SIZE)
    assert torch.equal(as_kind(all_, "event+depth")[3]["x"], two["x"])
    assert as_kind(all_, "depth").x_channels == 1


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        ("planted-multi", ("rgb+depth", "rgb", "depth", "joint", "thermal", "event", "none")),
        ("planted-multi:depth,thermal", ("rgb+depth", "rgb", "depth", "joint", "thermal", "none", "none")),
        ("planted-multi:thermal", ("rgb", "rgb", "none", "none", "x", "none", "none")),
        ("planted-multi:depth", ("both", "rgb", "x", "joint", "none", "none", "none")),
    ],
)
def test_where_a_class_is_visible(spec: str, kinds: tuple[str, ...]) -> None:
    concepts = parse_spec(spec, limit=1).concepts
    names = ("box", "poster", "bump", "joint_a", "warm", "flicker", "unseen")
    assert tuple(concepts[name] for name in names) == kinds


def test_sensors_that_there_are_not() -> None:
    with pytest.raises(UnknownNameError, match="unknown sensor of planted-multi 'termal'; did you mean 'thermal'"):
        parse_spec("planted-multi:depth,termal")
    with pytest.raises(InputError, match="twice"):
        parse_spec("planted-multi:depth,depth")


TOML = """class_names = ["wall", "rug"]
[x.depth]
scale = 0.002
[x.thermal]
folder = "infrared"
offset = 3
[x.event]
"""


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    for i in range(2):
        save(tmp_path / "rgb" / f"{i}.png", np.full((8, 10, 3), 40 * i, np.uint8))
        save(tmp_path / "depth" / f"{i}.png", np.full((8, 10), 1000 + i, np.uint16))
        save(tmp_path / "infrared" / f"{i}.png", np.full((8, 10), 100 + i, np.uint8))
        save(tmp_path / "event" / f"{i}.png", np.full((8, 10, 3), [7, 8, 9 + i], np.uint8))
        save(tmp_path / "label" / f"{i}.png", np.full((8, 10), i, np.uint8))
    (tmp_path / "dataset.toml").write_text(TOML)
    return tmp_path


def test_a_folder_with_a_table_for_each_modality(rooms: Path) -> None:
    data = parse_spec(f"folder:{rooms}")
    assert data.x_kind == "depth+thermal+event" and data.x_channels == 5 and data.ids == ["0", "1"]
    assert data[1]["x"][:, 3, 4].tolist() == pytest.approx([2.002, 104, 7, 8, 10])
    assert data.describe()["x_scale"] == [0.002, None, None] and torch.equal(data.load_x(1), data[1]["x"])
    assert parse_spec(f"folder:{rooms}", size=(4, 5), label_size="input", cache=True)[1]["x"].shape == (5, 4, 5)


def test_folders_below_those_of_splits(rooms: Path) -> None:
    for part in ("rgb", "depth", "infrared", "event", "label"):
        for i, split in enumerate(("train", "test")):
            (rooms / split / part).mkdir(parents=True)
            (rooms / part / f"{i}.png").rename(rooms / split / part / f"{i}.png")
        (rooms / part).rmdir()
    assert parse_spec(f"folder:{rooms}", split="train").ids == ["0"]
    assert parse_spec(f"folder:{rooms}")[0]["x"][:, 0, 0].tolist() == pytest.approx([2.002, 104, 7, 8, 10])


def test_one_table_is_one_modality(rooms: Path) -> None:
    (rooms / "dataset.toml").write_text(TOML.partition("[x.event]")[0].replace("[x.depth]\nscale = 0.002\n", ""))
    data = parse_spec(f"folder:{rooms}")
    assert data.x_kind == "thermal" and data[1]["x"][0, 0, 0] == 104


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (TOML.replace("x.event", "x.evnt"), "unknown modality 'evnt'; did you mean 'event'"),
        (TOML.replace("offset", "ofset"), r"unknown key of \[x.thermal\] 'ofset'; did you mean 'offset'"),
        (TOML.replace("scale = 0.002", "scale = -1"), r"x.depth: x_scale is -1"),
        (TOML.replace("infrared", "warmth"), r"warmth has no image .* \[x.thermal\] in dataset.toml wants them there"),
        ("x_scale = 1\n" + TOML, r"x_scale beside \[x.depth\]"),
        (TOML + "[x.inverse_depth]\n", "has depth twice"),
    ],
)
def test_tables_that_cannot_be(rooms: Path, toml: str, said: str) -> None:
    (rooms / "dataset.toml").write_text(toml)
    with pytest.raises((InputError, UnknownNameError), match=said):
        parse_spec(f"folder:{rooms}")


def test_files_that_do_not_fit_are_named(rooms: Path) -> None:
    save(rooms / "infrared" / "1.png", np.zeros((4, 5), np.uint8))
    with pytest.raises(InputError, match="thermal is 5x4 but rgb is 10x8"):
        parse_spec(f"folder:{rooms}")[1]
    assert parse_spec(f"folder:{rooms}", align=True)[1]["x"].shape == (5, 8, 10)
    save(rooms / "depth" / "0.png", np.zeros((8, 10), np.uint16))
    with pytest.raises(InputError, match="depth: depth is zero everywhere"):
        parse_spec(f"folder:{rooms}")[0]
    assert float(parse_spec(f"folder:{rooms}", empty_depth="keep")[0]["x"][0].max()) == 0
    (rooms / "event" / "0.png").unlink()
    with pytest.raises(InputError, match="event has no image '0'"):
        parse_spec(f"folder:{rooms}")
