"""SUN RGB-D as published, on a small tree with .mat files as MATLAB writes them, and prepared by others."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from fusionzoo.data import parse_spec
from fusionzoo.errors import FusionZooWarning, InputError

H, W = 5, 7
SCENES = ("kv1/NYUdata/NYU0001", "kv2/align_kv2/room_2", "xtion/sun3d/hall", "realsense/lg/desk")
MILLIMETRES = np.array([0, 1, 700, 4321, 7999, 8000, 8191, 8192, 12000, 65535])


def packed(millimetres: np.ndarray) -> np.ndarray:
    """As the authors store it: the 16 bits turned left by 3, written with text of bits."""
    bits = [f"{int(v):016b}" for v in millimetres.ravel()]
    return np.array([int(b[3:] + b[:3], 2) for b in bits], np.uint16).reshape(millimetres.shape)


def label(index: int) -> np.ndarray:
    return (np.arange(H * W).reshape(H, W) + index) % 38


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def published(root: Path) -> Path:
    for index, scene in enumerate(SCENES):
        place = root / "SUNRGBD" / scene
        save(place / "image" / f"{index}.jpg", np.full((H, W, 3), 50 * index, np.uint8))
        depth = np.full((H, W), 1000 + index)
        depth[0, :3] = 0, 9000, 8192
        save(place / "depth_bfx" / f"{index}.png", packed(depth))
        save(place / "depth" / f"{index}_raw.png", packed(np.where(depth > 8000, 0, depth)))
    tools = root / "SUNRGBDtoolbox"
    for name in ("traintestSUNRGBD", "Metadata"):
        (tools / name).mkdir(parents=True)
    far = [np.array([f"/n/fs/sun3d/data/SUNRGBD/{scene}/"], object) for scene in SCENES]
    cells = np.empty((1, 2), object), np.empty((1, 2), object)
    for cell, places in zip(cells, (far[2:], far[:2]), strict=True):  # train is not the first in the toolbox's order
        cell[0, :] = [p[0] for p in places]
    savemat(tools / "traintestSUNRGBD" / "allsplit.mat", {"alltrain": cells[0], "alltest": cells[1]})
    kind = [("sequenceName", object), ("rgbname", object), ("depthname", object)]
    meta = np.zeros((1, len(SCENES)), kind)
    for index, scene in enumerate(SCENES):
        meta[0, index] = (f"SUNRGBD//{scene}", f"{index}.jpg", f"{index}.png")
    savemat(tools / "Metadata" / "SUNRGBDMeta.mat", {"SUNRGBDMeta": meta})
    with h5py.File(tools / "Metadata" / "SUNRGBD2Dseg.mat", "w") as file:
        group = file.create_group("SUNRGBD2Dseg")
        references = group.create_dataset("seglabel", (len(SCENES), 1), h5py.ref_dtype)
        for index in range(len(SCENES)):
            held = file.create_dataset(f"#refs#/{index}", data=label(index).T.astype(np.float64))  # MATLAB's order
            references[index, 0] = held.ref
    return root


def opened(root: Path, words: str = "", **options: Any) -> Any:
    with pytest.warns(FusionZooWarning, match="of SUN RGB-D has 2 images, not 5"):
        return parse_spec(f"sunrgbd:{root}#partial{words}", **options)


def test_as_published(tmp_path: Path) -> None:
    data = opened(published(tmp_path), split="train")
    assert data.ids == list(SCENES[2:]) and data.num_classes == 37 and data.class_names[36] == "bag"
    for index, number in enumerate((2, 3)):
        sample = data[index]
        assert sample["x"][0, 0, :4].tolist() == pytest.approx([0, 8, 8, 1 + number / 1000])
        assert abs(float(sample["rgb"].float().mean()) - 50 * number) <= 1
        wanted = label(number)
        assert np.array_equal(sample["label"].numpy(), np.where(wanted == 0, 255, wanted - 1))
    assert opened(tmp_path).ids == list(SCENES[:2])
    again = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own
    assert torch.equal(copy.deepcopy(data)[1]["label"], again[1]["label"])


def test_raw_depth_is_asked_for(tmp_path: Path) -> None:
    root = published(tmp_path)
    for index, scene in enumerate(SCENES):
        (root / "SUNRGBD" / scene / "depth" / f"{index}_raw.png").rename(
            root / "SUNRGBD" / scene / "depth" / f"{index}.png"
        )
    assert opened(root, ",raw")[0]["x"][0, 0, :4].tolist() == pytest.approx([0, 0, 0, 1])
    (root / "SUNRGBD" / SCENES[1] / "depth_bfx" / "1.png").unlink()
    with pytest.raises(InputError, match=r"not 5050: 5048 less, lacks a file of 1 of 2 images, the first .*bfx.1\.png"):
        parse_spec(f"sunrgbd:{root}")


@pytest.mark.parametrize("rotated", [True, False])
def test_prepared_by_others(tmp_path: Path, rotated: bool) -> None:
    depth = np.arange(H * W).reshape(H, W) * 37 + 903
    depth[0, :2] = 0, 8200
    for split in ("train", "test"):
        for number in range(2):
            name = f"img-00000{number}.png"
            save(tmp_path / split / "rgb" / name, np.full((H, W, 3), 9, np.uint8))
            save(tmp_path / split / "depth" / name, packed(depth) if rotated else depth.astype(np.uint16))
            save(tmp_path / split / "label" / name, label(number).astype(np.uint8))
    sample = opened(tmp_path)[1]
    assert np.allclose(sample["x"][0].numpy(), np.minimum(depth, 8000) / 1000, atol=1e-6)
    assert sample["label"][0, 0] == 0 and sample["label"][-1, -1] == 34
    with pytest.raises(InputError, match="only the published layout has raw depth"):
        parse_spec(f"sunrgbd:{tmp_path}#raw")
    with pytest.raises(InputError, match="has 2 images, not 5050: 5048 less"):
        parse_spec(f"sunrgbd:{tmp_path}")


def test_toolbox_files_that_are_not_right(tmp_path: Path) -> None:
    root = published(tmp_path)
    labels = root / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBD2Dseg.mat"
    labels.write_bytes(b"MATLAB 5.0")
    with pytest.raises(InputError, match=r"SUNRGBD2Dseg\.mat is not a MATLAB 7\.3"):
        opened(root)[0]
    (root / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"SUNRGBDMeta\.mat cannot be read"):
        parse_spec(f"sunrgbd:{root}")
    (root / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat").unlink()
    with pytest.raises(InputError, match=r"SUNRGBDMeta\.mat does not exist; .* get SUNRGBDtoolbox\.zip"):
        parse_spec(f"sunrgbd:{root}")
