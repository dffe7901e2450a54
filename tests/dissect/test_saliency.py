"""Saliency data in validation, dissection, report and training; the measures themselves: tests/metrics/saliency."""

from __future__ import annotations

import json
import shlex
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image

from fusionzoo.cli import finetune as command
from fusionzoo.cli import main
from fusionzoo.data import collate, parse_spec
from fusionzoo.dissect import Dissection, dissect
from fusionzoo.errors import FusionZooWarning
from fusionzoo.metrics.saliency import SaliencyScores, s_measure, stretched
from fusionzoo.models import FusionModel, create_model
from fusionzoo.preprocess import Preprocess
from fusionzoo.report import html, terminal
from fusionzoo.train import evaluate, finetune
from tests.train.rooms import settings

H, W = 32, 48


def tree(root: Path, n: int) -> None:
    """Bright discs that are near, on noise."""
    for number in range(n):
        g = np.random.default_rng(number)
        rows, columns = np.mgrid[:H, :W]
        disc = (rows - 10 - number) ** 2 + (columns - 20 - 2 * number) ** 2 < 60
        pictures = {
            "RGB": g.integers(40, 120, (H, W, 3)) + 90 * disc[..., None],
            "depth": g.integers(150, 200, (H, W)) - 100 * disc,
            "GT": 255 * disc,
        }
        for part, values in pictures.items():
            (root / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(root / part / f"{number}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("sip")
    tree(root, 6)
    with pytest.warns(FusionZooWarning, match="going on with 6"):
        return parse_spec(f"sip:{root}#partial")


@pytest.fixture(scope="module")
def model(data: Any) -> FusionModel:
    """Random weights, batch norms with the statistics of the data, so that both inputs reach the output."""
    torch.manual_seed(0)
    look = Preprocess(x_kind="grey", x_scale=1 / 255, x_mean=(0.6,), x_std=(0.2,))
    made = create_model("concat_mobilenetv1-025_fpn", num_classes=2, preprocess=look,
                        decoder_args={"pyramid_channels": 16, "segmentation_channels": 32})  # fmt: skip
    made.set_classes(["background", "salient"])
    batch = collate([data[i] for i in range(len(data))])
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        made.train()(*made.preprocess(batch["rgb"], batch["x"]))
    return made.eval()


@torch.no_grad()
def means(model: FusionModel, data: Any, *, blank: bool = False) -> tuple[float, float]:
    """(S-measure, mean absolute error) image by image, x at its mean where `blank`: probability as of the sigmoid."""
    structure, error = [], []
    for sample in data:
        rgb, x = model.preprocess(sample["rgb"][None], sample["x"][None])
        logits = model(rgb, torch.zeros_like(x) if blank else x)
        size = sample["label"].shape
        up = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0]
        saliency, mask = stretched(torch.sigmoid(up[1] - up[0])), sample["label"].bool()
        structure.append(float(s_measure(saliency, mask)))
        error.append(float((saliency - mask.double()).abs().mean()))
    return sum(structure) / len(structure), sum(error) / len(error)


def test_scores_under_each_condition(model: FusionModel, data: Any, tmp_path: Path) -> None:
    found = dissect(model, data, metrics=["segmentation"], progress=False)
    scores = found.results["saliency"]
    assert set(scores) == {"both", "without_rgb", "without_x"} == set(found.segmentation)
    both, without_x = scores["both"], scores["without_x"]
    assert (both.s_measure, both.mae) == pytest.approx(means(model, data), abs=1e-5)
    assert (without_x.s_measure, without_x.mae) == pytest.approx(means(model, data, blank=True), abs=1e-5)
    assert abs(both.mae - without_x.mae) > 1e-4, "the modality makes a difference"
    for text in (terminal(found), html(found)):
        assert "Saliency" in text and "E adaptive" in text and f"{both.s_measure:.3f}" in text
        assert "as the field's evaluation code does" in " ".join(unescape(text).split()), "what the columns are"
    found.save(tmp_path / "d.json")
    assert Dissection.load(tmp_path / "d.json") == found

    validated = evaluate(model, data, batch_size=4)
    assert isinstance(validated.saliency, SaliencyScores) and validated.saliency.n_images == 6
    assert validated.saliency.s_measure == pytest.approx(both.s_measure, abs=1e-5)
    assert validated.saliency.f_max == pytest.approx(both.f_max, abs=1e-2)
    assert validated.miou == pytest.approx(found.segmentation["both"].miou, abs=1e-3)


def test_data_of_another_task_has_no_saliency(model: FusionModel, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(data), "task", "segmentation")
    found = dissect(model, data, limit=2, metrics=["segmentation"], progress=False)
    assert "saliency" not in found.results and "Saliency" not in terminal(found)
    assert evaluate(model, data).saliency is None


def test_finetune_reports_the_measures(tmp_path: Path) -> None:
    for split in ("TRAIN", "TEST"):
        tree(tmp_path / f"NLPR_{split}", 2)
    with pytest.warns(FusionZooWarning):
        line = finetune(settings(f"nlpr:{tmp_path}#partial", val_split="test"), tmp_path / "out", note=lambda _: None)
    found = line["saliency"]
    assert set(found) == {"s_measure", "e_adaptive", "e_mean", "e_max", "f_adaptive", "f_mean", "f_max", "mae"}
    assert all(0 <= value <= 1.001 for value in found.values())
    assert f"S {found['s_measure']:.3f}" in command._line(line, 1) and f"MAE {found['mae']:.3f}" in command._line(
        line, 1
    )


@pytest.mark.parametrize("place", ["runs/salient", "runs/nju2k"])
def test_the_readmes_commands_train_and_check(root: Path, tmp_path: Path, place: str) -> None:
    for split in ("TRAIN", "TEST"):
        tree(tmp_path / f"NJU2K_{split}", 6)
    lines = (root / "fusionzoo" / "models" / "README.md").read_text(encoding="utf-8").splitlines()
    train, check = (line for line in lines if line.startswith("fusionzoo ") and place in line)
    if place == "runs/salient":  # planted, the one of the first page
        words = train.removeprefix("fusionzoo ").replace(place, "OUT")
        assert f"`{words}`" in " ".join((root / "README.md").read_text(encoding="utf-8").split())
    tiny = "--epochs 1 --batch-size 3 --size 32x32 --base 32x48 --scale 1x1.2"
    limit = " --limit 4" if place == "runs/salient" else ""
    for line, options in ((train, tiny + limit), (check, "--limit 4 --json --quiet")):
        given = line.replace("nju2k:PATH", f"nju2k:{tmp_path}#partial").replace(place, str(tmp_path / "out"))
        done = CliRunner().invoke(main, shlex.split(f"{given} {options}")[1:])
        assert done.exit_code == 0, done.output
    settings_ = json.loads((tmp_path / "out" / "settings.json").read_text(encoding="utf-8"))
    assert settings_["loss"] == {"cross_entropy": 1.0, "iou": 1.0}
    assert done.stdout.count('"s_measure"') >= 3, "with both and without either"
