from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from fusionzoo.report import html as page
from fusionzoo.report import style
from tests.report.reader import Reader


@pytest.fixture
def read(example: dict[str, Any], checks: list[dict[str, Any]], findings: list[str]) -> Reader:
    return Reader(page(example, checks, findings))


def test_the_page_stands_alone(
    example: dict[str, Any], checks: list[dict[str, Any]], findings: list[str], read: Reader
) -> None:
    text = page(example, checks, findings)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "base"} & set(read.tags)
    assert not {k for _, k, _ in read.attributes} & {"src", "href", "srcset", "action", "data", "style"}
    assert not [k for _, k, _ in read.attributes if k.startswith("on")]
    assert set(re.findall(r"[a-z]+://[^\"'<) ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in text and "@import" not in text
    policy = [v for t, k, v in read.attributes if t == "meta" and k == "content" and "default-src" in v]
    assert policy and "default-src 'none'" in policy[0] and "script-src" not in policy[0]


def test_answer_then_evidence(read: Reader, findings: list[str]) -> None:
    assert read.text("h1") == ["hybrid_mobilenetv1-025_fpn.planted"]
    assert read.text("li") == findings
    assert read.text("h2") == [
        "Segmentation: mIoU",
        "Similarity of the rgb and the depth stream (CKA)",
        "Semantic variance",
        "Which stream encodes what: stage 5",
        "Planted truth",
        "Concepts over stages",
        "Dead and saturated probes",
        "How this was made",
    ]


def test_every_plot_has_words_and_a_table(read: Reader) -> None:
    assert read.tags["svg"] == 5 == read.tags["figure"] == read.tags["figcaption"]
    assert read.text("summary").count("Numbers") == 5
    labelled = [v.split() for t, k, v in read.attributes if t == "svg" and k == "aria-labelledby"]
    ids = Counter(v for _, k, v in read.attributes if k == "id")
    assert max(ids.values()) == 1, "ids are unique"
    assert all(i in ids for pair in labelled for i in pair)
    assert ("html", "lang", "en") in read.attributes
    assert read.tags["table"] >= 9 and ("meta", "name", "viewport") in read.attributes


def test_the_numbers_are_there(read: Reader, example: dict[str, Any]) -> None:
    cells = read.text("td")
    iou = example["levels"][3]["concept_iou"]["rgb"][4]
    assert f"{100 * iou:.1f}" in cells
    assert "-31.1 ±0.8" in cells
    assert read.text("caption").count("Concept set IoU by stream and stage") == 1
    assert read.text("b") == ["OK"]


def test_names_cannot_inject(example: dict[str, Any]) -> None:
    evil = "\"><img src=x onerror=alert(1)><style>*{display:none}</style>'&"
    example["model"].update(name=evil, source=evil, architecture=evil, modalities=["rgb", evil])
    example["data"].update(name=evil, class_names=[evil + str(i) for i in range(13)], concepts={})
    for row in example["planted"]["rows"]:
        row.update(concept=evil, kind=evil)
    for probe in example["probes"]:
        probe["name"] = evil
    example["protocol"]["versions"] = {evil: evil}
    reader = Reader(page(example, [{"check": evil, "ok": True, "detail": evil}], [evil]))
    assert "img" not in reader.tags and reader.tags["style"] == 1
    assert not [k for _, k, _ in reader.attributes if k.startswith("on")]
    assert evil in reader.text("h1")[0]


def test_a_model_with_one_stream_still_has_a_page(example: dict[str, Any]) -> None:
    example["planted"] = None
    for level in example["levels"]:
        level.update(cka={"gap": None, "pix": None}, semantic_variance={})
        level["concept_iou"] = {"rgb": level["concept_iou"]["rgb"]}
    reader = Reader(page(example, None, ()))
    assert reader.tags["svg"] == 3
    example["levels"], example["probes"] = [], []
    assert Reader(page(example, None, ())).tags["svg"] == 1


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """WCAG 2.2 contrast ratio."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_contrast(colours: dict[str, str]) -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert set(style.LIGHT) == set(style.DARK)
    for ground in ("back", "panel"):
        for words in ("ink", "faint", "good", "bad", "x"):
            assert contrast(colours[words], colours[ground]) >= 4.5, (words, ground)
        for sign in ("rgb", "x", "fused", "both", "heat"):
            assert contrast(colours[sign], colours[ground]) >= 3, (sign, ground)
    for fill in ("rgb", "x", "both"):
        assert contrast(colours[fill], colours["track"]) >= 3, fill
