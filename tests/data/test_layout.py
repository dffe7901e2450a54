"""Folders, names and lists of images as other projects and systems have them."""

from __future__ import annotations

import json
import shlex
import subprocess
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fusionzoo.data import Folder, parse_spec
from fusionzoo.errors import InputError

RNG = np.random.default_rng(0)
IDS = ["0000", "0001", "0002"]
TOML = "num_classes = 3\n"


def write(root: Path, names: list[tuple[str, str, str | None]], toml: str | None = TOML) -> Path:
    """One image a name: rgb, x, label; the red of image i is i, its depth i + 1 m everywhere, its label i % 3."""
    for i, (rgb, x, label) in enumerate(names):
        red = np.full((6, 8, 3), (i, 100, 200), np.uint8)
        arrays = (red, np.full((6, 8), 1000 * (i + 1), np.uint16), np.full((6, 8), i % 3, np.uint8))
        for name, array in zip((rgb, x, label), arrays, strict=True):
            if name is not None:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(root / name)
    if toml is not None:
        (root / "dataset.toml").write_text(toml)
    return root


def images(data: Folder) -> list[int]:
    """Which images, by their red; that x and label belong to them is looked at."""
    out = []
    for sample in data:
        i = int(sample["rgb"][0, 0, 0])
        assert float(sample["x"][0, 0, 0]) == pytest.approx(i + 1) and int(sample["label"][0, 0]) == i % 3
        out.append(i)
    return out


def plain(n: int = 3) -> list[tuple[str, str, str | None]]:
    return [(f"rgb/{i:04d}.png", f"x/{i:04d}.png", f"label/{i:04d}.png") for i in range(n)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbf0002\r\n0000\r\n", [2, 0]),  # Windows, with a mark
        ("0002\n0000\n".encode("utf-16"), [2, 0]),
        ("0002\r\n0000".encode("utf-16-le"), [2, 0]),
        (b"0002\r0000", [2, 0]),
        (b"  0002  \n\n\t0000\t\n \n", [2, 0]),
        (b"# my list\n0002\n#0001\n", [2]),
        (b"0002  # the best\n  # none\nrgb/0000.png x/0000.png # both\n", [2, 0]),
        (b"0002 0000", [2, 0]),
        (b"0002.png\n0000.PNG\n", [2, 0]),
        (b"rgb/0002.png\n./rgb/0000.png\n", [2, 0]),
        (b"rgb\\0002.png\nC:\\data\\rgb\\0000.png\n", [2, 0]),
        (b"/home/me/rooms/rgb/0002.png\ndata/rooms/x/0000.png\n", [2, 0]),
        (b"rgb/0002.png x/0002.png\nrgb/0000.png\tx/0000.png\n", [2, 0]),
        (b"RGB/0002.jpg Label/0002.png\n", [2]),
        (b"rgb,depth,label\nrgb/0002.png,x/0002.png,label/0002.png\n", [2]),
        (b"\"0002\"\n'0000'\n", [2, 0]),
        (b"train/0002\nrgb/0000", [2, 0]),
    ],
)
def test_lists_that_leave_no_choice(content: bytes, expected: list[int], tmp_path: Path) -> None:
    write(tmp_path, plain(), TOML + '[splits]\ntest = "test.txt"\n')
    (tmp_path / "test.txt").write_bytes(content)
    assert images(Folder(tmp_path, "test")) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"0000\n0009\n", r"test\.txt, line 2: '0009' is no image of the data set; did you mean '0002'"),
        (b"rgb/7.png\n", r"line 1: 'rgb/7\.png' is no image of the data set"),
        (b"kitchen/0001\n", "line 1: 'kitchen/0001' is no image"),
        (b"0000 wall\n", "line 1: 'wall' is no image"),
        (b"0000\n0001\n0000.png\n", "names '0000' more than once"),
        (b"# nothing\n", r"is empty \(test\.txt\)"),
    ],
)
def test_lists_that_say_something_else(content: bytes, words: str, tmp_path: Path) -> None:
    write(tmp_path, plain(), TOML + '[splits]\ntest = "test.txt"\n')
    (tmp_path / "test.txt").write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        Folder(tmp_path, "test")
    assert "\n" not in str(caught.value)


def test_ids_with_blanks_and_in_columns(tmp_path: Path) -> None:
    names = [f"living room {i}" for i in range(3)]
    write(tmp_path, [(f"rgb/{n}.png", f"x/{n}.png", f"label/{n}.png") for n in names], TOML)
    lists = {
        "a": "living room 2\nliving room 0 \n",
        "b": "rgb/living room 2.png x/living room 2.png\nliving room 0.png",
    }
    splits = "".join(f'{name} = "{name}.txt"\n' for name in lists)
    (tmp_path / "dataset.toml").write_text(
        TOML + "[splits]\n" + splits + 'c = ["living room 2", "rgb/living room 0.png"]'
    )
    for name, text in lists.items():
        (tmp_path / f"{name}.txt").write_text(text)
    for split in "abc":
        assert images(Folder(tmp_path, split)) == [2, 0], split


def test_association_by_time_as_tum_rgbd_has_it(tmp_path: Path) -> None:
    names: list[tuple[str, str, str | None]] = [
        (f"rgb/13.{i}1.png", f"depth/13.{i}4.png", f"label/13.{i}1.png") for i in range(3)
    ]
    write(tmp_path, names, TOML + '[splits]\ntest = "pairs.txt"\n')
    lines = [f"13.{i}1 rgb/13.{i}1.png 13.{i}4 depth/13.{i}4.png" for i in (2, 0)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    assert images(Folder(tmp_path, "test")) == [2, 0]
    (tmp_path / "pairs.txt").write_text("rgb/13.01.png depth/13.24.png")
    sample = Folder(tmp_path, "test")[0]  # the list decides
    assert sample["id"] == "13.01" and float(sample["x"].max()) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "pattern",
    [
        ("rgb/rgb_{:04d}.png", "depth/depth_{:04d}.png", "label/label_{:04d}.png"),
        ("rgb/{:04d}_color.png", "x/{:04d}_depth.png", "label/{:04d}_gt.png"),
        ("rgb/frame-{:06d}.color.png", "x/frame-{:06d}.depth.png", "label/frame-{:06d}.label.png"),
        ("images/img{:03d}.jpg", "depth/depth{:03d}.png", "masks/{:03d}.png"),
        ("rgb/cam0_{:04d}_L.png", "x/tof_{:04d}.png", "label/annotation{:04d}.png"),
        ("rgb/{:d}.png", "x/{:04d}.png", "label/{:d}.png"),
        ("RGB/{:d}.png", "Depth/{:d}.PNG", "GT/{:d}.png"),
        ("{:d}_rgb.png", "{:d}_depth.png", "{:d}_label.png"),
        ("scene{:d}/rgb.png", "scene{:d}/depth.png", "scene{:d}/label.png"),
    ],
)
def test_names_that_differ_by_the_word_of_their_part(pattern: tuple[str, str, str], tmp_path: Path) -> None:
    write(tmp_path, [tuple(p.format(i).replace(".jpg", ".png") for p in pattern) for i in range(12)])  # type: ignore[misc]
    data = Folder(tmp_path)
    assert sorted(images(data)) == list(range(12)) and len(set(data.ids)) == 12


def test_names_that_do_not_match_are_both_named(tmp_path: Path) -> None:
    write(tmp_path, [(f"rgb/a{i}.png", f"x/b{i + 5}.png", f"label/a{i}.png") for i in range(3)])
    with pytest.raises(InputError, match=r"names of rgb and x do not match: rgb.a0\.png beside x.b5\.png"):
        Folder(tmp_path)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_either_unicode_form(form: str, tmp_path: Path) -> None:
    def spelt(name: str, other: bool = False) -> str:
        return unicodedata.normalize("NFD" if (form == "NFD") != other else "NFC", name)

    write(tmp_path, [(spelt("rgb/küche.png"), spelt("x/küche.png", True), spelt("label/küche.png"))])
    (tmp_path / "test.txt").write_text(spelt("küche", True), encoding="utf-8")
    assert Folder(tmp_path, "test").ids == [unicodedata.normalize("NFC", "küche")]


def test_folders_of_splits(tmp_path: Path) -> None:
    names = [("train", 0), ("train", 1), ("val", 0), ("test", 1)]
    for place, pattern in ((tmp_path / "a", "{s}/{p}/{i}.png"), (tmp_path / "b", "{p}/{s}/{i}.png")):
        write(place, [tuple(pattern.format(s=s, p=p, i=i) for p in ("rgb", "depth", "labels")) for s, i in names])  # type: ignore[misc]
        assert [images(Folder(place, s)) for s in ("train", "val", "test")] == [[0, 1], [2], [3]]
        assert Folder(place, "train").ids == ["0", "1"] and len(Folder(place)) == 4
        assert parse_spec(f"folder:{place}").split == "test"
    write(tmp_path / "c", [("training/rgb/1.png", "training/x/1.png", "training/label/1.png")])
    with pytest.raises(InputError, match="has no split 'test'; name one of its splits: train, all"):
        parse_spec(f"folder:{tmp_path / 'c'}")


def test_folders_by_other_names(tmp_path: Path) -> None:
    names: list[tuple[str, str, str | None]] = [(f"left/{i}.png", f"raw/{i}.png", f"label/{i}.png") for i in range(2)]
    write(tmp_path, names)
    with pytest.raises(InputError, match=r"rgb does not exist; .*folders = \{rgb = \.\.\.\}; it has label, left, raw"):
        Folder(tmp_path)
    (tmp_path / "dataset.toml").write_text(TOML + 'folders = {rgb = "left", x = "raw"}\n[splits]\nt = ["left/1.png"]')
    assert images(Folder(tmp_path, "t")) == [1]


def test_several_folders_for_x(tmp_path: Path) -> None:
    write(tmp_path, [(f"rgb/{i}.png", f"depth/{i}.png", f"label/{i}.png") for i in range(2)])
    for i in range(2):
        (tmp_path / "hha").mkdir(exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)).save(tmp_path / "hha" / f"{i}.png")
    with pytest.raises(InputError, match=r"has depth and hha, and each could be x; .*folders = \{x = 'depth'\}"):
        Folder(tmp_path)
    for kind, channels in (("depth", 1), ("hha", 3)):
        (tmp_path / "dataset.toml").write_text(TOML + f'x_kind = "{kind}"\n')
        assert Folder(tmp_path)[0]["x"].shape == (channels, 6, 8)
    (tmp_path / "x").mkdir()
    (tmp_path / "rgb" / "copy").mkdir()
    (tmp_path / "old" / "rgb").mkdir(parents=True)
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "old" / "rgb" / "0.png")
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(tmp_path / "rgb_preview.png")
    assert Folder(tmp_path).ids == ["0", "1"]  # copies elsewhere are not meant


def test_without_dataset_toml(tmp_path: Path) -> None:
    names: list[tuple[str, str, str | None]] = [(f"RGB/{i}.png", f"Depth/{i}.png", f"Label/{i}.png") for i in range(4)]
    write(tmp_path, names, None)
    (tmp_path / "train.txt").write_text("RGB/0.png Label/0.png\nRGB/1.png Label/1.png\n")
    (tmp_path / "test.txt").write_text("RGB/2.png Label/2.png\n")
    with pytest.warns(UserWarning, match="no dataset.toml: assumed that x .depth. is depth; 3 classes") as said:
        data = parse_spec(f"folder:{tmp_path}")
    assert len(said) == 1 and "\n" not in str(said[0].message) and images(data) == [2]
    command = str(said[0].message).split("otherwise: ")[1]
    assert shlex.split(command)[0] == "printf"
    subprocess.run(["sh", "-c", command], check=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images(parse_spec(f"folder:{tmp_path}", split="train")) == [0, 1]


def test_without_dataset_toml_and_in_doubt(tmp_path: Path) -> None:
    write(tmp_path, plain(1), None)
    Image.fromarray(np.full((6, 8), 90, np.uint8)).save(tmp_path / "x" / "0000.png")
    with pytest.raises(InputError, match="nothing says what x is .*write this draft and correct it: printf"):
        Folder(tmp_path)
    Image.fromarray(np.full((6, 8), 900, np.uint16)).save(tmp_path / "x" / "0000.png")
    Image.fromarray(RNG.integers(0, 2, (6, 8, 3)).astype(np.uint8) * 128).save(tmp_path / "label" / "0000.png")
    with pytest.raises(InputError, match='label_colours = {"class 0" = '):
        Folder(tmp_path)


def test_images_without_labels(tmp_path: Path) -> None:
    write(tmp_path, [(rgb, x, None) for rgb, x, _ in plain()], "")
    data = Folder(tmp_path, labels=False)
    assert len(data) == 3 and data.class_names == [] and (data[1]["label"] == 255).all()
    assert float(data[1]["x"].max()) == 2.0
    with pytest.raises(InputError, match="give class_names"):
        Folder(tmp_path)
    (tmp_path / "dataset.toml").write_text(TOML)
    with pytest.raises(InputError, match="label does not exist"):
        Folder(tmp_path)


def test_painted_labels_with_a_table(tmp_path: Path) -> None:
    write(tmp_path, plain(1))
    colours = np.array([(0, 0, 0), (120, 120, 120), (80, 50, 50), (180, 120, 120)], np.uint8)
    label = RNG.integers(0, 4, (6, 8))
    Image.fromarray(colours[label]).save(tmp_path / "label" / "0000.png")
    expected = np.where(label == 0, 255, label - 1)
    table = {"wall": [120, 120, 120], "floor": "#503232", "bed": [[180, 120, 120]]}
    inline = "{" + ", ".join(f"{name} = {json.dumps(value)}" for name, value in table.items()) + "}"
    for text in (
        f"label_colours = {inline}\nignore_colours = [[0, 0, 0]]",
        f'class_names = ["wall", "floor", "bed"]\nlabel_colours = {inline}\nignore_colours = [0, 0, 0]',
        'num_classes = 3\nlabel_colours = [[120, 120, 120], [80, 50, 50], "#b47878"]\nignore_colours = ["#000000"]',
    ):
        (tmp_path / "dataset.toml").write_text(text)
        assert np.array_equal(Folder(tmp_path)[0]["label"], expected), text
    (tmp_path / "dataset.toml").write_text(f"label_colours = {inline}")
    with pytest.raises(InputError, match=r"has the colour \[0, 0, 0\] in .*ignore_colours = \[\[0, 0, 0\]\]"):
        Folder(tmp_path)[0]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("label_colours = {wall = [0, 0]}", r"the colour \[0, 0\] is not \[r, g, b\]"),
        ("label_colours = {wall = [0, 0, 300]}", "not .r, g, b. of 0..255"),
        ('class_names = ["a"]\nlabel_colours = {b = [0, 0, 0]}', "'a' is in one of them only"),
        ("num_classes = 2\nlabel_colours = [[0, 0, 0], [0, 0, 0]]", "stands for two classes"),
        ("num_classes = 2\nignore_colours = [[0, 0, 0]]", "ignore_colours needs label_colours"),
        ('num_classes = 2\nmissing = "top"', "missing is 'top'; give a stored value or a list"),
        ('num_classes = 2\nx_kind = "thermal"\nmissing = 0', "missing is for depth"),
        ("num_classes = 2\nalign = 1", "align is 1; give true or false"),
        ('num_classes = 2\nx_encoding = "rotated"', "unknown x_encoding 'rotated'"),
        ('num_classes = 2\nfolders = {depth = "d"}', "folders has depth = 'd'; give rgb, x and label"),
    ],
)
def test_keys_that_cannot_be_used(lines: str, words: str, tmp_path: Path) -> None:
    write(tmp_path, plain(1), lines)
    with pytest.raises((InputError, KeyError), match=words) as caught:
        Folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_keys_of_x(tmp_path: Path) -> None:
    write(tmp_path, plain(1))
    stored = np.array([[256 * 4 + 1, 1, 0, 9999]], np.uint16)
    Image.fromarray(np.zeros((1, 4, 3), np.uint8)).save(tmp_path / "rgb" / "0000.png")
    Image.fromarray(np.zeros((1, 4), np.uint8)).save(tmp_path / "label" / "0000.png")
    Image.fromarray(stored).save(tmp_path / "x" / "0000.png")
    keys = "x_scale = 0.00390625\nx_offset = -0.00390625\nx_disparity = 12.0\nmissing = 9999\n"
    (tmp_path / "dataset.toml").write_text(TOML + keys)
    data = Folder(tmp_path)
    assert data[0]["x"][0].tolist() == [[3.0, 0.0, 0.0, 0.0]] and data.describe()["x_disparity"] == 12.0
    assert data.load_x(0)[0].tolist() == [[3.0, 0.0, 0.0, 0.0]]
    rotated = ((3000 << 3) | (3000 >> 13)) & 0xFFFF
    Image.fromarray(np.full((1, 4), rotated, np.uint16)).save(tmp_path / "x" / "0000.png")
    (tmp_path / "dataset.toml").write_text(TOML + 'x_encoding = "sunrgbd"\n')
    assert Folder(tmp_path)[0]["x"][0].tolist() == [pytest.approx([3.0] * 4)]


def test_aligned_by_key_and_argument(tmp_path: Path) -> None:
    write(tmp_path, plain(1))
    Image.fromarray(np.arange(12, dtype=np.uint16).reshape(3, 4) * 100 + 500).save(tmp_path / "x" / "0000.png")
    with pytest.raises(InputError, match=r"x.0000\.png: x is 4x3 but rgb is 8x6 .*align = true in dataset\.toml"):
        Folder(tmp_path)[0]
    twice = np.kron(np.arange(12).reshape(3, 4) * 0.1 + 0.5, np.ones((2, 2)))
    assert np.allclose(parse_spec(f"folder:{tmp_path}", align=True)[0]["x"][0], twice)
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 3).save(tmp_path / "label" / "0000.png")
    (tmp_path / "dataset.toml").write_text(TOML + "align = true\n")
    sample = Folder(tmp_path)[0]
    assert np.allclose(sample["x"][0], twice)
    assert np.array_equal(sample["label"], np.kron(np.arange(12).reshape(3, 4) % 3, np.ones((2, 2))))
    assert len(parse_spec("planted", align=True, limit=1)) == 1  # one size anyhow


@pytest.mark.parametrize("kind", ["depth", "grey", "hha"])
def test_a_frame_without_depth_is_refused_or_kept(kind: str, tmp_path: Path) -> None:
    from fusionzoo.data import as_kind
    from fusionzoo.data.hha import NYU_CAMERA
    from fusionzoo.data.validate import checked
    from fusionzoo.preprocess import missing_x

    write(tmp_path, plain(2))
    Image.fromarray(np.full((6, 8), 65535, np.uint16)).save(tmp_path / "x" / "0001.png")
    with pytest.raises(InputError, match=r"x.0001\.png: depth is zero everywhere"):
        as_kind(Folder(tmp_path), kind, NYU_CAMERA)[1]
    data = as_kind(Folder(tmp_path, empty_depth="keep"), kind, NYU_CAMERA)
    sample = checked(data[1], data)
    assert missing_x(sample["x"], kind).all() and not missing_x(data[0]["x"], kind).all()
    with pytest.raises(InputError, match="empty_depth is 'skip'"):
        Folder(tmp_path, empty_depth="skip")
