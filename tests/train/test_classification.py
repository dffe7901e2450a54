"""Training of a model that says one class of a whole image: what it writes, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import fusionzoo
from fusionzoo.cli.group import main
from fusionzoo.data.planted_scenes import CLASSES, PlantedScenes
from fusionzoo.errors import InputError
from fusionzoo.hub.records import Metric, read_record
from fusionzoo.report import card
from fusionzoo.train import Settings, evaluate, finetune

SMALL = ["--data", "planted-scenes", "--limit", "8", "--base", "32x48", "--size", "32x48", "--batch-size", "4"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("run") / "scenes"
    told = CliRunner().invoke(main, ["finetune", "concat_mobilenetv1-025_pool", *SMALL, "--epochs", "1", "--balance",
                                     "0.5", "--out", str(out)])  # fmt: skip
    assert told.exit_code == 0, told.output
    return out, told.output


def test_the_run_names_balanced_accuracy_and_accuracy_and_no_miou(run: tuple[Path, str]) -> None:
    out, said = run
    line = json.loads((out / "log.jsonl").read_text())
    val = PlantedScenes("val", n=8, size=(32, 48))
    model = fusionzoo.from_pretrained(out)
    scores = evaluate(model, val)
    assert line["balanced_accuracy"] == line["best_balanced_accuracy"] == pytest.approx(scores.miou, abs=1e-3)
    assert line["accuracy"] == pytest.approx(scores.pixel_accuracy) and len(line["recall"]) == 8 and "miou" not in line
    assert "best validation balanced accuracy" in said and "mIoU" not in said
    page = (out / "training.html").read_text()
    assert "Validation balanced accuracy" in page and "mIoU" not in page
    assert model.task == "classification" and model.class_names == list(CLASSES)


def test_record_and_card_are_of_a_classification(run: tuple[Path, str]) -> None:
    out, _ = run
    record = read_record(out)
    assert record.task == "classification"
    metric = Metric("planted-scenes", "test", "single scale, 32x48", 0.5, 0.625, 8)
    stated = type(record)(**{**vars(record), "metrics": [metric]})
    written = stated.to_dict()
    assert written["metrics"][0]["balanced_accuracy"] == 0.5 and written["metrics"][0]["accuracy"] == 0.625
    assert type(record).from_dict(written) == stated
    text = card(stated, json.loads((out / "config.json").read_text()))
    assert "image-classification" in text and "| balanced accuracy | accuracy |" in text and "mIoU" not in text


def test_check_and_predict_from_the_command_line(run: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = run
    report = tmp_path / "report"
    data = ["--data", "planted-scenes", "--limit", "4"]
    told = CliRunner().invoke(main, ["check", str(out), *data, "--quiet", "--out", str(report)])
    assert told.exit_code == 0, told.output
    assert "balanced accuracy" in told.output and "mIoU" not in told.output and "no regions" in told.output
    values = json.loads((report / "report.json").read_text())
    assert values["dissection"]["results"]["segmentation"]["both"]["balanced_accuracy"] is not None
    sample = PlantedScenes("test", n=1, size=(32, 48))[0]
    found = fusionzoo.predict(out, sample["rgb"], sample["x"])
    shares = [share for _, _, share in found.shares()]
    assert sum(shares) == pytest.approx(1) and shares == sorted(shares, reverse=True) and found.labels.shape == (1, 1)
    assert found.shares()[0][0] == found.labels[0, 0]
    with pytest.raises(InputError, match="no map to draw"):
        found.picture()
    Image.fromarray(sample["rgb"].permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    for more, status, text in (
        ([], 0, found.class_names[0]),
        (["-o", str(tmp_path / "b.png")], 2, "no picture to draw"),
        (["--labels", str(tmp_path / "b.png")], 2, "give -o"),
    ):
        told = CliRunner().invoke(main, ["predict", str(tmp_path / "a.png"), "--model", str(out), *more])
        assert told.exit_code == status and text in told.output, told.output


def test_a_model_of_pixels_is_refused_before_training(tmp_path: Path) -> None:
    settings = Settings(
        model="concat_mobilenetv1-025_fpn", data="planted-scenes", limit=2, base=(32, 48), size=(32, 48)
    )
    with pytest.raises(InputError, match="decoder pool"):
        finetune(settings, tmp_path / "out")
