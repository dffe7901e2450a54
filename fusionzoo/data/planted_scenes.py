"""`planted-scenes`: planted rooms of eight types, one label for the whole image; which inputs tell a type is known.

The room, the boxes and balls of `planted`. Every patch on its walls is of the room's type, and each draws its looks
with coins of its own:

- **rgb**: flat panels, purple ones or teal ones. Depth shows a bare wall.
- **x**: bumps or niches that wear the wall's own surface. Colour shows a bare wall.
- **joint**: panels are red and out or green and in (`joint_a`), or red and in or green and out (`joint_b`): each colour
  and each relief is as frequent in both.
- **both**: orange panels that stand out, or blue ones that go in: either input tells.

Types are equally likely. The best guess with one input is right for the shares `GUESS` of each type's images, on
average over the two types of a kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted import Planted
from fusionzoo.data.planted_draw import draw_scene, hsv, place_slots
from fusionzoo.data.planted_layout import Ball, Box, Camera, Place, Room, Slot
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["CLASSES", "GUESS", "PlantedScenes"]

CLASSES = {
    "purple_panels": "rgb",
    "teal_panels": "rgb",
    "bumps": "x",
    "niches": "x",
    "joint_a": "joint",
    "joint_b": "joint",
    "orange_bumps": "both",
    "blue_niches": "both",
}
"""Scene type -> where it can be seen."""

PURPLE, TEAL, BUMPS, NICHES, JOINT_A, JOINT_B, ORANGE, BLUE = range(8)

GUESS = {"rgb": (1.0, 0.5), "x": (0.5, 1.0), "joint": (0.5, 0.5), "both": (1.0, 1.0)}
"""Kind -> recall of its two types, on average, of the best guess with (rgb alone, x alone)."""

RED, GREEN = (0.98, 1.015), (0.31, 0.36)
HUES = {PURPLE: (0.77, 0.83), TEAL: (0.47, 0.51), ORANGE: (0.06, 0.085), BLUE: (0.6, 0.64)}
"""Type -> range of its hue."""
RELIEF = (0.3, 0.5)
"""Metres."""
WALL_RANGES = ((-0.95, 0.95), (-0.95, 0.95), (10.0, 17.0), (10.0, 17.0), (0.0, 1.0))
"""a, b, half width, half height, round below 1/2; see planted_draw."""


class PlantedScenes(Planted):
    """The planted data set of scene types, `planted-scenes`: as `Planted`, but a sample's label is int64 (1, 1).

    >>> data = PlantedScenes("test", n=1, size=(60, 80))
    >>> data[0]["id"], data[0]["label"].shape, data.num_classes, data.concepts["joint_b"]
    ('planted-scenes-test-s0-00000', torch.Size([1, 1]), 8, 'joint')
    """

    name: ClassVar[str] = "planted-scenes"
    classes = CLASSES
    task = CLASSIFICATION

    def __getitem__(self, index: int) -> dict[str, Any]:
        kind = self._type(self._generators(index)[0])
        return {**super().__getitem__(index), "label": torch.tensor([[kind]])}

    def draw(self, rng: np.random.Generator) -> lay.Layout:
        return draw_scene(rng, self.size[0] / self.size[1], _furnish(self._type(rng)))

    def _type(self, rng: np.random.Generator) -> int:
        """The first number of a scene."""
        return int(rng.integers(len(CLASSES)))


def _furnish(kind: int) -> Callable[[np.random.Generator, Camera, Room, list[Ball | Box]], list[Slot]]:
    def furnish(rng: np.random.Generator, camera: Camera, room: Room, objects: list[Ball | Box]) -> list[Slot]:
        places = place_slots(rng, camera, room, objects, on_floor=False, count=9, ranges=WALL_RANGES, tries=400)
        return [_dress(rng, place, kind, room) for place in places]

    return furnish


def _dress(rng: np.random.Generator, place: Place, kind: int, room: Room) -> Slot:
    """Gives a place the looks of the type; all draws are alike for all types."""
    face, u, v, half_u, half_v, outline, bounds = place
    red, size = bool(rng.uniform() < 0.5), rng.uniform(*RELIEF)
    pattern, repeats = int(rng.integers(0, 4)), rng.uniform(1.0, 2.5)
    value, dim = rng.uniform(0.5, 0.9), rng.uniform(0.6, 0.85)
    hue, out = HUES.get(kind), kind in (BUMPS, ORANGE)
    if kind in (JOINT_A, JOINT_B):
        hue, out = (RED if red else GREEN), red == (kind == JOINT_A)
    relief = 0.0 if kind in (PURPLE, TEAL) else size if out else -size
    if relief > 0:  # never nearer than two thirds of the way to the wall
        relief = min(relief, 0.33 * {lay.LEFT: -room[0], lay.RIGHT: room[1], lay.BACK: room[5]}[face])
    colours = None
    if hue is not None:
        first = hsv(rng, hue, (0.65, 0.9), (value, value))
        colours = first, hsv(rng, hue, (0.65, 0.9), (value * dim, value * dim))
    # the label of its pixels, which nobody reads, is the wall's
    return Slot(lay.WALL, face, u, v, half_u, half_v, outline, bounds, relief, False, colours, pattern, repeats)
