"""Planted scenes: what is where. Scalars only; `planted_draw` draws it, `planted_render` makes images of it.

Frame of reference: metres, camera at the origin, x right, y down, z forward, axes along the room. `yaw` turns the
camera right, `pitch` down. Screen points (a, b) are on the image plane at camera depth 1: a in [-half_a, half_a] from
left to right, b in [-half_b, half_b] from top to bottom.
"""

from __future__ import annotations

import importlib
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

__all__ = ["CLASSES", "Ball", "Bounds", "Box", "Camera", "Colour", "Layout", "Place", "Room", "Slot"]

CLASSES = {
    **dict.fromkeys(("floor", "wall", "ceiling", "box", "ball"), "both"),
    **dict.fromkeys(("poster", "rug"), "rgb"),
    **dict.fromkeys(("bump", "niche"), "x"),
    **dict.fromkeys(("joint_a", "joint_b"), "joint"),
    "unseen": "none",
}
"""Class name -> where the class can be seen, in the order of the label indices."""

FLOOR, WALL, CEILING, BOX, BALL, POSTER, RUG, BUMP, NICHE, JOINT_A, JOINT_B, UNSEEN = range(12)

LEFT, RIGHT, BACK, DOWN, UP, FRONT = range(6)


@dataclass(frozen=True)
class Camera:
    """Pinhole camera at the origin: rotation (radians) and half extents of the image plane at depth 1."""

    yaw: float
    pitch: float
    half_a: float
    half_b: float

    def ray(self, a: float, b: float) -> tuple[float, float, float]:
        """Direction through the screen point, scaled to camera depth 1."""
        ahead = math.cos(self.pitch) - math.sin(self.pitch) * b
        return (
            math.cos(self.yaw) * a + math.sin(self.yaw) * ahead,
            math.cos(self.pitch) * b + math.sin(self.pitch),
            math.cos(self.yaw) * ahead - math.sin(self.yaw) * a,
        )

    def project(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """World point -> (a, b, camera depth); a and b mean something for a positive depth only."""
        ahead = math.sin(self.yaw) * x + math.cos(self.yaw) * z
        depth = math.sin(self.pitch) * y + math.cos(self.pitch) * ahead
        safe = depth if abs(depth) > 1e-6 else 1e-6
        return (
            (math.cos(self.yaw) * x - math.sin(self.yaw) * z) / safe,
            (math.cos(self.pitch) * y - math.sin(self.pitch) * ahead) / safe,
            depth,
        )

    @property
    def pixel(self) -> float:
        return self.half_a / 80


Colour = tuple[float, float, float]
Bounds = tuple[float, float, float, float]
"""a0, b0, a1, b1 on the screen."""
Room = tuple[float, float, float, float, float, float]
"""x0, x1, y0 (ceiling), y1 (floor), z0 (behind the camera), z1, in metres."""
Place = tuple[int, float, float, float, float, bool, Bounds]
"""face, u, v, half_u, half_v, round, bounds: a slot before it gets its concept."""


@dataclass(frozen=True)
class Slot:
    """A flat patch of one face, centre and half sizes in the face's own (u, v) metres, with what it wears.

    `relief` is metres towards the camera (negative: into the wall) along the face's normal; `curved` makes it fall to 0
    at the outline. `colours` is None when the patch keeps the face's own surface. `inner` = (du, dv, size), in half
    sizes: label and relief fill only a smaller patch of the same outline about (du, dv). `speckle`: chance that a pixel
    of it returns no depth.
    """

    concept: int
    face: int
    u: float
    v: float
    half_u: float
    half_v: float
    round: bool
    bounds: Bounds
    relief: float = 0.0
    curved: bool = False
    colours: tuple[Colour, Colour] | None = None
    pattern: int = 0
    repeats: float = 2.0
    inner: tuple[float, float, float] | None = None
    speckle: float = 0.0


@dataclass(frozen=True)
class Ball:
    """A sphere on the floor."""

    centre: tuple[float, float, float]
    radius: float
    colour: Colour
    bounds: Bounds


@dataclass(frozen=True)
class Box:
    """A box on the floor, turned by `yaw` about the vertical; half sizes along its own axes."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    yaw: float
    colour: Colour
    bounds: Bounds


@dataclass(frozen=True)
class Layout:
    """Everything in a scene but texture and noise."""

    camera: Camera
    room: Room
    objects: tuple[Ball | Box, ...]
    slots: tuple[Slot, ...]
    light: tuple[float, float, float]
    ambient: float
    exposure: float
    cast: tuple[float, float, float]
    floor_colour: Colour
    wall_colour: Colour
    ceiling_colour: Colour


_MOVED = {"draw_layout": "planted"} | dict.fromkeys(("draw_scene", "hsv", "place_slots"), "planted_draw")

if not TYPE_CHECKING:  # a type checker would take any name for one of this module

    def __getattr__(name: str) -> Any:
        """What was defined here once, for one release; warns where it is now."""
        if name not in _MOVED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = f"fusionzoo.data.{_MOVED[name]}"
        warnings.warn(f"{__name__}.{name} has moved: import it from {home}", FutureWarning, stacklevel=2)
        return getattr(importlib.import_module(home), name)
