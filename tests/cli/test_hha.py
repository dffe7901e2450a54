"""`fusionzoo hha` on planes whose three channels are known in closed form, and what a model of kind hha makes of it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from fusionzoo.cli import main

SIZE = (60, 80)
LENS = ("--intrinsics", "60", "58", "39", "28.5")


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["hha", *map(str, args)])


def corner(tilt: float) -> tuple[np.ndarray, list[float]]:
    """(depth in metres of a floor 1.3 m below a camera looking `tilt` degrees down, and a wall 3 m ahead; gravity)."""
    t = math.radians(tilt)
    down, ahead = np.array([0, math.cos(t), math.sin(t)]), np.array([0, -math.sin(t), math.cos(t)])
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    ray = np.stack([(u - 39) / 60, (v - 28.5) / 58, np.ones(SIZE)])
    with np.errstate(divide="ignore"):
        floor, wall = (
            np.where((d := np.einsum("c,chw->hw", n, ray)) > 1e-6, length / d, np.inf)
            for n, length in ((down, 1.3), (ahead, 3.0))
        )
    return np.minimum(floor, wall), down.tolist()


def encoded(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(float)


@pytest.mark.parametrize("stored", ["metres.npy", "metres.tiff", "millimetres.png", "fifths.png"])
def test_floor_and_wall_in_closed_form(stored: str, tmp_path: Path) -> None:
    depth, down = corner(15)
    depth[5:9, 5:9] = 0
    path, more = tmp_path / stored, []
    if stored.endswith("npy"):
        np.save(path, depth.astype(np.float32))
    elif stored.endswith("tiff"):
        Image.fromarray(depth.astype(np.float32)).save(path)
    else:
        steps = 5000 if stored.startswith("fifths") else 1000
        Image.fromarray((depth * steps).round().astype(np.uint16)).save(path)
        more = ["--x-scale", "0.0002"] if steps == 5000 else []
    out = tmp_path / "hha.png"
    result = call(path, "-o", out, *LENS, "--gravity", *down, *more, "--json")
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["gravity_from"] == "given" and facts["gravity"] == pytest.approx(down, abs=1e-9)
    assert facts["missing"] == pytest.approx(16 / 4800)
    got = encoded(out)
    known = depth > 0
    assert (got[~known] == 0).all()
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    points = np.stack([(u - 39) / 60 * depth, (v - 28.5) / 58 * depth, depth]) * 100
    height = 130 - np.einsum("c,chw->hw", np.array(down), points)  # above the floor, which is 130 cm below the camera
    assert np.abs(got[..., 0] - 31000 / np.maximum(points[2], 100))[known].max() < 0.6
    assert np.abs(got[..., 1] - np.clip(height, 0, 255))[known].max() < 0.8
    for part, angle in ((height < 0.3, 38), (height > 12, 128)):  # floor 0 + 38, wall 90 + 38
        inner = part & known
        inner[:4], inner[-4:], inner[:, :4], inner[:, -4:] = False, False, False, False
        assert inner.sum() > 200 and np.median(np.abs(got[..., 2] - angle)[inner]) <= 1


@pytest.mark.parametrize("mark", [0.0, np.nan, np.inf, -1.0, 65.535])
def test_however_missing_depth_is_marked(mark: float, tmp_path: Path) -> None:
    depth, down = corner(15)
    depth[20:25, 30:40] = mark
    np.save(tmp_path / "d.npy", depth.astype(np.float32))
    facts = json.loads(call(tmp_path / "d.npy", "-o", tmp_path / "a.png", *LENS, "--json").stdout)
    assert facts["missing"] == pytest.approx(50 / 4800)
    assert math.degrees(math.acos(min(1.0, float(np.dot(facts["gravity"], down))))) < 1.0
    picture = encoded(tmp_path / "a.png")
    assert (picture[20:25, 30:40] == 0).all() and (picture[..., 0] > 0).sum() == 4750


def test_gravity_is_estimated_without_the_option(tmp_path: Path) -> None:
    depth, down = corner(15)
    np.save(tmp_path / "d.npy", depth.astype(np.float32))
    result = call(tmp_path / "d.npy", "-o", tmp_path / "a.png", *LENS, "--json")
    facts = json.loads(result.stdout)
    assert facts["gravity_from"] == "estimated"
    assert math.degrees(math.acos(min(1.0, float(np.dot(facts["gravity"], down))))) < 1.0
    result = call(tmp_path / "d.npy", "-o", tmp_path / "a.png", *LENS)
    assert result.exit_code == 0 and result.stdout.startswith(f"wrote {tmp_path / 'a.png'}: 80 x 60 pixels, estimated")


def test_nyuv2s_camera_is_resized_to_the_image(tmp_path: Path) -> None:
    np.save(tmp_path / "d.npy", corner(0)[0].astype(np.float32))
    sizes = ["--intrinsics", 518.857901 / 8, 519.469611 / 8, (324.582449 + 0.5) / 8 - 0.5, (252.736166 + 0.5) / 8 - 0.5]
    assert call(tmp_path / "d.npy", "-o", tmp_path / "a.png", "--camera", "nyuv2", "--gravity", 0, 1, 0).exit_code == 0
    assert call(tmp_path / "d.npy", "-o", tmp_path / "b.png", *sizes, "--gravity", 0, 1, 0).exit_code == 0
    assert (encoded(tmp_path / "a.png") == encoded(tmp_path / "b.png")).all()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{depth}", "-o", "{out}"], "give the camera once"),
        (["{depth}", "-o", "{out}", *LENS, "--camera", "nyuv2"], "give the camera once"),
        (["{depth}", "-o", "{out}", "--camera", "nyu2"], "did you mean 'nyuv2'"),
        (["{depth}", "-o", "{out}", "--intrinsics", "0", "58", "1", "1"], "focal lengths above 0"),
        (["{depth}", "-o", "{out}", *LENS, "--gravity", "0", "0", "0"], "give a direction"),
        (["{depth}", "-o", "{out}", *LENS, "--x-scale", "-1"], "give a positive number"),
        (["{depth}", "-o", "out.jpg", *LENS], "ends in .png"),
        (["nowhere.png", "-o", "{out}", *LENS], "does not exist"),
        (["{zero}", "-o", "{out}", *LENS], "depth is zero everywhere"),
        (["{thousandth}", "-o", "{out}", *LENS], "half of its depths are nearer than 1 cm"),
        (["{thousandth}", "-o", "{out}", *LENS, "--x-scale", "20"], "no room is that near"),
        (["{depth}", "-o", "{out}", *LENS, "--x-scale", "30"], "no room is that far"),
        (["{depth}", "-o", "{out}", *LENS, "--x-encoding", "sunrgb"], "did you mean 'sunrgbd'"),
    ],
)
def test_wrong_use(args: list[str], words: str, tmp_path: Path) -> None:
    depth = corner(0)[0].astype(np.float32)
    files = {"depth": depth, "zero": depth * 0, "thousandth": depth / 1000}
    for name, values in files.items():
        np.save(tmp_path / f"{name}.npy", values)
    places = {name: str(tmp_path / f"{name}.npy") for name in files} | {"out": str(tmp_path / "o.png")}
    result = call(*(a.format(**places) for a in args))
    assert result.exit_code == 2 and words in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "o.png").exists()


def test_predict_takes_the_picture_as_x(tmp_path: Path) -> None:
    from fusionzoo.hub import save
    from fusionzoo.models import create_model
    from fusionzoo.preprocess import Preprocess

    torch.manual_seed(0)
    look = Preprocess(x_kind="hha", x_scale=1 / 255, x_mean=(0.5,) * 3, x_std=(0.25,) * 3)
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=3, x_channels=3, preprocess=look)
    model.input_size = (64, 96)
    save(model, tmp_path / "model")
    np.save(tmp_path / "d.npy", corner(10)[0].astype(np.float32))
    Image.fromarray(np.full((*SIZE, 3), 100, np.uint8)).save(tmp_path / "rgb.png")
    assert call(tmp_path / "d.npy", "-o", tmp_path / "hha.png", *LENS).exit_code == 0
    args = ["predict", tmp_path / "rgb.png", "{}", "--model", tmp_path / "model", "-o", tmp_path / "out.png", "--json"]
    predict = lambda x: CliRunner().invoke(main, [str(a).format(tmp_path / x) for a in args])  # noqa: E731
    result = predict("hha.png")
    assert result.exit_code == 0, result.stderr
    assert sum(row["share"] for row in json.loads(result.stdout)["classes"]) == pytest.approx(1)
    result = predict("d.npy")
    assert result.exit_code == 2 and "make the pictures with fusionzoo hha" in result.stderr


def test_depth_in_a_fifth_of_a_millimetre_is_remarked_on(tmp_path: Path) -> None:
    """A corner of 1.3 to 3 m stored in steps of 1/5000 m and read as millimetres: 2 m become 10 m and more."""
    metres = corner(0)[0]
    Image.fromarray((metres * 5000).round().astype(np.uint16)).save(tmp_path / "d.png")
    result = call(tmp_path / "d.png", "-o", tmp_path / "o.png", *LENS)
    assert result.exit_code == 0 and result.stderr.count("\n") == 1
    assert f"half of its depths are beyond {5 * np.median(metres):.3g} m" in result.stderr
    assert "--x-scale" in result.stderr
    assert call(tmp_path / "d.png", "-o", tmp_path / "o.png", *LENS, "--x-scale", "0.0002").stderr == ""
