"""The card of a checkpoint: what it says of a record, and that nothing in a record is markup."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from fusionzoo.files import read_json
from fusionzoo.hub.card import HUB_LICENCES, card
from fusionzoo.hub.records import Record, bundled, bundled_folder

CONFIG: dict[str, Any] = {
    "preprocess": {
        "rgb_mean": [0.485, 0.456, 0.406], "rgb_std": [0.229, 0.224, 0.225], "x_kind": "depth", "x_scale": 1.0,
        "x_mean": [2.8424], "x_std": [1.4172],
    },
    "input_size": [120, 160],
}  # fmt: skip
LEAST = Record(name="concat_a_b.local", architecture="concat_a_b", files={}, num_params=1_234_567)


def titles(text: str) -> list[str]:
    return re.findall(r"^## (.*)$", text, re.MULTILINE)


def test_a_record_that_says_nothing_more() -> None:
    text = card(LEAST, CONFIG)
    assert titles(text) == ["Preprocessing", "Results", "How it was made", "Licence of the weights"]
    assert text.count("Not stated.") == 1 and "None stated." in text and "1,234,567 parameters" in text
    assert 'from_pretrained("path/to/this/folder")' in text and "160 x 120 (width x height)" in text
    assert ModelCard(text).data.license == "other"


def test_sections_stand_after_the_results_and_credits_after_the_citation() -> None:
    text = card(replace(LEAST, citation="Us, 2026"), CONFIG, sections=["## Found\n\nMuch.\n"], credits="And them.\n")
    assert titles(text)[1:4] == ["Results", "Found", "How it was made"]
    assert text.endswith("## Citation\n\nUs, 2026\n\nAnd them.\n")


@pytest.mark.parametrize("licence", [*HUB_LICENCES, "MIT", "Our Terms 1.0"])
def test_a_licence_that_the_hub_does_not_know_keeps_its_name(licence: str) -> None:
    data = ModelCard(card(replace(LEAST, licence=licence), CONFIG)).data
    known = licence != "Our Terms 1.0"
    assert (data.license, data.get("license_name")) == ((licence.lower(), None) if known else ("other", licence))


def test_nothing_in_a_record_is_markup() -> None:
    evil = 'x"\n---\nlicense: gpl\n<script>|```[a](b)\x1b[31m'
    fields = dict.fromkeys(("licence", "licence_note", "origin", "citation"), evil)
    made: dict[str, Any] = {
        "classes": [evil], "modalities": [evil], "recipe": {"command": evil, "init": evil},
        "conversion": {"method": evil}, "data": [{"name": evil, "split": evil, "licence": evil}],
        "metrics": [{"data": evil, "split": evil, "protocol": evil, "miou": 0.5, "who": evil}],
    }  # fmt: skip
    text = card(Record.from_dict({**LEAST.to_dict(), **fields, **made, "files": {}}), CONFIG, source=evil)
    assert ModelCard(text).data.license == "other" and text.count("\n---\n") == 1 and "\x1b" not in text
    body = re.sub(r"```(sh|python)\n.*?\n```", "", text.split("\n---\n")[1], flags=re.DOTALL)
    outside = re.sub(r"`[^`\n]*`", "", body.replace(r"\`", ""))
    assert "script" in outside and not re.search(r"(?<!\\)<script|`|(?<!\\)\[a", outside)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 8 for line in body.splitlines() if line.startswith("|"))


@pytest.mark.parametrize("name", list(bundled()))
def test_bundled_cards_have_this_skeleton(name: str) -> None:
    """What stands beside the weights is this text, with the dissection's section and credits put in."""
    folder: Path = bundled_folder(name)
    stored = (folder / "README.md").read_text(encoding="utf-8")
    made = card(bundled()[name], read_json(folder / "config.json"), source=name)
    before, _, after = made.partition("## How it was made")
    head, _, rest = before.partition("## Results")
    assert stored.startswith(head) and after.partition("## Citation")[0] in stored
    assert rest.strip() in stored
