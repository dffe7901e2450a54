"""Which modality drives a prediction: Python and command line against the model's own softmax; refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from sklearn.metrics import roc_auc_score

import fusionzoo
from fusionzoo.cli import main
from fusionzoo.data import Planted
from fusionzoo.dissect.attribution import attribute, occlude
from fusionzoo.dissect.conditions import Reader
from fusionzoo.dissect.pictures.examples import look
from fusionzoo.errors import InputError
from tests.test_predict import SIZE, build

PLANTED = "concat_mobilenetv1-025_fpn.planted"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("pairs")
    for part in ("rgb", "x"):
        (folder / part).mkdir()
    for i, scene in enumerate(Planted("test", n=2, size=SIZE)[k] for k in range(2)):
        Image.fromarray(scene["rgb"].permute(1, 2, 0).numpy()).save(folder / "rgb" / f"{i}.png")
        Image.fromarray((scene["x"][0].numpy() * 1000).round().astype(np.uint16)).save(folder / "x" / f"{i}.png")
    return folder / "rgb", folder / "x"


@pytest.mark.parametrize("absence", ["mean", "zero"])
def test_the_map_is_made_of_the_models_softmax(absence: str) -> None:
    model, scene = build(), Planted("test", n=1, size=SIZE)[0]
    found = fusionzoo.explain(model, scene["rgb"], scene["x"], absence=absence).example
    rgb, x = model.preprocess(scene["rgb"][None], scene["x"][None])
    no_rgb = torch.zeros_like(rgb) if absence == "mean" else model.preprocess.rgb(torch.zeros_like(rgb))
    no_x = torch.zeros_like(x)
    with torch.inference_mode():
        p = {
            name: model(*given)[0].softmax(0).double()
            for name, given in (("both", (rgb, x)), ("rgb", (rgb, no_x)), ("x", (no_rgb, x)), ("none", (no_rgb, no_x)))
        }
    top = p["both"].argmax(0, keepdim=True)
    q = {name: value.gather(0, top)[0] for name, value in p.items()}
    want = (q["both"] - q["x"] + q["rgb"] - q["none"]) / 2
    np.testing.assert_allclose(found.predicted_class.rgb, want, atol=1e-5)
    np.testing.assert_allclose(found.predicted_class.rgb + found.predicted_class.x, q["both"] - q["none"], atol=1e-5)
    assert float(want.abs().max()) > 0.01 and found.label is None and found.true_class is None
    assert set(found.predicted) == {"both", "without_rgb", "without_x", "neither"} and found.absence == absence


def test_the_prediction_is_that_of_predict() -> None:
    model, scene = build(), Planted("test", n=1, size=SIZE)[0]
    made = fusionzoo.explain(model, scene["rgb"], scene["x"]).example
    for without, condition in ((None, "both"), ("x", "without_x"), ("rgb", "without_rgb")):
        plain = fusionzoo.predict(model, scene["rgb"], scene["x"], without=without)
        assert (plain.labels == made.predicted[condition]).mean() > 0.999, condition


def call(*args: Any) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, args)])


def test_command_for_one_pair_and_for_folders(files: tuple[Path, Path], tmp_path: Path) -> None:
    rgb, x = files
    one = call(rgb / "0.png", x / "0.png", "--model", PLANTED, "-o", tmp_path / "a.png", "--size", "48x64",
               "--explain", tmp_path / "e.png", "--json")  # fmt: skip
    assert one.exit_code == 0, one.stderr
    assert json.loads(one.stdout)["explanation"] == str(tmp_path / "e.png")
    with Image.open(tmp_path / "e.png") as why, Image.open(tmp_path / "a.png") as plain:
        assert why.size[0] == 1000 and plain.size[0] < 300
    many = call(rgb, x, "--model", PLANTED, "-o", tmp_path / "out", "--explain", tmp_path / "why", "--size", "48x64",
                "--absence", "blur", "--quiet")  # fmt: skip
    assert many.exit_code == 0, many.stderr
    assert sorted(p.name for p in (tmp_path / "why").iterdir()) == ["0.png", "1.png"]
    assert many.stdout == f"wrote 2 pictures to {tmp_path / 'out'}, explanations to {tmp_path / 'why'}\n"


@pytest.mark.parametrize("method", ["gradient", "integrated", "occlusion"])
def test_pixels_of_both_inputs_are_those_of_the_attribution(
    method: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    model, scene = build(), Planted("test", n=1, size=SIZE)[0]
    found = fusionzoo.explain(model, scene["rgb"], scene["x"], method=method)
    rgb, x = model.preprocess(scene["rgb"][None], scene["x"][None])
    with torch.inference_mode():
        k = int(model(rgb, x)[0].argmax(0).flatten().bincount().argmax())
    assert found.target == model.class_names[k] == found.facts["class"]
    if method == "occlusion":
        want: Any = occlude(model, rgb, x, k, window=min(SIZE) // 4)
        assert set(found.maps) == {"rgb", "depth", "both", "interaction"}
    else:
        want = attribute(model, rgb, x, k, method={"gradient": "gradient_x_input"}.get(method, method))
        assert found.facts["residual"] == pytest.approx(want.residual, abs=1e-4)
        assert found.facts["rgb"] + found.facts["x"] == pytest.approx(sum(want.totals), abs=1e-4)
    for title, kind in (("rgb", "rgb"), ("depth", "x")):
        np.testing.assert_allclose(found.maps[title], want.map(kind).numpy(), atol=1e-4)
    assert np.abs(found.maps["depth"]).max() > 1e-3
    made = call(files[0] / "0.png", files[1] / "0.png", "--model", PLANTED, "-o", tmp_path / "a.png", "--size", "48x64",
                "--explain", tmp_path / "e.png", "--method", method, "--class", "wall", "--json")  # fmt: skip
    assert made.exit_code == 0, made.stderr
    told = json.loads(made.stdout)["attribution"]
    assert (told["method"], told["class"]) == (method, "wall")
    with Image.open(tmp_path / "e.png") as drawn:
        assert drawn.size[0] == 1000


def test_each_file_is_read_once(files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb, x = files
    opened: list[Path] = []
    real = Image.open

    def counted(path: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(Path(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Image, "open", counted)
    made = call(rgb, x, "--model", PLANTED, "-o", tmp_path / "out", "--explain", tmp_path / "why", "--size", "48x64")
    assert made.exit_code == 0, made.stderr
    once = call(rgb, x, "--model", PLANTED, "-o", tmp_path / "plain", "--size", "48x64")
    assert once.exit_code == 0 and len(opened) >= 8, opened
    assert sorted(opened[: len(opened) // 2]) == sorted(opened[len(opened) // 2 :])


def test_refusals(files: tuple[Path, Path], tmp_path: Path) -> None:
    rgb, x = files[0] / "0.png", files[1] / "0.png"
    common = ("--model", PLANTED, "-o", tmp_path / "a.png", "--explain", tmp_path / "e.png")
    for args, words in (
        ((rgb, *common), "--explain takes each modality away by itself"),
        ((rgb, x, *common, "--no-x"), "--explain takes each modality away by itself"),
        ((rgb, x, *common, "--absence", "permute"), "permute takes it from another image"),
        ((rgb, x, *common, "--absence", "men"), "absence (--absence) is 'men'"),
        ((rgb, x, *common, "--method", "gradients"), "did you mean 'gradient'"),
        ((rgb, x, *common, "--method", "gradient", "--class", "wal"), "did you mean 'wall'"),
        ((rgb, x, *common, "--class", "wall"), "target (--class) belongs to gradient, integrated, occlusion"),
        ((rgb, x, *common[:4], "--method", "gradient"), "--method and --class belong to --explain"),
        ((rgb, x, *common[:4], "--explain", tmp_path / "a.png"), "is named twice"),
        ((rgb, x, *common[:4], "--explain", tmp_path / "e.jpg"), "ends in .png"),
    ):
        result = call(*args)
        assert result.exit_code == 2 and words in result.stderr, (args, result.stderr)
    assert not (tmp_path / "a.png").exists()
    scene = Planted("test", n=1, size=SIZE)[0]
    with pytest.raises(InputError, match="no x, or none with a valid value"):
        fusionzoo.explain(build(), scene["rgb"], None)
    with pytest.raises(InputError, match="leave out without="):
        fusionzoo.explain(build(), scene["rgb"], scene["x"], without="x")


def test_the_map_tells_colour_only_pixels_from_depth_only_ones() -> None:
    """The planted truth is known pixel by pixel: posters and rugs are in rgb alone, bumps and niches in depth alone."""
    data, model = Planted("test", n=6), fusionzoo.from_pretrained(PLANTED)
    of = {k: data.concepts[name] for k, name in enumerate(data.class_names)}
    reader, truth, score = Reader(model, data), [], []
    for i in range(len(data)):
        e = look(reader, [data[i]], i)
        assert e.label is not None and e.true_class is not None
        kinds = np.vectorize(of.get)(e.label)
        for kind in ("rgb", "x"):
            score.append(e.true_class.balance[kinds == kind])
            truth.append(np.full(len(score[-1]), kind == "rgb"))
    assert min(np.concatenate(truth).mean(), 1 - np.concatenate(truth).mean()) > 0.1
    assert roc_auc_score(np.concatenate(truth), np.concatenate(score)) >= 0.9
