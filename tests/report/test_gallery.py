"""Pictures by their colours, words by what they say, the box by its budget."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fusionzoo.dissect.measures.images import Chosen
from fusionzoo.dissect.results.examples import Example, Shares
from fusionzoo.report import html as page
from fusionzoo.report import pictures
from fusionzoo.report.panels import panels, sheet, x_scale
from fusionzoo.report.sections.gallery import BUDGET, gallery
from fusionzoo.report.style import LIGHT
from tests.report.reader import Reader

H, W = 24, 32
PALE = 150 + 0.4 * 100  # of an image that is grey 100


def rgb_of(word: str) -> np.ndarray:
    return np.array(list(bytes.fromhex(LIGHT[word][1:])))


def example(name: str = "a", size: tuple[int, int] = (H, W), noise: bool = False, **changed: Any) -> Example:
    """Left half wall, right half poster; a wrong corner; rgb drives the left half, depth the right."""
    h, w = size
    label = np.zeros((h, w), np.int64)
    label[:, w // 2 :] = 1
    both = label.copy()
    both[:4, :4] = 2
    label[-2:] = 255
    drives = np.where(np.arange(w) < w // 2, 0.8, 0.0).astype(np.float32) * np.ones((h, 1), np.float32)
    missing = np.zeros((h, w), bool)
    missing[:6] = True
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (h, w, 3)).astype(np.uint8) if noise else np.full((h, w, 3), 100, np.uint8)
    values: dict[str, Any] = {
        "id": name, "rgb": rgb, "x": np.tile(np.linspace(1, 5, w, dtype=np.float32), (1, h, 1)), "missing": missing,
        "predicted": {"both": both, "without_rgb": both * 0, "without_x": both, "neither": both * 0},
        "predicted_class": Shares(drives, 0.8 - drives), "true_class": Shares(drives, 0.8 - drives),
        "class_names": ["wall", "poster", "rug"], "modalities": ("rgb", "depth"), "x_kind": "depth",
        "absence": "mean", "label": label,
        "chosen": Chosen(3, ["typical", "x helps most"], {"both": 0.9, "without_rgb": 0.5, "without_x": 0.9}),
    }  # fmt: skip
    return Example(**{**values, **changed})


def near(pixel: np.ndarray, colour: Any, by: float = 1) -> bool:
    return bool(np.abs(pixel.astype(float) - np.asarray(colour, float)).max() <= by)


def test_the_modality_map_has_the_colours_of_the_modalities() -> None:
    balance = np.array([[1, -1, 0, 1, 0.5, np.nan, -3]], np.float32)
    strength = np.array([[1, 1, 1, 0, 0.5, np.nan, 5]], np.float32)
    made = pictures.modality_picture(np.full((1, 7, 3), 100, np.uint8), balance, strength)[0]
    half = (rgb_of("both") + rgb_of("rgb")) / 2
    for pixel, want in zip(
        made,
        (rgb_of("rgb"), rgb_of("x"), rgb_of("both"), [PALE] * 3, (half + PALE) / 2, [PALE] * 3, rgb_of("x")),
        strict=True,
    ):
        assert near(pixel, want)
    legend = pictures.modality_legend(101, 31)
    assert near(legend[-1, 0], rgb_of("x")) and near(legend[-1, -1], rgb_of("rgb"))
    assert near(legend[-1, 50], rgb_of("both")) and (legend[0] > 180).all(), "pale where nothing matters"


def test_harm_is_marked_on_every_colour() -> None:
    """A thin dark and a thin light line across the pixels that a modality harms, and nowhere else."""
    rgb = np.array([[0.5, 0.5, -0.5, -0.5, 0.05, np.nan]], np.float32).repeat(12, 1).repeat(12, 0)
    x = np.array([[0.3, -0.2, 0.2, -0.4, -0.05, np.nan]], np.float32).repeat(12, 1).repeat(12, 0)
    shares = Shares(rgb, x)
    columns = [bool(shares.harmed[:, i : i + 12].all()) for i in range(0, 72, 12)]
    assert columns == [False, True, True, True, False, False] and not shares.harmed[:, :12].any()
    plain, marked = (
        pictures.modality_picture(np.full((12, 72, 3), 100, np.uint8), shares.balance, shares.strength, h).astype(int)
        for h in (None, shares.harmed)
    )
    changed = (plain != marked).any(2)
    assert not changed[:, :12].any() and not changed[:, 48:].any()
    for i in (12, 24, 36):
        part = marked[:, i : i + 12][changed[:, i : i + 12]]
        assert {tuple(c) for c in part.tolist()} == {(0, 0, 0), (255, 255, 255)}
        assert 0.2 < changed[:, i : i + 12].mean() < 0.5, "the colour is still seen"
    words = panels(example(predicted_class=Shares(np.full((H, W), 0.4, np.float32),
                   np.where(np.arange(W) < W // 4, -0.3, 0.3).astype(np.float32) * np.ones((H, 1), np.float32))),
                   (0.0, 1.0))[-2].words  # fmt: skip
    assert words.endswith(
        "neither matters in 0 % of the pixels, depth does harm in 25 % of the pixels (mostly wall and rug)"
    )
    legend = pictures.harm_legend(60, 30)
    blue, orange = legend[:, :30].reshape(-1, 3).astype(int), legend[:, 30:].reshape(-1, 3).astype(int)
    assert (blue[:, 2] > blue[:, 0] + 30).mean() > 0.5 and (orange[:, 0] > orange[:, 2] + 30).mean() > 0.5
    assert (blue == 0).all(1).any() and (orange == 255).all(1).any()


def test_each_picture_shows_what_its_words_say() -> None:
    made = {p.name: p for p in panels(example(), x_scale([example()]))}
    predicted = [f"predicted_{c}" for c in ("both", "without_x", "without_rgb")]
    maps = ["modality_map_predicted", "modality_map_true"]
    assert list(made) == ["rgb", "x", "label", *predicted, "errors", *maps]
    assert near(made["errors"].picture[1, 1], rgb_of("bad")) and near(made["errors"].picture[10, 10], [PALE] * 3)
    assert near(made["errors"].picture[-1, 1], [0.75 * PALE] * 3) or near(
        made["errors"].picture[-1, 4], [0.75 * PALE] * 3
    )
    assert near(
        made["modality_map_true"].picture[10, 2], 0.8 * (0.8 * rgb_of("rgb") + 0.2 * rgb_of("both")) + 0.2 * PALE
    )
    assert near(
        made["modality_map_true"].picture[10, -2], 0.8 * (0.8 * rgb_of("x") + 0.2 * rgb_of("both")) + 0.2 * PALE
    )
    assert near(made["label"].picture[-1, 1], [100] * 3), "unlabelled stays bare"
    assert made["x"].words == "depth of a; 25.0 % of the pixels have no value, hatched"
    assert made["label"].words == "label of a: wall 50 %, poster 50 %"
    assert "rug 2 %" in made["predicted_both"].words and made["predicted_both"].words.endswith("97.7 % right")
    assert made["predicted_without_rgb"].words == "prediction without rgb of a: wall 100 %; 50.0 % right"
    assert made["errors"].words == "wrong pixels of a, red: 2.3 %; most often wall taken for rug"
    assert made["modality_map_true"].words == (
        "modality map, true class, of a: rgb speaks more in 50 % of the pixels (mostly wall),"
        " depth in 50 % of the pixels (mostly poster), both alike in 0 % of the pixels, neither matters"
        " in 0 % of the pixels"
    )
    share = np.full((H, W), 0.4, np.float32)  # the top quarter: both alike; the next: neither
    share[: H // 4], share[H // 4 : H // 2] = 0.3, 0.01
    mixed = panels(example(predicted_class=Shares(share, np.where(share == np.float32(0.4), 0.0, share))), (0.0, 1.0))
    assert mixed[-2].words == (
        "modality map, predicted class, of a: rgb speaks more in 50 % of the pixels (mostly wall and poster),"
        " depth in 0 % of the pixels, both alike in 25 % of the pixels, neither matters in 25 % of the pixels"
    )
    bare = panels(example(label=None, true_class=None), (0.0, 1.0))
    assert [p.name for p in bare if p.name in ("label", "errors", "modality_map_true")] == []


def test_the_page_holds_the_pictures_and_nothing_else(example_page: str) -> None:
    read = Reader(example_page)
    assert not {"script", "link", "iframe", "object", "form"} & set(read.tags)
    assert not [k for _, k, _ in read.attributes if k.startswith("on") or k in ("href", "srcset")]
    assert read.tags["img"] == 2 * 9 + 2 and all(len(words) > 7 for words in read.of("img", "alt"))
    assert all(s.startswith("data:image/jpeg;base64,") for s in read.of("img", "src"))
    (policy,) = (v for v in read.of("meta", "content") if "default-src" in v)
    assert policy.endswith("img-src data:") and "script-src" not in policy
    assert "Images" in read.text("h2") and "Typical; depth helps most" in read.text("b")
    first = np.asarray(Image.open(io.BytesIO(base64.b64decode(read.of("img", "src")[2].partition(",")[2]))))
    assert first.shape == (H, W, 3) and near(first[12, 12], [100] * 3, 4)


@pytest.fixture
def example_page(full: dict[str, Any]) -> str:
    return page(full, None, (), examples=[example("a"), example("b")])


def test_without_pictures_the_policy_forbids_them(full: dict[str, Any]) -> None:
    text = page(full, None, ())
    assert "img-src" not in text and "<img" not in text and gallery([]) is None


def test_names_cannot_inject(full: dict[str, Any]) -> None:
    evil = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&"
    bad = example(evil, class_names=[evil, "b", "c"], modalities=("rgb", evil))
    read = Reader(page(full, None, (), examples=[bad]))
    assert "script" not in read.tags and read.tags["img"] == 11
    assert not [k for _, k, _ in read.attributes if k.startswith("on")]


@pytest.mark.parametrize(("count", "widest", "shown"), [(2, 160, 2), (12, 120, 5)])
def test_never_more_than_the_budget(monkeypatch: pytest.MonkeyPatch, count: int, widest: int, shown: int) -> None:
    """Images of pure noise, which no format makes small, are shown smaller, and then fewer."""
    budget = 600_000
    monkeypatch.setattr("fusionzoo.report.sections.gallery.BUDGET", budget)
    made = gallery([example("n", (240, 320), noise=True)] * count)
    assert made is not None and made.plot is not None and BUDGET < 3_000_000 - budget
    read = Reader(made.plot.drawing)
    assert set(read.of("img", "width")[2:]) == {str(widest)}
    assert len(made.plot.drawing) < budget + 20_000 and made.plot.drawing.count('class="panels"') == shown


def test_a_sheet_has_every_picture_and_the_legend() -> None:
    made = np.asarray(sheet(example()))
    wide, tall = 320, 240
    assert made.shape[1] == 3 * wide + 40 and made.shape[0] > 3 * (tall + 30) + 60
    assert near(made[20 + 120, 10 + 160], [100] * 3), "rgb first"
    third = made[20 + 2 * (tall + 30) :]
    assert near(third[120, 10 + 2], [PALE] * 3) and near(third[10, 12], rgb_of("bad")), "errors begin the third row"
    shown = sheet(example(label=None, true_class=None))
    assert shown.size[1] < made.shape[0] - tall


def test_thin_pictures_and_other_inputs() -> None:
    grey = example(x=np.full((1, H, W), 7, np.float32), missing=np.ones((H, W), bool))
    assert panels(grey, x_scale([grey]))[1].words.startswith("depth of a; 100.0 %")
    three = np.stack([np.full((H, W), v, np.float32) for v in (10, 300, 200)])
    hha = example(x=three, modalities=("rgb", "hha"), missing=np.zeros((H, W), bool))
    assert near(panels(hha, x_scale([hha]))[1].picture[5, 5], (10, 255, 200))
    narrow = example(size=(40, 2))
    assert re.match("rgb", panels(narrow, x_scale([narrow]))[0].title) and sheet(narrow).size[0] == 1000
