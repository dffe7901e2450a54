"""The page of a training run: what it shows is what the run wrote; it stands alone; a run that goes on has one."""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fusionzoo.errors import InputError
from fusionzoo.report.curves import curve, thinned
from fusionzoo.report.svg import Series
from fusionzoo.report.training import save_overlay, training_page, write_training_page

NAMES = ["wall", "<b>floor</b>", "box"]


def run(out: Path, epochs: int = 3, steps: int = 2) -> list[dict[str, Any]]:
    """A folder as `finetune` leaves it, of planted numbers; returns the lines of its epochs."""
    out.mkdir()
    (out / "settings.json").write_text(
        json.dumps({"model": "concat_x", "data": "folder:/secret/place", "epochs": epochs})
    )
    (out / "config.json").write_text(json.dumps({"class_names": NAMES}))
    lines = [{"epoch": e, "loss": 3.0 - e, "miou": [0.2, 0.5, 0.4][e - 1], "best_miou": 0.5, "seconds": 10.0 * e,
              "iou": [0.125 * e, None, 0.25]} for e in range(1, epochs + 1)]  # fmt: skip
    (out / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    of_steps = [{"step": i + 1, "epoch": 1 + i // steps, "loss": 2.0 / (i + 1), "norm": 1.0, "lr": [0.01, 0.001 * i]}
                for i in range(epochs * steps)]  # fmt: skip
    (out / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in of_steps) + '{"step": 9')
    for epoch in range(1, epochs + 1):
        rgb = np.full((40, 60, 3), 100, np.uint8)
        label, found = np.zeros((80, 120), np.uint8), np.full((80, 120), epoch % 3, np.uint8)
        label[:5] = 255
        save_overlay(out, epoch, "room/01", rgb, label, found, NAMES)
    return lines


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_the_page_shows_the_runs_numbers_and_stands_alone(tmp_path: Path) -> None:
    run(tmp_path / "run")
    path = write_training_page(tmp_path / "run")
    assert path == tmp_path / "run" / "training.html"
    page = Reader(path.read_text(encoding="utf-8"))
    kinds = [tag for tag, _ in page.tags]
    assert not {"script", "link", "iframe", "b"} & set(kinds)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 3  # label, first and best prediction
    for image in images:
        kind, _, data = str(image["src"]).partition(",")
        assert kind == "data:image/png;base64" and Image.open(io.BytesIO(b64decode(data))).size[1] >= 80
    assert [str(i["alt"]) for i in images] == ["room-01, label", "room-01, epoch 1", "room-01, epoch 2"]
    assert "Best validation mIoU: 50.0, after epoch 2" in page.text
    assert "<b>floor</b>" in page.text  # escaped: a name, not a tag
    for words in ("25.0", "3 of 3 epochs", "Learning rate", "Norm of the gradient", "folder:place"):
        assert words in page.text
    assert "secret" not in page.text
    assert not re.search(r"(?:src|href)=[\"']?https?:", path.read_text())


def test_a_run_in_its_first_epoch_has_a_page_and_another_folder_none(tmp_path: Path) -> None:
    run(tmp_path / "run", epochs=1)
    for name in ("log.jsonl", "config.json"):
        (tmp_path / "run" / name).unlink()
    assert "The first epoch has not ended yet." in training_page(tmp_path / "run")
    (tmp_path / "run" / "steps.jsonl").write_text("")
    with pytest.raises(InputError, match="no training run"):
        training_page(tmp_path / "run")


def test_overlays_are_drawn_small_and_the_label_once(tmp_path: Path) -> None:
    for epoch in (1, 2):
        big = np.zeros((1000, 500), np.uint8)
        save_overlay(tmp_path, epoch, "a b", np.zeros((10, 5, 3), np.uint8), big, big, NAMES)
    names = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert names == ["a-b_epoch00001.png", "a-b_epoch00002.png", "a-b_label.png"]
    with Image.open(tmp_path / "samples" / "a-b_label.png") as image:
        assert image.size[1] == 320


def test_a_curve_of_many_values_keeps_their_means_and_their_places() -> None:
    values = [float(i) for i in range(1, 1001)]
    points = thinned(values, 100)
    assert len(points) == 100 and points[0] == (5.5, 5.5) and points[-1] == (995.5, 995.5)
    assert thinned([None, 2.0]) == [(2, 2.0)]
    drawn = curve("k", "t", "d", [Series("a", "rgb", [1.0, 2.0, 4.0])])
    place = [tuple(map(float, p.split())) for p in re.findall(r"[ML]([\d.]+ [\d.]+)", drawn)]
    (x1, y1), (x2, y2), (x3, y3) = place
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2) and y2 - y3 == pytest.approx(2 * (y1 - y2), abs=0.2)
