"""`fusionzoo.predict` in Python: every way to give the same picture gives the same labels; the way of `check`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fusionzoo
from fusionzoo.data import Planted, as_kind
from fusionzoo.data.hha import NYU_CAMERA
from fusionzoo.errors import CheckFailed, FusionZooWarning, InputError
from fusionzoo.models import predict_labels

SIZE = (48, 64)


def build(x_kind: str = "depth", **more: Any) -> Any:
    """A small model with random weights whose head tells classes apart."""
    channels = 3 if x_kind == "hha" else 1
    scale = {"depth": 1.0}.get(x_kind, 1 / 255)
    preprocess = {"x_kind": x_kind, "x_scale": scale, "x_mean": (0.5,) * channels, "x_std": (0.25,) * channels, **more}
    model = fusionzoo.create_model(
        "concat_mobilenetv1-025_fpn", num_classes=5, x_channels=channels, preprocess=preprocess
    )
    torch.nn.init.normal_(model.head.weight, std=1.0)
    model.input_size = SIZE
    return model.eval()


@pytest.fixture(scope="module")
def scene() -> dict[str, Any]:
    """A planted scene with depth in whole millimetres."""
    sample = Planted("test", n=1, size=SIZE)[0]
    return {**sample, "x": (sample["x"] * 1000).round() / 1000}


@pytest.fixture(scope="module")
def files(scene: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("scene")
    Image.fromarray(scene["rgb"].permute(1, 2, 0).numpy()).save(folder / "rgb.png")
    Image.fromarray((scene["x"][0].numpy() * 1000).round().astype(np.uint16)).save(folder / "x.png")
    return folder / "rgb.png", folder / "x.png"


def expected(model: Any, rgb: torch.Tensor, x: torch.Tensor | None) -> np.ndarray:
    with torch.inference_mode():
        logits = model(model.preprocess.rgb(rgb[None]), None if x is None else model.preprocess.x(x[None]))
    return predict_labels(logits, rgb.shape[-2:])[0].numpy()


def test_all_ways_to_give_one_scene(scene: dict[str, Any], files: tuple[Path, Path]) -> None:
    model, rgb, x = build(), scene["rgb"], scene["x"]
    wanted = expected(model, rgb, x)
    assert len(np.unique(wanted)) > 1
    picture, metres = rgb.permute(1, 2, 0).numpy(), x[0].numpy()
    millimetres = (metres * 1000).round().astype(np.uint16)
    for one, other in [
        (rgb, x),
        (rgb.float() / 255, x),
        (picture, metres),
        (rgb.numpy(), x.numpy()),
        (picture, metres[..., None]),
        (picture, millimetres),
        (Image.fromarray(picture), Image.fromarray(millimetres)),
        files,
        tuple(map(str, files)),
        (files[0], x),
        (picture, files[1]),
    ]:
        found = fusionzoo.predict(model, one, other)
        assert found.labels.dtype == np.uint8 and (found.labels == wanted).mean() > 0.999
        assert torch.equal(found.rgb, rgb)
    alone = fusionzoo.predict(model, rgb)
    assert (alone.labels == expected(model, rgb, None)).mean() > 0.999 and (alone.labels != wanted).any()
    assert (fusionzoo.predict(model, rgb, x, without="x").labels == alone.labels).all()
    counts = {k: share for k, _, share in alone.shares()}
    assert counts == {int(k): pytest.approx((alone.labels == k).mean()) for k in np.unique(alone.labels)}


def test_lists_and_folders_are_lazy(files: tuple[Path, Path], tmp_path: Path) -> None:
    model = build()
    (tmp_path / "rgb").mkdir(), (tmp_path / "x").mkdir()
    for name in "ab":
        (tmp_path / "rgb" / f"{name}.png").write_bytes(files[0].read_bytes())
        (tmp_path / "x" / f"{name}.png").write_bytes(files[1].read_bytes() if name == "a" else b"no image")
    for given in (
        (tmp_path / "rgb", tmp_path / "x"),
        ([tmp_path / "rgb" / "a.png", files[0]], [tmp_path / "x" / "a.png", tmp_path / "x" / "b.png"]),
    ):
        found = fusionzoo.predict(model, *given)
        assert next(found).id == "a"
        with pytest.raises(InputError, match="b.png cannot be read"):
            next(found)
    with pytest.raises(InputError, match="2 images of rgb need a list of as many of x"):
        fusionzoo.predict(model, list(files), [files[1]])


@pytest.mark.parametrize("x_kind", ["grey", "hha"])
def test_depth_becomes_what_the_model_takes(x_kind: str, scene: dict[str, Any], files: tuple[Path, Path]) -> None:
    """As `check` feeds it: by `as_kind` of a data set at the model's size; a picture of that kind is taken as it is."""
    model = build(x_kind)
    data = as_kind(Planted("test", n=1, size=SIZE), x_kind, NYU_CAMERA.at(SIZE))
    x = data[0]["x"]
    wanted = expected(model, scene["rgb"], x)
    found = fusionzoo.predict(model, *files, camera=NYU_CAMERA.at(SIZE))
    assert (found.labels == wanted).mean() > 0.98  # depth was rounded to millimetres
    picture = x.numpy().astype(np.uint8).transpose(1, 2, 0).squeeze()
    assert (fusionzoo.predict(model, files[0], picture).labels == wanted).mean() > 0.999
    if x_kind == "hha":
        four = NYU_CAMERA.at(SIZE)
        again = fusionzoo.predict(model, *files, camera=(four.fx, four.fy, four.cx, four.cy))
        assert (again.labels == found.labels).all()
        with pytest.raises(InputError, match="--intrinsics FX FY CX CY"):
            fusionzoo.predict(model, *files)


def test_orientation_of_a_photograph(scene: dict[str, Any], tmp_path: Path) -> None:
    """The labels are upright, whatever the file's EXIF orientation; of PIL images too."""
    picture = Image.fromarray(scene["rgb"].permute(1, 2, 0).numpy())
    tag = Image.Exif()
    tag[0x0112] = 3
    picture.rotate(180).save(tmp_path / "turned.png", exif=tag)
    model = build()
    wanted = fusionzoo.predict(model, scene["rgb"], scene["x"])
    with Image.open(tmp_path / "turned.png") as opened:
        found = fusionzoo.predict(model, opened, scene["x"])
    assert (found.labels == wanted.labels).all() and torch.equal(found.rgb, wanted.rgb)


def test_a_large_image_for_a_model_without_a_size(monkeypatch: pytest.MonkeyPatch, scene: dict[str, Any]) -> None:
    model = build()
    model.input_size = None
    monkeypatch.setattr("fusionzoo._predict.LARGEST", 24 * 32)
    seen = []
    model.register_forward_pre_hook(lambda module, args: seen.append(tuple(args[0].shape)))
    with pytest.warns(UserWarning, match="image 1: 64x48 is fed at 32x24"):
        found = fusionzoo.predict(model, scene["rgb"], scene["x"])
    assert found.labels.shape == SIZE and seen == [(1, 3, 24, 32)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fusionzoo.predict(model, scene["rgb"], scene["x"], size=(40, 40))
    assert seen[1:] == [(1, 3, 40, 40)]


def test_more_classes_than_a_byte_holds(scene: dict[str, Any], tmp_path: Path) -> None:
    model = fusionzoo.create_model("concat_mobilenetv1-025_fpn", num_classes=300).eval()
    with torch.no_grad():
        model.head.bias[299] = 9.0
    found = fusionzoo.predict(model, scene["rgb"], scene["x"])
    assert found.labels.dtype == np.uint16 and found.shares() == [(299, "class 299", 1.0)]
    found.save_labels(tmp_path / "l.png")
    found.save(tmp_path / "p.png")
    assert (np.asarray(Image.open(tmp_path / "l.png")) == 299).all()


def test_half_precision_and_mode(scene: dict[str, Any]) -> None:
    model = build()
    wanted = fusionzoo.predict(model, scene["rgb"], scene["x"]).labels
    model.train()
    half = fusionzoo.predict(model.bfloat16(), scene["rgb"], scene["x"]).labels
    assert model.training and (half == wanted).mean() > 0.9


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": torch.ones(1, 48, 60)}, "align"),
        ({"x": torch.ones(1, 48, 64, dtype=torch.int32)}, "give float metres, or x_scale"),
        ({"x": np.ones(SIZE, np.uint8)}, "8-bit, so its depth unit is unknown"),
        ({"x": np.full(SIZE, np.nan)}, "no pixel was measured"),
        ({"x": object()}, "x is object"),
        ({"rgb": torch.zeros(4, 48, 64)}, "wanted \\(3, H, W\\)"),
        ({"rgb": np.zeros((48, 64, 2), np.uint8)}, "wanted \\(3, H, W\\)"),
        ({"rgb": object()}, "give a file, image or array"),
        ({"rgb": torch.full((3, 48, 64), 200.0)}, "0..1 is meant"),
        ({"without": "depth"}, "give 'rgb' or 'x'"),
        ({"x": None, "without": "rgb"}, "neither rgb nor x"),
        ({"size": (0, 3)}, "both positive"),
        ({"model": torch.nn.Identity()}, "Identity is no model of fusionzoo"),
        ({"device": "meta"}, "computes nothing"),
    ],
)
def test_what_cannot_be_meant(change: dict[str, Any], words: str, scene: dict[str, Any]) -> None:
    given = {"model": build(), "rgb": scene["rgb"], "x": scene["x"], **change}
    with pytest.raises(InputError, match=words):
        fusionzoo.predict(given.pop("model"), given.pop("rgb"), given.pop("x"), **given)


def test_images_without_x_are_left_out_or_kept(scene: dict[str, Any], files: tuple[Path, Path], tmp_path: Path) -> None:
    model, rgb, x = build(), scene["rgb"], scene["x"]
    none = torch.zeros_like(x)
    with pytest.raises(InputError, match="image 2: depth is zero everywhere .*--empty skip"):
        list(fusionzoo.predict(model, [rgb, rgb], [x, none]))
    with pytest.warns(FusionZooWarning, match="image 2: no valid x in any pixel: left out"):
        assert [p.id for p in fusionzoo.predict(model, [rgb] * 3, [x, none, x], empty="skip")] == ["image 1", "image 3"]
    alone = fusionzoo.predict(model, rgb, None).labels
    with pytest.warns(FusionZooWarning, match="the model's substitute stands in"):
        assert (fusionzoo.predict(model, rgb, none, empty="keep").labels == alone).mean() > 0.99
    with pytest.warns(FusionZooWarning), pytest.raises(InputError, match="no other image"):
        fusionzoo.predict(model, rgb, none, empty="skip")
    Image.fromarray(np.zeros(SIZE, np.uint16)).save(tmp_path / "x.png")
    with pytest.warns(FusionZooWarning, match="the model's substitute stands in"):
        assert (fusionzoo.predict(model, files[0], tmp_path / "x.png", empty="keep").labels == alone).mean() > 0.99
    with pytest.raises(InputError, match="empty is 'drop'; give refuse, skip, keep"):
        fusionzoo.predict(model, rgb, x, empty="drop")


def test_weights_that_give_no_numbers(scene: dict[str, Any]) -> None:
    model = build()
    with torch.no_grad():
        model.head.bias[0] = torch.nan
    with pytest.raises(CheckFailed, match="image 1: the model's output is not finite"):
        fusionzoo.predict(model, scene["rgb"], scene["x"])


def test_a_model_of_depth_alone_needs_depth(scene: dict[str, Any]) -> None:
    model = fusionzoo.create_model("x_only_mobilenetv1-025_fpn", num_classes=5).eval()
    with pytest.raises(InputError, match="the model reads x alone"):
        fusionzoo.predict(model, scene["rgb"])
