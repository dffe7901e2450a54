"""Depth data as what a model takes: HHA with the data's camera, grey pictures, or a refusal with the next step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusionzoo._check import check
from fusionzoo.data import NYUv2, Planted, as_kind
from fusionzoo.data.grey import grey
from fusionzoo.data.hha import NYU_CAMERA, hha
from fusionzoo.errors import InputError
from fusionzoo.hub import save
from fusionzoo.models import create_model
from fusionzoo.preprocess import Preprocess


def test_depth_stays_and_grey_is_made() -> None:
    data = Planted(n=2, size=(48, 64))
    assert as_kind(data, "depth") is data and as_kind(data, "inverse_depth") is data
    made = as_kind(data, "grey")
    assert made.x_kind == "grey" and torch.equal(made[1]["x"], grey(data[1]["x"]).float())


def test_hha_needs_a_camera() -> None:
    data = Planted(n=1, size=(48, 64))
    with pytest.raises(InputError, match="needs the camera of planted"):
        as_kind(data, "hha")
    camera = NYU_CAMERA.at((48, 64))
    assert torch.equal(as_kind(data, "hha", camera)[0]["x"], hha(data[0]["x"], camera).float())
    with pytest.raises(InputError, match="takes thermal, planted has depth"):
        as_kind(data, "thermal")


@pytest.mark.parametrize(("kind", "channels"), [("hha", 3), ("grey", 1)])
def test_check_feeds_what_the_checkpoint_takes(kind: str, channels: int, tmp_path: Path) -> None:
    """`check --data nyuv2:PATH` on a model of HHA or grey pictures, as the published ones are."""
    root = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nyuv2"
    if not root.is_dir():
        pytest.skip(f"no NYU Depth v2: {root} is absent")
    look = Preprocess(x_kind=kind, x_scale=1 / 255, x_mean=(0.5,) * channels, x_std=(0.25,) * channels)
    torch.manual_seed(0)
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=13, x_channels=channels, preprocess=look)
    data = NYUv2(root, split="test", num_classes=13, limit=4, size=(48, 64))
    model.set_classes(data.class_names)
    model.input_size = (48, 64)
    save(model, tmp_path / "model")
    result = check(tmp_path / "model", f"nyuv2:{root}", None, 4, progress=False)
    assert result.dissection is not None and result.verification.ok
    x = as_kind(data, kind)[0]["x"]
    assert x.shape == (channels, 48, 64) and x.max() <= 255 and x.std() > 5
