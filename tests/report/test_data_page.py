"""The page of a data set: its parts, its pictures as a browser would show them, its size."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
from PIL import Image

from fusionzoo.data.inspection import Example, Inspection, Same, SplitFacts, Unreadable, XFacts
from fusionzoo.report import data_page
from fusionzoo.report import pictures as drawn
from tests.report.reader import Reader


def example(split: str, name: str, size: tuple[int, int] = (24, 32), channels: int = 1) -> Example:
    h, w = size
    x = np.tile(np.linspace(1, 5, w, dtype=np.float32), (channels, h, 1)) * (1 if channels == 1 else 40)
    missing = np.zeros((h, w), bool)
    missing[: h // 2, : w // 2] = True
    label = np.full((h, w), 255, np.uint8)
    label[h // 2 :] = 1
    label[h // 2 :, :8] = 0
    return Example(split, name, np.full((h, w, 3), 200, np.uint8), x, missing, label)


def inspection(**changed: Any) -> Inspection:
    x = XFacts("m", 1.0, 5.0, (1.0, 2.0, 3.0, 4.0, 5.0), 0.25, 0.5, [])
    splits = [SplitFacts(name, 2, {"24x32": 2}, x, [0, 30, 10], [0, 2, 1], 0.5) for name in ("train", "test")]
    values: dict[str, Any] = {
        "name": "rooms", "class_names": ["wall", "floor", "thing"], "x_kind": "depth", "x_channels": 1,
        "splits": splits, "unreadable": [], "refused": {}, "equal": [], "remarks": [],
        "palette": [(0, 0, 0), (255, 0, 0), (0, 0, 255)],
        "examples": [example("train", "a"), example("test", "b")],
    }  # fmt: skip
    return Inspection(**{**values, **changed})


def pictures(read: Reader) -> list[np.ndarray]:
    found = []
    for source in read.of("img", "src"):
        head, _, held = source.partition(",")
        assert head == "data:image/jpeg;base64"
        found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(held)))).astype(int))
    return found


def near(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(pixel - np.array(colour)).max() <= 12)  # JPEG


def test_the_page_stands_alone() -> None:
    text = data_page.html(inspection())
    read = Reader(text)
    assert not {"script", "link", "iframe", "object", "form"} & set(read.tags)
    assert not [k for _, k, _ in read.attributes if k.startswith("on") or k in ("href", "srcset")]
    assert set(re.findall(r"[a-z]+://[^\"'<) ]+", text)) == {"http://www.w3.org/2000/svg"}
    (policy,) = (v for v in read.of("meta", "content") if "default-src" in v)
    assert "default-src 'none'" in policy and "img-src data:" in policy and "script-src" not in policy
    assert read.text("h1") == ["rooms"] and read.text("b") == ["OK"]
    assert read.text("h2") == ["Splits", "Range of x: depth (m)", "Classes", "Images of train", "Images of test"]


def test_pictures_show_rgb_x_and_classes() -> None:
    read = Reader(data_page.html(inspection()))
    assert read.of("img", "alt") == [f"{w} of {i}" for i in "ab" for w in ("rgb", "depth", "classes")]
    rgb, x, classes = pictures(read)[:3]
    assert rgb.shape == x.shape == classes.shape == (24, 32, 3) and near(rgb[3, 3], (200, 200, 200))
    assert near(x[1, 0], (90, 90, 90)) and near(x[4, 0], (190, 190, 190)), "missing is hatched grey"
    assert near(x[20, 0], (0x44, 0x01, 0x54)) and near(x[20, 31], (0xFD, 0xE7, 0x25)), "from dark to bright"
    assert near(classes[2, 20], (200, 200, 200)), "unlabelled stays bare"
    assert near(classes[20, 20], (233, 80, 80)), "0.6 red, 0.4 image"
    assert near(classes[20, 2], (200, 200, 200)), "a class shown in black is no paint"
    assert read.of("i", "style") == ["background:#000000", "background:#ff0000"] * 2
    assert read.text("span") == ["wall", "floor"] * 2


def test_x_of_three_channels_is_shown_as_it_is() -> None:
    found = inspection(x_kind="hha", x_channels=3, palette=[], examples=[example("train", "a", channels=3)])
    read = Reader(data_page.html(found))
    assert near(pictures(read)[1][20, 31], (200, 200, 200)) and "Images of test" not in read.text("h2")


def test_the_colour_map_is_viridis() -> None:
    """Against published values of the map at 0, 1/4, 1/2, 3/4 and 1."""
    values = np.array([[0, 0.25, 0.5, 0.75, 1, 7, -3]], np.float32)
    made = drawn.painted(values, np.zeros((1, 7), bool), (0, 0.5, 1))[0].astype(int)
    truth = [(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37), (253, 231, 37), (68, 1, 84)]
    assert np.abs(made - np.array(truth)).max() <= 6


def test_never_more_than_three_megabytes() -> None:
    rng = np.random.default_rng(0)
    noisy = [example("train", f"n{i}", (240, 240)) for i in range(60)]
    noisy = [
        Example(e.split, e.id, rng.integers(0, 256, e.rgb.shape).astype(np.uint8), e.x, e.missing, e.label)
        for e in noisy
    ]
    text = data_page.html(inspection(examples=noisy))
    assert 500_000 < len(text.encode()) < 3_000_000
    assert Reader(text).tags["img"] % 3 == 0 < Reader(text).tags["img"] < 180


def test_faults_stand_on_top_and_in_lists() -> None:
    found = inspection(
        unreadable=[Unreadable("train", f"i{k}", f"rgb/i{k}.png cannot be read") for k in range(60)],
        refused={"val": "no list"},
        equal=[Same(("train", "a"), ("test", "b")), Same(("train", "a"), ("test", "c"), 5)],
        remarks=["train has no pixel of 1 classes: wall"],
        facts={"licence": "none stated"},
    )
    read = Reader(data_page.html(found))
    assert read.text("b") == ["FAILED", "look at this: "] and read.text("li") == [
        "train has no pixel of 1 classes: wall"
    ]
    assert "60 of 4 images cannot be used; split val cannot be opened: no list." in "".join(w for _, w in read.words)
    assert {"Images that cannot be used", "Equal images", "Where it is from"} <= set(read.text("h2"))
    assert "The first 50 of 60; data.json has all." in read.text("p")
    text = data_page.text(found)
    assert "rgb/i0.png cannot be read" in text and "test/c" in text and "5 of 256 bits" in text
    assert max(map(len, text.splitlines())) <= 100 and "look at this: train has no pixel" in text


def test_names_cannot_inject() -> None:
    evil = "\"><img src=x onerror=alert(1)><script>'&"
    found = inspection(
        name=evil, class_names=["wall", evil, "thing"], x_kind="depth", examples=[example("train", evil)],
        unreadable=[Unreadable(evil, evil, evil)], remarks=[evil], facts={"licence": evil},
    )  # fmt: skip
    read = Reader(data_page.html(found))
    assert read.tags["img"] == 3 and "script" not in read.tags
    assert not [k for _, k, _ in read.attributes if k.startswith("on")]
    assert read.text("h1") == [evil]


def test_a_split_without_anything() -> None:
    nothing = SplitFacts("train", 1, {}, XFacts("m", None, None, (), 0.0, 0.0, []), [0, 0, 0], [0, 0, 0], 0.0)
    found = inspection(splits=[nothing], examples=[], unreadable=[Unreadable("train", "a", "gone")])
    assert "FAILED" in data_page.html(found) and "-" in data_page.text(found)
