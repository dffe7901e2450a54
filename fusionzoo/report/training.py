"""A training run -> one page that stands alone: curves, learning rates, IoU of each class, validation images.

It is made of what the run wrote into its folder: `settings.json`, `log.jsonl`, `steps.jsonl`, and the overlays that
`save_overlay` drew at each validation into `samples/`. It can be made while the run goes on.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write, place_name, read_json
from fusionzoo.report.curves import curve, thinned
from fusionzoo.report.overlay import overlay
from fusionzoo.report.page import PICTURES, render
from fusionzoo.report.pictures import encoded
from fusionzoo.report.sections.base import Part, Plot
from fusionzoo.report.shapes import element, escape
from fusionzoo.report.svg import Series, bars
from fusionzoo.report.table import Table, clean, number, points
from fusionzoo.tasks import SEGMENTATION, spoken, stored_task, unstored

__all__ = ["SAMPLES", "save_overlay", "training_page", "write_training_page"]

SAMPLES = "samples"
SIDE = 320
"""Longest side of a picture on the page and in the folder, in pixels."""
PAGE = "training.html"


def save_overlay(
    out: Path, epoch: int, name: str, rgb: np.ndarray, label: np.ndarray, found: np.ndarray, names: Sequence[str]
) -> None:
    """Draws what a model makes of one image into `out/samples`: its prediction after `epoch`, its label once.

    Args:
        name: of the image. rgb: (h, w, 3) uint8. label, found: (H, W) classes, 255 unlabelled. names: of the classes.
    """
    height, width = label.shape
    share = min(1.0, SIDE / max(height, width))
    size = max(1, round(height * share)), max(1, round(width * share))
    picture = np.asarray(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    stem = re.sub(r"[^\w.-]+", "-", name)
    (out / SAMPLES).mkdir(parents=True, exist_ok=True)
    for kind, classes in (("label", label), (f"epoch{epoch:05d}", found)):
        path = out / SAMPLES / f"{stem}_{kind}.png"
        if kind == "label" and path.is_file():
            continue
        small = np.asarray(Image.fromarray(classes).resize((size[1], size[0]), Image.Resampling.NEAREST))
        atomic_write(path, encoded(overlay(picture, small, names), "PNG"))


def write_training_page(out: Path) -> Path:
    """Writes the page of the run in `out` to `out/training.html`, and returns where."""
    atomic_write(out / PAGE, training_page(out))
    return out / PAGE


def training_page(out: Path) -> str:
    """The page as text.

    Raises:
        InputError: no training run in `out`.
    """
    settings, epochs, steps = read_json(out / "settings.json"), _lines(out / "log.jsonl"), _lines(out / "steps.jsonl")
    if not steps:
        raise InputError(f"{out} has no steps.jsonl with a whole step in it: no training run, or none that has begun")
    task = next(map(stored_task, epochs), SEGMENTATION)
    epochs = unstored(epochs)
    scored = [line for line in epochs if line.get("miou") is not None]
    best = max(scored, key=lambda line: line["miou"], default=None)
    kicker = f"fusionzoo finetune on {settings['data'].partition(':')[0]}, {len(epochs)} of {settings['epochs']} epochs"
    columns = [_loss(steps, epochs), _rates(steps), *_scores(epochs), *_scenes(epochs), _norms(steps)]
    wide = [*_classes(out, best), *_pictures(out, best), _settings(settings)]
    columns, wide, sentences = spoken((columns, wide, _sentences(epochs, best)), task)
    name = clean(place_name(settings["model"]))
    return render(f"Training of {name}", kicker, name, columns=columns,
                  wide=wide, policy=PICTURES, sentences=sentences)  # fmt: skip


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a JSONL file; none where there is no file."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            break  # a run is writing it
    return found


def _sentences(epochs: Sequence[dict[str, Any]], best: dict[str, Any] | None) -> list[str]:
    if not epochs:
        return ["The first epoch has not ended yet."]
    said = [
        f"{len(epochs)} epochs took {epochs[-1]['seconds']:.0f} s; the last one's mean loss is {epochs[-1]['loss']}."
    ]
    if best is not None:
        said.append(
            f"Best validation mIoU: {100 * best['miou']:.1f}, after epoch {best['epoch']}; its weights are kept."
        )
    return said


def _curve(key: str, title: str, series: Sequence[Series], caption: str, table: Table, **options: Any) -> Part:
    words = "; ".join(f"{s.name}: {_ends(s)}" for s in series)
    return Part(title, Plot(curve(key, title, words, series, **options), caption), table)


def _ends(series: Series) -> str:
    points = thinned(series.values)
    return f"from {points[0][1]:.4g} to {points[-1][1]:.4g}" if points else "no value"


def _loss(steps: Sequence[dict[str, Any]], epochs: Sequence[dict[str, Any]]) -> Part:
    rows = tuple((str(line["epoch"]), f"{line['loss']:.4f}", f"{line['seconds']:.0f}") for line in epochs)
    return _curve("loss", "Loss", [Series("training loss", "rgb", [line["loss"] for line in steps])],
                  "Training loss of every step; means where there are many.",
                  Table("Loss", ("epoch", "mean loss", "seconds"), rows, ">>>"))  # fmt: skip


def _rates(steps: Sequence[dict[str, Any]]) -> Part:
    highest, lowest = ([line["lr"][i] for line in steps] for i in (0, -1))
    series = [Series("highest", "rgb", highest)]
    if highest != lowest:
        series.append(Series("lowest", "x", lowest))
    rows = tuple((f"{at:.0f}", f"{value:.3g}") for at, value in thinned(highest, 20))
    return _curve("rates", "Learning rate", series, "Of the parameter groups with the highest and lowest rate.",
                  Table("Highest learning rate", ("step", "rate"), rows, ">>"))  # fmt: skip


def _norms(steps: Sequence[dict[str, Any]]) -> Part:
    values = [line["norm"] for line in steps]
    rows = tuple((f"{at:.0f}", f"{value:.3g}") for at, value in thinned(values, 20))
    return _curve("norms", "Norm of the gradient", [Series("before clipping", "both", values)],
                  "Of all parameters together, before clipping.",
                  Table("Norm of the gradient", ("step", "norm"), rows, ">>"))  # fmt: skip


def _scores(epochs: Sequence[dict[str, Any]]) -> list[Part]:
    values = [None if line["miou"] is None else 100 * line["miou"] for line in epochs]
    rows = tuple((str(line["epoch"]), points(line["miou"])) for line in epochs if line["miou"] is not None)
    if not rows:
        return []
    table = Table("Validation mIoU", ("epoch", "mIoU"), rows, ">>")
    series = [Series("mIoU", "fused", values)]
    return [_curve("miou", "Validation mIoU", series, "Of the weights that are saved, x 100.", table, x_label="epoch")]


def _scenes(epochs: Sequence[dict[str, Any]]) -> list[Part]:
    """Of a joint model: balanced accuracy of the scene types."""
    values = [None if line.get("scene") is None else 100 * line["scene"]["miou"] for line in epochs]
    rows = tuple((str(line["epoch"]), number(v, 1)) for line, v in zip(epochs, values, strict=True) if v is not None)
    if not rows:
        return []
    title = "Validation balanced accuracy of scenes"
    series = [Series("balanced accuracy", "fused", values)]
    return [_curve("scenes", title, series, "Of the weights that are saved, x 100.",
                   Table(title, ("epoch", "balanced accuracy"), rows, ">>"), x_label="epoch")]  # fmt: skip


def _classes(out: Path, best: dict[str, Any] | None) -> list[Part]:
    """IoU of each class at the best validation."""
    if best is None or best.get("iou") is None or not (out / "config.json").is_file():
        return []
    names = [clean(name) for name in read_json(out / "config.json")["class_names"]]
    rows = [(name, None if v is None else 100 * v) for name, v in zip(names, best["iou"], strict=True)]
    title = f"IoU of each class after epoch {best['epoch']}"
    table = Table(title, ("class", "IoU"), tuple((name, number(v, 1)) for name, v in rows))
    words = ", ".join(f"{name} {number(v, 1)}" for name, v in rows)
    drawn = bars("classes", title, words, [(name, v, "fused") for name, v in rows])
    return [Part(title, Plot(drawn, "x 100; - where a class is neither labelled nor predicted."), table)]


def _pictures(out: Path, best: dict[str, Any] | None) -> list[Part]:
    """A row an image: its label, the first prediction, that of the best validation."""
    folder = out / SAMPLES
    rows = []
    for label in sorted(folder.glob("*_label.png")) if folder.is_dir() else ():
        stem = label.name.removesuffix("_label.png")
        shown = sorted(folder.glob(f"{_literal(stem)}_epoch*.png"))
        chosen = [p for p in shown if best is not None and p.stem.endswith(f"epoch{best['epoch']:05d}")] or shown[-1:]
        row = [("label", label), *((f"epoch {int(p.stem[-5:])}", p) for p in dict.fromkeys([*shown[:1], *chosen]))]
        rows.append("".join(_picture(f"{stem}, {what}", path) for what, path in row))
    if not rows:
        return []
    drawn = "".join(element("div", row, class_="samples") for row in rows)
    return [Part("Validation images", Plot(drawn, "Each with its label, its first and its best prediction."))]


def _literal(stem: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", stem)


def _picture(words: str, path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    image = element("img", alt=words, src=f"data:image/png;base64,{data}")
    return element("div", image.removesuffix("</img>") + element("div", escape(words), class_="note"))


def _settings(settings: dict[str, Any]) -> Part:
    """All of them; of a place on this machine the last part."""
    kind, colon, path = str(settings["data"]).partition(":")
    places = {key: Path(str(settings[key])).name for key in ("init", "cache_dir") if settings.get(key)}
    places |= {key: place_name(settings[key]) for key in ("model", "teacher") if settings.get(key)}
    shown = settings | places | {"data": f"{kind}{colon}{Path(path).name}"}
    rows = tuple((clean(key), clean(json.dumps(value, ensure_ascii=False))) for key, value in shown.items())
    return Part("Settings", table=Table("Settings", ("setting", "value"), rows, "<<"))
