from __future__ import annotations

import copy
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fusionzoo.data import NYUv2, collate
from fusionzoo.data.nyuv2 import CLASSES_4, CLASSES_13, CLASSES_40, MAP_40_TO_4, MAP_40_TO_13, validation_ids
from fusionzoo.errors import InputError, UnknownNameError

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nyuv2"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/nyuv2 is not there")
H, W, N = 12, 16, 60
TRAIN = [*range(1, 16), *range(20, 35), *range(40, 56)]  # three runs, so three blocks; the third is validation
TEST = [n for n in range(1, N + 1) if n not in TRAIN]


def arrays(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rgb (H, W, 3) uint8, depth (H, W) uint16 mm, label (H, W) uint8 of 0..40) of one image."""
    rng = np.random.default_rng(number)
    rgb = np.zeros((H, W, 3), np.uint8) + rng.integers(60, 200, 3).astype(np.uint8)  # flat, so that JPEG keeps it
    label = np.arange(H * W).reshape(H, W) * number % 41
    return rgb, rng.integers(500, 9000, (H, W)).astype(np.uint16), label.astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("rgb", "depth", "label40"):
        (tmp_path / name).mkdir()
    for number in range(1, N + 1):
        rgb, depth, label = arrays(number)
        Image.fromarray(rgb).save(tmp_path / "rgb" / f"{number:04d}.jpg", quality=95)
        Image.fromarray(depth).save(tmp_path / "depth" / f"{number:04d}.png")
        Image.fromarray(label).save(tmp_path / "label40" / f"{number:04d}.png")
    (tmp_path / "train.txt").write_text("\n".join(f"{n:04d}" for n in TRAIN))
    (tmp_path / "test.txt").write_text("\n".join(f"{n:04d}" for n in TEST))
    return tmp_path


def test_classes_and_maps() -> None:
    assert (len(CLASSES_40), len(CLASSES_13), len(CLASSES_4)) == (40, 13, 4)
    to13 = {a: CLASSES_13[b - 1] for a, b in zip(CLASSES_40, MAP_40_TO_13, strict=True)}
    to4 = {a: CLASSES_4[b - 1] for a, b in zip(CLASSES_40, MAP_40_TO_4, strict=True)}
    for same in ("bed", "books", "ceiling", "chair", "floor", "picture", "sofa", "table", "wall", "window"):
        assert to13[same] == same
    assert to13["television"] == "tv" and to13["desk"] == "table" and to13["blinds"] == "window"
    assert to13["cabinet"] == "furniture" and to13["otherprop"] == "objects"
    assert (
        to4["floor"] == "ground" and to4["wall"] == "structure" and to4["bed"] == "furniture" and to4["lamp"] == "props"
    )
    assert set(MAP_40_TO_13) == set(range(1, 14)) and set(MAP_40_TO_4) == {1, 2, 3, 4}


@needs_real
def test_classes_and_maps_are_those_of_the_data_set() -> None:
    meta = json.loads((REAL / "meta.json").read_text())
    for key, mine in (("classes40", CLASSES_40), ("classes13", CLASSES_13), ("classes4", CLASSES_4)):
        assert [meta[key][str(i + 1)] for i in range(len(mine))] == list(mine)
    for key, numbers in (("map_40_to_13", MAP_40_TO_13), ("map_40_to_4", MAP_40_TO_4)):
        assert [meta[key][str(i + 1)] for i in range(40)] == list(numbers)


@pytest.mark.parametrize("num_classes", [40, 13, 4])
def test_values_are_exact(folder: Path, num_classes: int) -> None:
    data = NYUv2(folder, "trainval", num_classes)
    assert len(data) == len(TRAIN) and data.num_classes == len(data.class_names) == num_classes
    for index in (0, 7, 20):
        sample = data[index]
        rgb, depth, label = arrays(TRAIN[index])
        assert sample["id"] == f"{TRAIN[index]:04d}"
        assert sample["rgb"].dtype == torch.uint8 and sample["rgb"].shape == (3, H, W)
        assert (sample["rgb"].permute(1, 2, 0).int() - torch.from_numpy(rgb).int()).abs().max() <= 4
        assert sample["x"].dtype == torch.float32 and sample["x"].shape == (1, H, W)
        assert np.allclose(sample["x"][0].numpy(), depth / 1000.0, atol=1e-6)
        assert sample["label"].dtype == torch.int64
        table = {40: None, 13: MAP_40_TO_13, 4: MAP_40_TO_4}[num_classes]
        for y in range(H):
            for x in range(W):
                stored = int(label[y, x])
                wanted = 255 if stored == 0 else (stored if table is None else table[stored - 1]) - 1
                assert int(sample["label"][y, x]) == wanted


def test_splits(folder: Path) -> None:
    ids = {split: [int(i) for i in NYUv2(folder, split).ids] for split in ("train", "val", "test", "trainval")}
    assert ids["trainval"] == TRAIN and ids["test"] == TEST
    assert ids["val"] == list(range(40, 56)) and ids["train"] == [*range(1, 16), *range(20, 35)]
    with pytest.raises(UnknownNameError, match="did you mean 'train'"):
        NYUv2(folder, "trian")
    (folder / "test.txt").write_text("0001 0060")
    with pytest.raises(InputError, match="0001 is in the official train and test"):
        NYUv2(folder)


def test_validation_blocks_by_hand() -> None:
    # blocks: 1-12 | 20-29 | 40-44 with 50-54 (10 images, so full) | 60-61 with 70-90
    ids = [*range(1, 13), *range(20, 30), *range(40, 45), *range(50, 55), 60, 61, *range(70, 91)]
    more = [n for start in range(100, 200, 20) for n in range(start, start + 10)]  # five blocks of ten
    assert validation_ids(ids + more) == [40, 41, 42, 43, 44, 50, 51, 52, 53, 54]
    assert validation_ids([*ids, *more, *range(300, 310)]) == [40, 41, 42, 43, 44, 50, 51, 52, 53, 54, *range(300, 310)]


def test_validation_never_cuts_a_run() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        ids = sorted(rng.choice(np.arange(1, 1450), 800, replace=False).tolist())
        held = set(validation_ids(reversed(ids)))
        assert held == set(validation_ids(ids)) and held < set(ids)
        assert all((i in held) == (i + 1 in held) for i in ids if i + 1 in ids)


@needs_real
def test_real_splits() -> None:
    ids = {s: NYUv2(REAL, s).ids for s in ("train", "val", "test", "trainval")}
    assert {s: len(i) for s, i in ids.items()} == {"train": 681, "val": 114, "test": 654, "trainval": 795}
    assert sorted(ids["train"] + ids["val"]) == sorted(ids["trainval"]) and not set(ids["train"]) & set(ids["val"])
    assert sorted(ids["trainval"] + ids["test"]) == [f"{i:04d}" for i in range(1, 1450)]
    # neighbours in the official train list are never on both sides
    numbers, held = {int(i) for i in ids["trainval"]}, {int(i) for i in ids["val"]}
    assert all((i in held) == (i + 1 in held) for i in numbers if i + 1 in numbers)


@needs_real
def test_real_labels_against_independent_counts() -> None:
    """Every 6th validation image, counted with Pillow alone; every class is in the validation part."""
    data = NYUv2(REAL, "val", 13, limit=19)
    table = np.zeros(41, int)
    table[1:] = MAP_40_TO_13
    for index in range(0, 19, 6):
        with Image.open(REAL / "label40" / f"{data.ids[index]}.png") as image:
            stored = np.bincount(table[np.asarray(image)].ravel(), minlength=14)
        sample = data[index]
        mine = np.bincount(sample["label"].numpy().ravel(), minlength=256)
        assert mine[:13].tolist() == stored[1:].tolist() and mine[255] == stored[0] and mine[13:255].sum() == 0
        assert sample["rgb"].shape == (3, 480, 640) and 0.7 < sample["x"].min() and sample["x"].max() < 10


@needs_real
@pytest.mark.slow
def test_real_pixel_counts_of_the_test_split() -> None:
    meta = json.loads((REAL / "meta.json").read_text())
    total = np.zeros(256, np.int64)
    data = NYUv2(REAL, "test")
    for index in range(len(data)):
        total += np.bincount(data[index]["label"].numpy().ravel(), minlength=256)
    assert [int(total[255]), *total[:40].tolist()] == meta["pixels40_test"]


def test_sizes_limit_and_transform(folder: Path) -> None:
    full = NYUv2(folder, "trainval")
    data = NYUv2(folder, "trainval", size=(6, 8), limit=4, transform=lambda s: {**s, "seen": True})
    assert [int(i) for i in data.ids] == [TRAIN[0], TRAIN[11], TRAIN[23], TRAIN[34]]
    sample = data[1]
    assert sample["seen"] and sample["rgb"].shape == (3, 6, 8) and sample["label"].shape == (H, W)
    assert torch.equal(sample["x"], full[11]["x"][:, 1::2, 1::2])  # the pixel under each centre
    small = NYUv2(folder, "trainval", size=(6, 8), label_size="input")[11]
    assert torch.equal(small["label"], full[11]["label"][1::2, 1::2])
    batch = collate([data[0], data[1]])
    assert batch["rgb"].shape == (2, 3, 6, 8) and batch["x"].shape == (2, 1, 6, 8) and batch["id"] == data.ids[:2]
    with pytest.raises(IndexError):
        data[4]
    assert data[-1]["id"] == data.ids[3]
    assert json.loads(json.dumps(data.describe()))["size"] == [6, 8]
    for bad in ({"limit": 0}, {"num_classes": 37}, {"label_size": "huge"}, {"size": (0, 4)}):
        with pytest.raises(InputError):
            NYUv2(folder, **bad)


def test_cache_gives_the_same_and_reads_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = NYUv2(folder, "test", 13, size=(9, 12), label_size="input")
    cached = NYUv2(folder, "test", 13, cache_size=(9, 12))
    assert cached.size == (9, 12) and cached.label_size == "input"
    reads: list[int] = []
    load = cached.load
    monkeypatch.setattr(cached, "load", lambda i: reads.append(i) or load(i))
    for _ in range(2):
        for index in range(len(plain)):
            mine, theirs = cached[index], plain[index]
            for key in ("rgb", "x", "label"):
                assert torch.equal(mine[key], theirs[key]) and mine[key].dtype == theirs[key].dtype
                mine[key].zero_()  # must not reach the cache
    assert sorted(reads) == list(range(len(plain)))
    with pytest.raises(InputError, match="two different"):
        NYUv2(folder, size=(3, 4), cache_size=(6, 8))
    sent = copy.deepcopy(cached)  # what pickling for a spawned worker does too
    assert torch.equal(sent[3]["x"], cached[3]["x"]) and torch.equal(sent[3]["x"], plain[3]["x"])


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_forked_workers_share_the_cache(folder: Path) -> None:
    data = NYUv2(folder, "test", cache=True)
    loader = DataLoader(data, batch_size=4, num_workers=2, collate_fn=collate, multiprocessing_context="fork")
    first = torch.cat([b["x"] for b in loader])
    for path in (folder / "depth").iterdir():
        path.unlink()  # from now on only the cache can answer
    assert torch.equal(torch.cat([b["x"] for b in loader]), first)
    assert torch.equal(torch.stack([data[i]["x"] for i in range(len(data))]), first)


@pytest.mark.parametrize("part", ["rgb/0003.jpg", "depth/0003.png", "label40/0003.png"])
def test_broken_files_are_named(folder: Path, part: str) -> None:
    path, index = folder / part, TRAIN.index(3)
    data = NYUv2(folder, "trainval")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=rf"{path.name} cannot be read .*export the file again"):
        data[index]
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name} does not exist"):
        data[index]
    with Image.open((folder / part).with_stem("0004")) as other:
        other.resize((W - 1, H), Image.Resampling.NEAREST).save(path)
    with pytest.raises(InputError, match=r"0003\.(png|jpg).*(15x12|16x12).*(15x12|16x12)"):
        data[index]


def test_wrong_content_is_named(folder: Path) -> None:
    data = NYUv2(folder, "trainval")
    label = arrays(1)[2]
    label[2, 3] = 41
    Image.fromarray(label).save(folder / "label40" / "0001.png")
    with pytest.raises(InputError, match=r"label40.0001\.png has the value 41 in 1 pixels.*0 \(unlabelled\) to 40"):
        data[0]
    Image.fromarray(np.zeros((H, W), np.uint16)).save(folder / "depth" / "0002.png")
    with pytest.raises(InputError, match=r"depth.0002\.png: depth is zero everywhere"):
        data[1]
    Image.fromarray(np.full((H, W), 9, np.uint8)).save(folder / "depth" / "0003.png")
    with pytest.raises(InputError, match=r"0003\.png is uint8; depth is a 16-bit PNG in millimetres"):
        data[2]


def test_roots_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist; give the folder"):
        NYUv2(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"neither rgb/ depth/ label40/ nor nyu_depth_v2_labeled\.mat"):
        NYUv2(tmp_path / "empty")
    (folder / "test.txt").write_text("0007\nseven\n")
    with pytest.raises(InputError, match=r"test\.txt has 'seven'; it needs one id a line"):
        NYUv2(folder)
    (folder / "test.txt").unlink()
    with pytest.raises(InputError, match=r"test\.txt does not exist"):
        NYUv2(folder)
    with pytest.raises(InputError, match=r"class_map and splits belong to"):
        NYUv2(folder, class_map=[1])


# ---- the MATLAB file: its axes are those of the images, reversed


def write_mat(root: Path) -> Path:
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    stacks = [arrays(n) for n in range(1, N + 1)]
    fine = [np.where(label == 0, 0, 900 - label.astype(int)) for _, _, label in stacks]  # 860..899 for classes 40..1
    path = root / "nyu_depth_v2_labeled.mat"
    with h5py.File(path, "w") as file:
        file["images"] = np.stack([rgb.transpose(2, 1, 0) for rgb, _, _ in stacks])  # (N, 3, W, H)
        file["depths"] = np.stack([(depth / 1000).T for _, depth, _ in stacks]).astype(np.float32)  # (N, W, H)
        file["labels"] = np.stack([label.T for label in fine]).astype(np.uint16)
    return path


def class_map() -> list[int]:
    return [900 - i if 860 <= i <= 899 else 0 for i in range(1, 900)]


def check_mat(data: NYUv2) -> None:
    assert [int(i) for i in data.ids] == TEST
    for index in (0, 5):
        sample = data[index]
        rgb, depth, label = arrays(TEST[index])
        assert np.array_equal(sample["rgb"].permute(1, 2, 0).numpy(), rgb)
        assert np.allclose(sample["x"][0].numpy(), depth / 1000, atol=1e-6) and sample["x"].dtype == torch.float32
        assert np.array_equal(sample["label"].numpy(), np.where(label == 0, 255, label.astype(int) - 1))


def test_mat_with_a_given_map_and_text_splits(folder: Path) -> None:
    path = write_mat(folder)
    check_mat(NYUv2(path, "test", class_map=class_map()))
    data = NYUv2(path, "test", class_map=class_map(), cache=True, size=(6, 8))
    assert data[2]["x"].shape == (1, 6, 8) and data[2]["label"].shape == (H, W)
    loader = DataLoader(NYUv2(path, "test", class_map=class_map()), batch_size=4, num_workers=2, collate_fn=collate)
    assert torch.equal(next(iter(loader))["x"][1], NYUv2(path, "test", class_map=class_map())[1]["x"])


@pytest.mark.parametrize("version", ["7.3", "5"])
@pytest.mark.parametrize("classes", ["mapClass", "labels40"])
def test_mat_with_companions_beside_it(tmp_path: Path, version: str, classes: str) -> None:
    write_mat(tmp_path)
    labels = np.stack([arrays(n)[2] for n in range(1, N + 1)], axis=2)  # (H, W, N), as MATLAB shows it
    values = np.array([class_map()], float) if classes == "mapClass" else labels
    name = "classMapping40.mat" if classes == "mapClass" else "labels40.mat"
    content = {
        name: {classes: values},
        "splits.mat": {"trainNdxs": np.array([TRAIN], float).T, "testNdxs": np.array([TEST], float).T},
    }
    if version == "5":
        io = pytest.importorskip("scipy.io", reason="scipy is not installed")
        for file, variables in content.items():
            io.savemat(tmp_path / file, variables)
    else:
        h5py = pytest.importorskip("h5py", reason="h5py is not installed")
        for file, variables in content.items():
            with h5py.File(tmp_path / file, "w") as out:
                for key, value in variables.items():
                    out[key] = value.T
    check_mat(NYUv2(tmp_path, "test"))
    assert [int(i) for i in NYUv2(tmp_path, "val").ids] == list(range(40, 56))


def test_mat_says_what_it_lacks(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    path = write_mat(alone)
    with pytest.raises(InputError, match=r"894 classes; put classMapping40\.mat"):
        NYUv2(alone)
    with pytest.raises(InputError, match=r"splits\.mat does not exist; the official split is not in the data file"):
        NYUv2(alone, class_map=class_map())
    with pytest.raises(InputError, match=r"one number of 0..40 for each"):
        NYUv2(alone, class_map=[1, 2, 41])
    for part in ("train.txt", "test.txt"):
        (alone / part).write_text((folder / part).read_text())
    with pytest.raises(InputError, match=r"label 2 has class 899, but the class map only 3"):
        NYUv2(alone, "trainval", class_map=[1, 2, 3])[1]
    (alone / "test.txt").write_text("1450")
    with pytest.raises(InputError, match=r"names image \[1450\]; ids are 1 to 60"):
        NYUv2(alone, class_map=class_map())
    whole = path.read_bytes()
    path.write_bytes(b"MATLAB 5.0 MAT-file" + whole[19:200])
    with pytest.raises(InputError, match=r"not a MATLAB 7\.3 \(HDF5\) file"):
        NYUv2(alone, class_map=class_map())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match="pip install h5py"):
        NYUv2(alone, class_map=class_map())
