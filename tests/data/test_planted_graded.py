"""`planted-2`: what one looks at in a patch tells its class with both inputs, and the stated share with one."""

from __future__ import annotations

import colorsys
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusionzoo.data import parse_spec
from fusionzoo.data import planted_graded as graded
from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted_graded import CLASSES, GUESS, PlantedGraded
from fusionzoo.data.planted_render import render

SIZE = (120, 160)
KINDS = {graded.AND: "joint: and", graded.PARITY: "joint: parity", graded.WHICH: "joint: which-where",
         graded.DARK: "joint: dark", graded.CONFLICT: "joint: conflict"}  # fmt: skip
HUES = {0.83: graded.AND, 0.0: graded.PARITY, 0.335: graded.PARITY, 0.485: graded.WHICH, 0.915: graded.WHICH,
        0.073: graded.DARK, 0.725: graded.DARK, 0.225: graded.CONFLICT, 0.555: graded.CONFLICT}  # fmt: skip
"""Middle of each hue and the kind of panel that wears it, as the module's docstring names the colours."""


def seen(data: PlantedGraded, index: int) -> list[tuple[lay.Slot, dict[str, Any]]]:
    """Each wall patch of a scene, and what its middle looks like in the two images; from the layout only its place."""
    scene, layout = data.render(index), data.layout(index)
    camera, out = layout.camera, []
    for slot in layout.slots:
        if slot.face == lay.DOWN:
            continue
        du, dv, share = slot.inner or (0.0, 0.0, 1.0)
        u, v = slot.u + du * slot.half_u, slot.v + dv * slot.half_v
        world = {lay.BACK: (u, v, layout.room[5]), lay.LEFT: (layout.room[0], v, u), lay.RIGHT: (layout.room[1], v, u)}
        a, b, _ = camera.project(*world[slot.face])
        row, col = (b / camera.half_b + 1) / 2 * SIZE[0], (a / camera.half_a + 1) / 2 * SIZE[1]
        here = slice(max(int(row) - 3, 0), int(row) + 4), slice(max(int(col) - 3, 0), int(col) + 4)
        if np.isin(scene.label[here], [lay.BOX, lay.BALL]).any():
            continue  # a thing stands before it
        colour = np.median(scene.rgb[here].reshape(-1, 3), axis=0) / 255 / layout.cast
        depth, bare = scene.depth[here], scene.bare[here]
        hue, saturation, value = colorsys.rgb_to_hsv(*colour.clip(0, 1))
        holes = float((depth == 0).mean())
        lift = float(np.median((bare - depth)[depth > 0])) if holes < 1 else 0.0
        out.append((slot, {"hue": hue, "saturation": saturation, "value": value, "holes": holes, "lift": lift}))
    return out


def nearest_hue(hue: float) -> float:
    return min(HUES, key=lambda h: min(abs(hue - h), 1 - abs(hue - h)))


def by_colour(look: dict[str, Any]) -> tuple[str, ...]:
    if look["value"] < 0.12:
        return ("dark",)
    return ("bare",) if look["saturation"] < 0.42 else (f"{nearest_hue(look['hue'])}",)


def by_depth(look: dict[str, Any]) -> tuple[str, ...]:
    lift = "out" if look["lift"] > 0.1 else "in" if look["lift"] < -0.1 else "flat"
    return (lift, "speckled" if look["holes"] > 0.15 else "whole")


def kind_of(slot: lay.Slot, look: dict[str, Any]) -> int | None:
    """The kind of panel: by its class, and panels of `and` that are wall by their colour."""
    if slot.concept == lay.WALL:
        return graded.AND
    return max((k for k in KINDS if k <= slot.concept), default=None) if slot.concept >= graded.AND else None


@pytest.fixture(scope="module")
def patches() -> dict[int, list[tuple[int, dict[str, Any]]]]:
    """Kind -> (class, what it looks like) of its patches in 120 scenes."""
    data, out = PlantedGraded("train", n=120), defaultdict(list)
    for index in range(len(data)):
        for slot, look in seen(data, index):
            kind = kind_of(slot, look)
            if kind is not None:
                out[kind].append((slot.concept, look))
    return out


def told(patches: list[tuple[int, dict[str, Any]]], view: Callable[[dict[str, Any]], tuple[str, ...]]) -> float:
    """Share of the patches that the commonest class among those that look alike gets right: no rule can do better."""
    cells: dict[tuple[str, ...], Counter[int]] = defaultdict(Counter)
    for concept, look in patches:
        cells[view(look)][concept] += 1
    return sum(max(c.values()) for c in cells.values()) / len(patches)


@pytest.mark.parametrize("kind", KINDS)
def test_both_inputs_tell_every_patch_and_one_input_the_stated_share(
    kind: int, patches: dict[int, list[tuple[int, dict[str, Any]]]]
) -> None:
    found = patches[kind]
    assert len(found) > 80
    if kind == graded.AND:  # who sees one input only judges the patches that show in it
        magenta = [p for p in found if by_colour(p[1]) != ("bare",)]
        out = [p for p in found if by_depth(p[1])[0] == "out"]
    else:
        magenta = out = found
    near = 2.2 / np.sqrt(len(found))  # the best guess between two coins is above 1/2 by what the sample does
    assert told(found, lambda look: by_colour(look) + by_depth(look)) > 0.98
    for part, view, stated in ((magenta, by_colour, 0), (out, by_depth, 1)):
        assert told(part, view) == pytest.approx(GUESS[KINDS[kind]][stated], abs=near), (view.__name__, stated)


def test_the_rule_of_the_docstring_labels_the_whole_picture() -> None:
    """The truth tables, written once more, on what the two images show: per-class IoU near 1; where by depth alone."""
    data, inter, union = PlantedGraded("val", n=24), np.zeros(18), np.zeros(18)
    for index in range(len(data)):
        layout, scene = data.layout(index), data.render(index)
        made = scene.label.copy()
        for slot, look in seen(data, index):
            alone = replace(layout, slots=(replace(slot, concept=99, inner=None),), objects=())
            mask = render(alone, SIZE, np.random.default_rng(0)).label == 99
            mask &= ~np.isin(scene.label, [lay.BOX, lay.BALL])
            (colour,), (lift, speckle) = by_colour(look), by_depth(look)
            if slot.concept < graded.AND and slot.concept != lay.WALL:
                continue  # posters, bumps and niches need no joining
            painted = colour not in ("dark", "bare")
            heads = painted and float(colour) in (0.83, 0.0, 0.485, 0.073, 0.225)
            kind = graded.DARK if colour == "dark" else HUES[float(colour)] if painted else None
            if kind == graded.AND:
                made[mask] = graded.AND if lift == "out" else lay.WALL
            elif kind == graded.PARITY:
                made[mask] = graded.PARITY + int(heads != (lift == "out"))
            elif kind == graded.WHICH:
                moved = np.abs(scene.clean - scene.bare) > 0.1
                made[mask] = np.where(moved[mask], graded.WHICH + int(not heads), lay.WALL)
            elif kind == graded.DARK:
                made[mask] = graded.DARK + int(not (lift == "out" if colour == "dark" else heads))
            elif kind == graded.CONFLICT:
                made[mask] = graded.CONFLICT + int(not (heads if speckle == "speckled" else lift == "out"))
            else:
                made[mask] = lay.WALL
        for k in range(18):
            inter[k] += ((made == k) & (scene.label == k)).sum()
            union[k] += ((made == k) | (scene.label == k)).sum()
    iou = inter / union
    assert (iou[graded.AND :] > 0.9).all() and iou[graded.AND :].mean() > 0.97, iou.round(3)


@pytest.mark.parametrize("index", range(4))
def test_depth_does_not_know_paint_nor_colour_relief(index: int) -> None:
    data = PlantedGraded("train")
    layout = data.layout(index)

    def drawn(slots: list[lay.Slot]) -> Any:
        return render(replace(layout, slots=tuple(slots)), SIZE, np.random.default_rng(5))

    scene = drawn(list(layout.slots))
    plain = drawn([replace(s, colours=None) for s in layout.slots])
    flat = drawn([replace(s, relief=0.0, speckle=0.0, inner=None) for s in layout.slots])
    assert np.array_equal(scene.depth, plain.depth) and not np.array_equal(scene.rgb, plain.rgb)
    assert np.array_equal(scene.rgb, flat.rgb) and not np.array_equal(scene.depth, flat.depth)


def test_every_class_occurs() -> None:
    data = PlantedGraded("train", n=60, size=(60, 80))
    counts = np.stack([np.bincount(data.render(i).label.ravel(), minlength=18) for i in range(len(data))])
    assert (counts.sum(0) / counts.sum() > 0.004).all() and len(CLASSES) == 18
    assert set(GUESS) == {kind for kind in CLASSES.values() if kind.startswith("joint")}


def test_it_is_data_like_any_other() -> None:
    data = parse_spec("planted-2", split="val", limit=2, size=(48, 64))
    assert data.name == "planted-2" and len(data) == 2 and data[0]["label"].max() < data.num_classes == 18
    assert data.describe()["concepts"]["dark_b"] == "joint: dark"
