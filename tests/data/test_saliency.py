"""NJU2K, NLPR and SIP on small trees of their official layouts; truths are written here, not taken from the code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusionzoo.data import WithTransform, parse_spec
from fusionzoo.data.spec import open_splits
from fusionzoo.errors import FusionZooWarning, InputError, UnknownNameError

H, W = 6, 8
GREY = np.arange(H * W).reshape(H, W).astype(np.uint8) * 5
"""A mask with soft edges: 0, 5, ... 235; above 128 from the 26th pixel on."""


def save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def part(folder: Path, names: str) -> None:
    """Images `names` in the three folders."""
    for number, name in enumerate(names.split()):
        save(folder / "RGB" / f"{name}.jpg", np.full((H, W, 3), 100 + number, np.uint8))
        save(folder / "depth" / f"{name}.png", np.full((H, W), 40 + number, np.uint8))
        save(folder / "GT" / f"{name}.png", GREY)


@pytest.mark.parametrize(("kind", "folder"), [("nju2k", "NJU2K_TEST"), ("nlpr", "nlpr_Test"), ("nlpr", "test"),
                                              ("sip", "")])  # fmt: skip
def test_samples(kind: str, folder: str, tmp_path: Path) -> None:
    part(tmp_path / folder, "000010_left 000002_left")
    with pytest.warns(FusionZooWarning, match="going on with 2"):
        data = parse_spec(f"{kind}:{tmp_path}#partial")
    assert data.ids == ["000002_left", "000010_left"] and data.task == "saliency" and data.split == "test"
    assert data.class_names == ["background", "salient"] and data.x_kind == "grey" and data.x_channels == 1
    sample = data[1]
    assert (sample["x"] == 40).all() and sample["x"].shape == (1, H, W), "the picture as stored"
    assert torch.equal(sample["label"].flatten(), (torch.arange(H * W) >= 26).long())
    assert (sample["rgb"].float() - 100).abs().max() <= 2, "a JPEG"
    assert WithTransform(data, lambda s: s).task == "saliency"


def test_masks_as_they_are_stored(tmp_path: Path) -> None:
    part(tmp_path, "a b c d e")
    white = np.zeros((H, W), bool)
    white[2, 3] = True
    save(tmp_path / "GT" / "a.png", white)
    save(tmp_path / "GT" / "b.png", np.repeat(255 * white[..., None], 3, 2).astype(np.uint8))
    save(tmp_path / "GT" / "c.png", white.astype(np.uint8))
    save(tmp_path / "GT" / "d.png", np.full((H, W), 128, np.uint8))
    save(tmp_path / "GT" / "e.png", np.full((H, W), 255, np.uint16))
    with pytest.warns(FusionZooWarning, match="going on with 5"):
        data = parse_spec(f"sip:{tmp_path}#partial")
    for index in range(3):
        assert torch.equal(data[index]["label"], torch.from_numpy(white).long()), data.ids[index]
    assert not data[3]["label"].any(), "128 is not above 128"
    with pytest.raises(InputError, match=r"e\.png is uint16; a mask is an 8-bit picture"):
        data[4]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    part(tmp_path / "NJU2K_TRAIN", "a b")
    with pytest.raises(InputError, match=r"of NJU2K has 2 images, not 1485: 1483 less; wanted NJU2K_TRAIN/ and"):
        parse_spec(f"nju2k:{tmp_path}", split="train")
    with pytest.raises(InputError, match="of NJU2K has no images, not 500: 500 less"):
        parse_spec(f"nju2k:{tmp_path}")
    (tmp_path / "NJU2K_TRAIN" / "depth" / "b.png").unlink()
    with pytest.raises(InputError, match=r"lacks a file of 1 of 2 images, the first .*NJU2K_TRAIN.depth.b\.png"):
        parse_spec(f"nju2k:{tmp_path}", split="train")
    save(tmp_path / "NJU2K_TRAIN" / "GT" / "a.bmp", GREY)
    with pytest.raises(InputError, match=r"has both a\.bmp and a\.png; keep one of them"):
        parse_spec(f"nju2k:{tmp_path}", split="train")
    with pytest.raises(UnknownNameError, match="unknown split of SIP 'train'"):
        parse_spec(f"sip:{tmp_path}", split="train")
    with pytest.raises(InputError, match="NLPR has 2 classes, not 40"):
        parse_spec(f"nlpr:{tmp_path}", num_classes=40)
    with pytest.raises(InputError, match="of NLPR has no images, not 700"):
        open_splits(f"nlpr:{tmp_path}")
