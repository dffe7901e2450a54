"""`planted-saliency`: planted rooms in which some patches are salient objects; which inputs tell them is known.

The room, the boxes and balls of `planted`, which are background, and patches on the walls, each look of a kind as
frequent, `joint` twice as frequent as the others:

- **rgb**: flat red patches are salient, flat blue ones are not. Depth shows a bare wall.
- **x**: bumps that wear the wall's own surface are salient, niches are not. Colour shows a bare wall.
- **joint**: green patches that stand out are salient and such as go in are not; of teal ones it is the other way round.
- **both**: orange patches that stand out are salient, violet ones that go in are not. Either input tells.

So colour alone cannot part green from green nor teal from teal, and of what stands out, or goes in, depth alone cannot
say whether it is one of these. A mask is the union of all salient patches that can be seen.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted import Planted
from fusionzoo.data.planted_draw import draw_scene, hsv, place_slots
from fusionzoo.data.planted_layout import Ball, Box, Camera, Place, Room, Slot
from fusionzoo.tasks import SALIENCY

__all__ = ["CLASSES", "LOOKS", "PlantedSaliency"]

CLASSES = {"background": "both", "salient": "joint"}
"""Class -> where it can be seen."""

SALIENT = 5
"""Label of a salient patch in a layout; the room's own are 0..4."""

RED, BLUE, GREEN, TEAL = (0.98, 1.015), (0.6, 0.64), (0.31, 0.36), (0.47, 0.51)
ORANGE, VIOLET = (0.06, 0.085), (0.71, 0.74)
JOINT = [(GREEN, 1, True), (GREEN, -1, False), (TEAL, 1, False), (TEAL, -1, True)]
LOOKS: list[tuple[tuple[float, float] | None, int, bool]] = [
    *[(RED, 0, True), (BLUE, 0, False), (None, 1, True), (None, -1, False), (ORANGE, 1, True), (VIOLET, -1, False)],
    *JOINT,
    *JOINT,
]
"""(range of its hue, or None for the wall's own surface; out 1, flat 0, in -1; whether it is salient)."""

RELIEF = (0.3, 0.5)
"""Metres; less than a third of the way to any wall."""
WALL_RANGES = ((-0.95, 0.95), (-0.95, 0.95), (10.0, 17.0), (10.0, 17.0), (0.0, 1.0))
"""a, b, half width, half height, round below 1/2; see planted_draw."""


class PlantedSaliency(Planted):
    """The planted data set of salient objects, `planted-saliency`: as `Planted`, with the classes background, salient.

    >>> data = PlantedSaliency("test", n=1, size=(60, 80))
    >>> data[0]["id"], data.class_names, data[0]["label"].unique().tolist()
    ('planted-saliency-test-s0-00000', ['background', 'salient'], [0, 1])
    """

    name: ClassVar[str] = "planted-saliency"
    classes = CLASSES
    task = SALIENCY

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        return {**sample, "label": (sample["label"] == SALIENT).long()}

    def draw(self, rng: np.random.Generator) -> lay.Layout:
        return draw_scene(rng, self.size[0] / self.size[1], _furnish)


def _furnish(rng: np.random.Generator, camera: Camera, room: Room, objects: list[Ball | Box]) -> list[Slot]:
    """Up to nine patches on the walls, dealt from a shuffled pack of all looks."""
    places = place_slots(rng, camera, room, objects, on_floor=False, count=9, ranges=WALL_RANGES, tries=400)
    pack = rng.permutation(len(LOOKS))
    return [_dress(rng, place, int(look)) for place, look in zip(places, pack, strict=False)]


def _dress(rng: np.random.Generator, place: Place, look: int) -> Slot:
    """Gives a place a look; all draws are alike for all looks."""
    face, u, v, half_u, half_v, outline, bounds = place
    hue, side, salient = LOOKS[look]
    size, pattern, repeats = rng.uniform(*RELIEF), int(rng.integers(0, 4)), rng.uniform(1.0, 2.5)
    value, dim = rng.uniform(0.5, 0.9), rng.uniform(0.6, 0.85)
    colours = None
    if hue is not None:
        first = hsv(rng, hue, (0.65, 0.9), (value, value))
        colours = first, hsv(rng, hue, (0.65, 0.9), (value * dim, value * dim))
    return Slot(SALIENT if salient else lay.WALL, face, u, v, half_u, half_v, outline, bounds, side * size, False,
                colours, pattern, repeats)  # fmt: skip
