"""What a checkpoint that began as another one says of itself: its size, where it began, no place on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.metrics import jaccard_score

from fusionzoo.data import parse_spec
from fusionzoo.errors import InputError
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import create_model, predict_labels
from fusionzoo.report.training import training_page
from fusionzoo.train import Settings, finetune
from fusionzoo.train.recipe import command
from tests.train.rooms import MODEL, SMALL, rooms, settings


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of three classes that was made for images of 96x128."""
    model = create_model(MODEL, num_classes=3, **SMALL)
    model.set_classes(["wall", "floor", "box"])
    model.input_size = (96, 128)
    place = tmp_path_factory.mktemp("told") / "mine"
    model.save_pretrained(place)
    return place


@pytest.mark.parametrize(("test_size", "wanted"), [(None, (32, 48)), ((48, 64), (48, 64))])
def test_its_size_is_that_of_its_validation(
    start: Path, tmp_path: Path, test_size: tuple[int, int] | None, wanted: tuple[int, int]
) -> None:
    """At it, scikit-learn finds the mIoU that the run has stated."""
    data, notes = rooms(tmp_path / "d"), list[str]()
    last = finetune(settings(data, model=str(start), test_size=test_size, lr=0.01, ema=0.0), tmp_path / "out",
                    note=notes.append)  # fmt: skip
    model = from_pretrained(str(tmp_path / "out"))
    assert model.input_size == wanted
    found, truth = [], []
    for sample in parse_spec(data, split="val", size=model.input_size):
        logits = model(*model.preprocess(sample["rgb"][None], sample["x"][None]))
        found += predict_labels(logits, sample["label"].shape).flatten().tolist()
        truth += sample["label"].flatten().tolist()
    classes = sorted({*found, *truth})
    assert last["miou"] == pytest.approx(jaccard_score(truth, found, labels=classes, average="macro"))


def test_where_it_began_without_this_machines_folders(start: Path, tmp_path: Path) -> None:
    finetune(settings(rooms(tmp_path / "d"), model=str(start), val_split=""), tmp_path / "out", note=list[str]().append)
    recipe = json.loads((tmp_path / "out" / "record.json").read_text())["recipe"]
    assert recipe["init"] == "checkpoint mine" and recipe["command"].startswith(
        "fusionzoo finetune mine --data folder:d"
    )
    assert "init checkpoint mine" in (tmp_path / "out" / "README.md").read_text()
    page = training_page(tmp_path / "out")
    assert "Training of mine" in page and str(start.parent) not in page


def test_the_terms_of_what_it_began_as_go_with_it(tmp_path: Path) -> None:
    name = "concat_mobilenetv1-025_fpn.nyuv2-13"
    data = rooms(tmp_path / "d")
    finetune(settings(data, model=name, val_split=""), tmp_path / "out", note=list[str]().append)
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert [d["name"] for d in record["data"]] == ["d", "nyuv2"]
    assert record["data"][1]["note"].startswith(f"seen by {name}, which this began as")
    assert record["data"][1]["licence"] == "none stated; research use"
    assert record["licence_note"].startswith(f"Began as {name}, whose licence is other. Of {name} its record says: ")
    assert "research" in record["licence_note"] and "metrics" not in record
    card = (tmp_path / "out" / "README.md").read_text()
    assert "research" in card and "Began as concat" in card
    finetune(settings(data, model=str(tmp_path / "out"), val_split=""), tmp_path / "again", note=list[str]().append)
    again = json.loads((tmp_path / "again" / "record.json").read_text())
    assert [d["name"] for d in again["data"]] == ["d", "d", "nyuv2"]


def test_a_file_cannot_take_a_run(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="out is a file; name a new folder"):
        finetune(settings("planted"), tmp_path / "out")


def test_names_of_the_hub_are_whole_in_a_recipe() -> None:
    run = Settings("hf-hub:org/student", "planted", teacher="hf-hub:org/teacher", init="timm:resnet18.a1_in1k")
    words = command(run, "out")
    assert "finetune hf-hub:org/student --data" in words
    assert "--teacher hf-hub:org/teacher" in words and "--init timm:resnet18.a1_in1k" in words
