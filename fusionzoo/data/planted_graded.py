"""`planted-2`: planted scenes whose classes need both inputs in five ways, from an easy conjunction to a parity.

The room, the boxes and balls, rugs, bumps and niches of `planted`; posters are checkered in black and white. Relief
that only depth shows is deep (0.58 to 0.64 m); that of the panels below is shallow (0.3 to 0.4 m), out of the wall or
into it. Each kind of panel has hues of its own, and each patch of it draws its looks with independent fair coins:

- **and**: a magenta panel that stands out is `and`. As many magenta panels lie flat and as many bare ones stand out:
  both are wall.
- **parity**: `parity_a` is red and out or green and in, `parity_b` the other two.
- **which-where**: a teal or pink panel is wall but for a smaller patch in it that stands out or in: there, teal is
  `which_a` and pink `which_b`. Colour says which, depth says where.
- **dark**: a bright panel is `dark_a` (orange) or `dark_b` (violet) whatever its relief; a panel nearly black is
  `dark_a` when it stands out and `dark_b` when it goes in. Depth counts where colour is dark.
- **conflict**: hue (lime: a, cyan: b) and relief (out: a, in: b) each say a class. Where the sensor returns speckled
  depth, the hue is right, else the relief. The cue is in depth.

Who sees both inputs can tell every patch. With colour alone, or with depth alone and the kind told, the better guess
between the two classes of a kind is right for these shares of its patches: `GUESS`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted import Planted
from fusionzoo.data.planted_draw import draw_scene, hsv, place_slots
from fusionzoo.data.planted_layout import Ball, Box, Camera, Place, Room, Slot

__all__ = ["CLASSES", "GUESS", "PlantedGraded"]

CLASSES = {
    **{name: where for name, where in lay.CLASSES.items() if where in ("both", "rgb", "x")},
    "and": "joint: and",
    "parity_a": "joint: parity",
    "parity_b": "joint: parity",
    "which_a": "joint: which-where",
    "which_b": "joint: which-where",
    "dark_a": "joint: dark",
    "dark_b": "joint: dark",
    "conflict_a": "joint: conflict",
    "conflict_b": "joint: conflict",
}
"""Class name -> kind: seen in both inputs, in rgb or x alone, or only by joining them in the way named."""

AND, PARITY, WHICH, DARK, CONFLICT = 9, 10, 12, 14, 16
"""Label of the kind's class, of the first of two (a); b is one more."""

GUESS = {
    "joint: and": (0.5, 0.5),
    "joint: parity": (0.5, 0.5),
    "joint: which-where": (1.0, 0.5),
    "joint: dark": (0.75, 0.75),
    "joint: conflict": (0.75, 0.75),
}
"""Kind -> share of its patches told right by (colour alone, depth alone), given that a patch of the kind is there."""

HUES = {
    AND: ((0.81, 0.85), (0.81, 0.85)),
    PARITY: ((0.98, 1.015), (0.31, 0.36)),
    WHICH: ((0.47, 0.50), (0.9, 0.93)),
    DARK: ((0.06, 0.085), (0.71, 0.74)),
    CONFLICT: ((0.21, 0.24), (0.54, 0.57)),
}
"""Kind -> range of the hue where the first coin falls heads, and where it falls tails."""

WALL_RANGES = ((-0.95, 0.95), (-0.95, 0.95), (11.0, 17.0), (11.0, 17.0), (0.0, 1.0))
"""a, b, half width, half height, round below 1/2; see planted_draw."""

SHALLOW, DEEP = (0.3, 0.4), (0.58, 0.64)
"""Metres of relief of the panels, and of bumps and niches."""
SPECKLE = 0.4
"""Chance of a hole in a speckled patch."""
DARKNESS = (0.03, 0.06)
"""Albedo of a dark panel."""
SHARES = {lay.POSTER: 1, lay.BUMP: 1, lay.NICHE: 1, AND: 3, PARITY: 3, WHICH: 3, DARK: 3, CONFLICT: 3}
"""How often a kind is in the pack that the wall's patches are dealt from."""


class PlantedGraded(Planted):
    """The graded planted data set, `planted-2`: as `Planted`, with the classes and panels of this module.

    >>> data = PlantedGraded("test", n=2, size=(60, 80))
    >>> data[0]["id"], data.num_classes, data.concepts["parity_a"]
    ('planted-2-test-s0-00000', 18, 'joint: parity')
    """

    name: ClassVar[str] = "planted-2"
    classes = CLASSES

    def draw(self, rng: np.random.Generator) -> lay.Layout:
        return draw_scene(rng, self.size[0] / self.size[1], _furnish)


def _furnish(rng: np.random.Generator, camera: Camera, room: Room, objects: list[Ball | Box]) -> list[Slot]:
    """A rug or two, and up to nine patches on the walls, dealt from a shuffled pack."""
    floor = place_slots(rng, camera, room, objects, on_floor=True, count=2)
    walls = place_slots(rng, camera, room, objects, on_floor=False, count=9, ranges=WALL_RANGES, tries=400)
    pack = rng.permutation([kind for kind, share in SHARES.items() for _ in range(share)])
    order = rng.permutation(len(walls))
    return [_dress(rng, place, lay.RUG, room) for place in floor] + [
        _dress(rng, walls[int(i)], int(kind), room) for i, kind in zip(order, pack, strict=False)
    ]


def _dress(rng: np.random.Generator, place: Place, kind: int, room: Room) -> Slot:
    """Gives a place its looks and, by the kind's rule, its class; all draws are alike for all kinds."""
    face, u, v, half_u, half_v, outline, bounds = place
    heads, out, told = (bool(c) for c in rng.uniform(size=3) < 0.5)
    third, shift = int(rng.integers(0, 3)), rng.uniform(-1, 1, 2)
    size, share = rng.uniform(*(DEEP if kind in (lay.BUMP, lay.NICHE) else SHALLOW)), rng.uniform(0.6, 0.75)
    pattern, repeats = int(rng.integers(0, 4)), rng.uniform(1.0, 2.5)
    value, dim = rng.uniform(0.5, 0.9), rng.uniform(0.6, 0.85)
    concept, relief, inner, speckle = kind, size if out else -size, None, 0.0
    hue = HUES[kind][0 if heads else 1] if kind in HUES else None
    if kind == lay.RUG:
        hue, relief = (0.46, 0.52), 0.0
    elif kind == lay.POSTER:
        relief, pattern, repeats = 0.0, 2, 2.0
    elif kind in (lay.BUMP, lay.NICHE):
        relief = size if kind == lay.BUMP else -size
    elif kind == AND:
        concept = AND if third == 0 else lay.WALL
        relief, hue = (0.0 if third == 1 else size), (None if third == 2 else hue)
    elif kind == PARITY:
        concept = PARITY + int(heads != out)
    elif kind == WHICH:
        concept = WHICH + int(not heads)
        inner = ((1 - share) * shift[0], (1 - share) * shift[1], share)
        if outline:  # the inner disc stays in the outer one
            inner = (inner[0] * 0.7, inner[1] * 0.7, share)
    elif kind == DARK:
        concept = DARK + int(not (out if told else heads))
        value = rng.uniform(*DARKNESS) if told else value
    elif kind == CONFLICT:
        concept = CONFLICT + int(not (heads if told else out))
        speckle = SPECKLE if told else 0.0
    colours = None
    if kind == lay.POSTER:
        colours = (hsv(rng, (0, 1), (0, 0.1), (0.85, 0.95)), hsv(rng, (0, 1), (0, 0.1), (0.08, 0.15)))
    elif hue is not None:
        first = hsv(rng, hue, (0.65, 0.9), (value, value))
        colours = first, hsv(rng, hue, (0.65, 0.9), (value * dim, value * dim))
    if relief > 0:  # never nearer than two thirds of the way to the wall
        relief = min(relief, 0.33 * {lay.LEFT: -room[0], lay.RIGHT: room[1], lay.BACK: room[5]}[face])
    return Slot(concept, face, u, v, half_u, half_v, outline, bounds, relief, False, colours, pattern, repeats, inner,
                speckle)  # fmt: skip
