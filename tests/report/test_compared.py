"""Several checkpoints on one page: the same images, one row each, chosen by the first."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fusionzoo.dissect.measures.images import Chosen
from fusionzoo.report import compared
from tests.report.conftest import typed
from tests.report.reader import Reader
from tests.report.test_gallery import example

WORST = Chosen(1, ["worst"], {"both": 0.4, "without_rgb": 0.3, "without_x": 0.2})


def test_one_row_a_checkpoint_on_the_same_images(full: dict[str, Any]) -> None:
    d = typed(full)
    mine, other = [example("a"), example("b", chosen=WORST)], [example("b", chosen=WORST), example("a")]
    text = compared.html([compared.Compared("one", d, mine), compared.Compared("two", d, other)])
    read = Reader(text)
    assert read.text("h1") == ["2 checkpoints compared"] and read.tags["table"] == 2
    assert read.text("b") == ["Typical; depth helps most", "one", "two", "Worst", "one", "two"]
    words = read.of("img", "alt")[2:]
    assert [re.split(" of |, red", w.partition(":")[0])[0].split(",")[0] for w in words[:9]] == [
        "rgb", "depth", "label", *["prediction", "wrong pixels", "modality map"] * 2,
    ]  # fmt: skip
    assert all(" a" in w for w in words[:9]) and all(" b" in w for w in words[9:]) and len(words) == 18
    assert "share of pixels that one, the first, has right" in " ".join(read.text("figcaption"))
    assert "40.0 with both, 20.0 without depth, 30.0 without rgb" in " ".join(read.text("p"))
    (policy,) = (v for v in read.of("meta", "content") if "default-src" in v)
    assert policy.endswith("img-src data:")


def test_who_has_no_pictures_is_named(full: dict[str, Any]) -> None:
    d, evil = typed(full), "<script>alert(1)</script>"
    rows = [compared.Compared("one", d, [example("a")]), compared.Compared(evil, d)]
    read = Reader(compared.html(rows))
    assert "script" not in read.tags and f"so not shown: {evil}." in " ".join(read.text("figcaption"))
    bare = Reader(compared.html([compared.Compared("one", d), compared.Compared("two", d)]))
    assert bare.tags["img"] == 0 and bare.tags["table"] == 2


def test_never_more_than_the_budget(full: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusionzoo.report.sections.gallery.BUDGET", 300_000)
    shown = [example(str(i), (240, 320), noise=True) for i in range(6)]
    text = compared.html([compared.Compared("one", typed(full), shown)] * 3)
    assert len(text) < 340_000 and 0 < text.count('class="panels"') < 6
