"""Planted salient objects: the mask is of the patches that the rules call salient."""

from __future__ import annotations

import colorsys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fusionzoo import check
from fusionzoo.data import parse_spec
from fusionzoo.data.planted_layout import Slot
from fusionzoo.data.planted_render import render
from fusionzoo.data.planted_saliency import PlantedSaliency
from fusionzoo.models import create_model

SIZE = (48, 64)
HUES = {"red": 0.0, "orange": 0.075, "green": 0.335, "teal": 0.49, "blue": 0.62, "violet": 0.725}


def hue_of(slot: Slot) -> str | None:
    """Name of the patch's colour; None where it wears the wall's."""
    if slot.colours is None:
        return None
    hue = colorsys.rgb_to_hsv(*slot.colours[0])[0]
    return min(HUES, key=lambda name: min(abs(hue - HUES[name]), 1 - abs(hue - HUES[name])))


def by_hand(slot: Slot) -> bool:
    """Whether a patch is salient, by its hue and its relief alone."""
    side = (slot.relief > 0) - (slot.relief < 0)
    return (hue_of(slot), side) in {(None, 1), ("red", 0), ("green", 1), ("teal", -1), ("orange", 1)}


def test_the_mask_is_of_the_patches_that_stand_out_by_the_rules() -> None:
    data = PlantedSaliency("train", n=30, size=SIZE)
    shares = []
    for i in range(30):
        layout, sample = data.layout(i), data[i]
        marked = replace(layout, slots=tuple(replace(s, concept=7 if by_hand(s) else 6) for s in layout.slots))
        wanted = render(marked, SIZE, np.random.default_rng(0)).label == 7
        assert np.array_equal(sample["label"].numpy() == 1, wanted) and sample["label"].dtype == torch.int64
        shares.append(float(wanted.mean()))
    assert 0.03 < np.mean(shares) < 0.3 and data.task == "saliency" and data.num_classes == 2


def test_each_look_is_dealt_equally_often_and_neither_input_tells_green_and_teal() -> None:
    slots = [s for i in range(120) for s in PlantedSaliency("train", n=120, size=SIZE).layout(i).slots]
    seen = Counter((hue_of(s), (s.relief > 0) - (s.relief < 0)) for s in slots)
    once = [("red", 0), ("blue", 0), (None, 1), (None, -1), ("orange", 1), ("violet", -1)]
    twice = [("green", 1), ("green", -1), ("teal", 1), ("teal", -1)]
    assert set(seen) == {*once, *twice}
    for look, share in {**dict.fromkeys(once, 1 / 14), **dict.fromkeys(twice, 2 / 14)}.items():
        assert abs(seen[look] - share * len(slots)) < 4 * (len(slots) * share * (1 - share)) ** 0.5, look
    for hue in ("green", "teal"):  # colour is the same for both truths
        assert {by_hand(s) for s in slots if hue_of(s) == hue} == {True, False}
    for side in (1, -1):  # and so is relief, of coloured patches
        assert {by_hand(s) for s in slots if s.colours is not None and s.relief * side > 0} == {True, False}


def test_one_word_names_it_for_any_command() -> None:
    data = parse_spec("planted-saliency", split="val", limit=2, size=SIZE, cache=True)
    assert [s["id"] for s in data] == [f"planted-saliency-val-s0-0000{i}" for i in range(2)]
    assert data.describe()["class_names"] == ["background", "salient"] and data.x_kind == "depth"


def test_a_check_is_no_failure_for_want_of_concepts_of_one_modality(tmp_path: Path) -> None:
    """No concept is of rgb or x alone, so that there is no truth to be missed."""
    torch.manual_seed(0)
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=2)
    model.set_classes(["background", "salient"])
    model.save_pretrained(tmp_path / "model")
    data = PlantedSaliency("test", n=20, size=SIZE)
    done = check(str(tmp_path / "model"), data, out=None, progress=False)
    assert done.dissection is not None and done.dissection.concepts is not None and done.dissection.planted is None
    assert not [f.text for f in done.findings if f.level == "fail"] and done.exit_status == 0
