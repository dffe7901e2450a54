"""Planted salient objects: the mask is of the patches that the rules call salient."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch

from fusionzoo.data import parse_spec
from fusionzoo.data.planted_layout import Slot
from fusionzoo.data.planted_render import render
from fusionzoo.data.planted_saliency import BLUE, GREEN, ORANGE, RED, VIOLET, PlantedSaliency

SIZE = (48, 64)


def by_hand(slot: Slot) -> bool:
    """Whether a patch is salient, by its hue and its relief alone."""
    if slot.colours is None:
        return slot.relief > 0
    red, green, blue = (v / max(slot.colours[0]) for v in slot.colours[0])
    hue = {"red": red > 0.9 and green < 0.5 and blue < 0.5, "green": green > 0.9, "orange": red > 0.9 and green > 0.5}
    if slot.relief == 0:
        return hue["red"]
    return slot.relief > 0 and (hue["green"] or hue["orange"] or hue["red"])


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


def test_each_look_is_dealt_equally_often_and_neither_input_tells_all() -> None:
    slots = [s for i in range(120) for s in PlantedSaliency("train", n=120, size=SIZE).layout(i).slots]
    seen: Counter[tuple[bool, str, bool]] = Counter()
    for s in slots:
        relief = "flat" if s.relief == 0 else "out" if s.relief > 0 else "in"
        seen[s.colours is None, relief, by_hand(s)] += 1
    total, tenth = len(slots), len(slots) / 10
    bare = {key[1:]: n for key, n in seen.items() if key[0]}
    painted = {key[1:]: n for key, n in seen.items() if not key[0]}
    expected_bare = {("out", True): 1, ("in", False): 1}
    expected = {("flat", True): 1, ("flat", False): 2, ("out", True): 3, ("in", False): 2}
    for found, wanted in ((bare, expected_bare), (painted, expected)):
        assert set(found) == set(wanted)
        for key, tenths in wanted.items():  # four standard errors of a count
            assert abs(found[key] - tenths * tenth) < 4 * (total * tenths / 10 * (1 - tenths / 10)) ** 0.5
    assert not any(lo < other[0] < hi for lo, hi in (RED, GREEN) for other in (BLUE, ORANGE, VIOLET))


def test_one_word_names_it_for_any_command() -> None:
    data = parse_spec("planted-saliency", split="val", limit=2, size=SIZE, cache=True)
    assert [s["id"] for s in data] == [f"planted-saliency-val-s0-0000{i}" for i in range(2)]
    assert data.describe()["class_names"] == ["background", "salient"] and data.x_kind == "depth"
