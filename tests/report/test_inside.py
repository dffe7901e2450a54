"""Pictures from inside the streams: colours as given, words that say what is seen, one page with all of it."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from fusionzoo.dissect.results.examples import Example, Inside, Sight, StageView, Weight
from fusionzoo.report import html as page
from fusionzoo.report import pictures
from fusionzoo.report.inside import inside
from fusionzoo.report.style import LIGHT
from tests.report.reader import Reader
from tests.report.test_gallery import PALE, H, W, example, near, rgb_of

FEATURES = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def looked_into(name: str = "a") -> Example:
    """One stage with three pictures and a weight of each kind; a poster that rgb sees and depth does not."""
    level = np.linspace(0, 1, 8, dtype=np.float32) * np.ones((6, 1), np.float32)
    view = StageView(
        3,
        {"rgb": FEATURES, "x": FEATURES[::-1], "fused": FEATURES * 0},
        {"rgb": 0.41, "x": 0.41, "fused": 0.9},
        ["fused"],
        [
            Weight("agreement", "how alike", level),
            Weight("trust", "share", level, mixture=True),
            Weight("mask_x", "kept", level, replaced=level < 0.5),
            Weight("channels", "gate", np.linspace(0, 1, 10, dtype=np.float32)[None]),
        ],
    )
    mask = np.zeros((H, W), bool)
    mask[:12, :16] = True
    sure = np.where(mask, 3.0, -9.0).astype(np.float32)
    sight = Sight("poster", 3, mask, np.zeros((H, W), bool), {"rgb": sure, "x": sure * 0 - 1}, {"rgb": 0.5, "x": None})
    return example(name, inside=Inside([view], [sight]))


def test_features_and_weights() -> None:
    stage, _ = inside(looked_into())
    made = {p.name: p for p in stage.panels}
    assert stage.title == "Stage 3: colours show 41 % of the variance"
    assert [p.title for p in stage.panels] == [
        "rgb", "depth", "fused, colours of its own (90 % of the variance)", "agreement", "trust", "mask_x", "channels",
    ]  # fmt: skip
    assert np.array_equal(made["stage3_rgb"].picture, FEATURES)
    assert made["stage3_x"].words == (
        "depth features of a at stage 3 as colours, 8x6 positions; they show 41 % of the variance"
    )
    dark, bright = made["stage3_agreement"].picture[0, [0, -1]]
    assert near(dark, (68, 1, 84)) and near(bright, (253, 231, 37)), "viridis from 0 to 1"
    assert made["stage3_agreement"].words.endswith("(how alike), of a: 0.00 to 1.00, mean 0.50")
    x, rgb = made["stage3_trust"].picture[0, [0, -1]]
    assert near(x, rgb_of("x")) and near(rgb, rgb_of("rgb")), "the modality with the weight gives the colour"
    plain = made["stage3_agreement"].picture
    changed = (made["stage3_mask_x"].picture != plain).any(2)
    assert changed[:, :4].any() and not changed[:, 4:].any() and "replaced in 50 %" in made["stage3_mask_x"].words
    assert made["stage3_channels"].picture.shape == (2, 10, 3) and "10 in all" in made["stage3_channels"].words


def test_where_a_stream_sees_a_concept() -> None:
    _, seen = inside(looked_into())
    made = {p.name: p for p in seen.panels}
    assert seen.title == "poster, at stage 3" and [p.title for p in seen.panels] == [
        "where it is", "rgb, IoU 50.0", "depth, IoU -",
    ]  # fmt: skip
    mask, rgb, x = (made[f"concept_poster_{part}"] for part in ("mask", "rgb", "x"))
    assert near(mask.picture[3, 3], 0.85 * rgb_of("both") + 0.15 * PALE) and near(mask.picture[-2, -2], [PALE] * 3)
    assert near(rgb.picture[3, 3], 0.95 * rgb_of("rgb") + 0.05 * PALE) and near(rgb.picture[-2, -2], [PALE] * 3)
    assert near(x.picture[-2, -2], 0.2 * rgb_of("x") + 0.8 * PALE), "faint where it is close to a yes"
    for p in (rgb, x):
        black = (p.picture == 0).all(2)
        assert black[:12, 15].all() and black[11, :16].all() and black.sum() == 12 + 16 - 1, "the outline of the mask"
    assert rgb.words.endswith("says yes in 25.0 % of the image, 100 % of that inside the mask; set IoU 50.0")


def test_tinted() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    made = pictures.tinted(image, np.array([[0, 0.5], [1, 7]]), LIGHT["rgb"])
    assert near(made[0, 0], [PALE] * 3) and near(made[0, 1], (PALE + rgb_of("rgb")) / 2)
    assert near(made[1, 0], rgb_of("rgb")) and near(made[1, 1], rgb_of("rgb"))


def test_the_page_shows_them_and_says_how_to_read_them(full: dict[str, Any]) -> None:
    read = Reader(page(full, None, (), examples=[looked_into("a"), looked_into("b"), example("c")]))
    assert read.tags["img"] == 2 + 3 * 9 + 2 * (7 + 3)
    assert read.text("summary").count("Inside the streams: a") == 1 and "Stage 3: colours" in " ".join(read.text("p"))
    assert "principal components" in " ".join(read.text("figcaption"))
    opened = [v for t, k, v in read.attributes if (t, k) == ("details", "open")]
    assert len(opened) == 1, "the first image's alone"
    raw = [s for s in read.of("img", "src") if s.startswith("data:image/png")]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(raw[0].partition(",")[2]))))
    assert np.array_equal(shown, FEATURES), "features pixel by pixel"
    assert "principal" not in page(full, None, (), examples=[example("c")])


def test_names_cannot_inject(full: dict[str, Any]) -> None:
    evil = "\"><script>alert(1)</script>'&/../x"
    made = looked_into(evil)
    assert made.inside is not None
    weight = Weight(evil, evil, np.zeros((2, 2), np.float32))
    held = Inside([StageView(1, weights=[weight])], [Sight(evil, 1, *_flat(), {"rgb": _flat()[0] * 1.0}, {})])
    e = example(evil, inside=held)
    assert all("/" not in p.name and "<" not in p.name for group in inside(e) for p in group.panels)
    assert "script" not in Reader(page(full, None, (), examples=[e])).tags


def _flat() -> tuple[Any, Any]:
    return np.zeros((H, W), bool), np.zeros((H, W), bool)
