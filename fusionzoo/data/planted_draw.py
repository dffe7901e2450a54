"""Draws a planted scene: camera, room, objects, light, and places for the patches on its walls and its floor.

A "pixel" below is 1/160 of the image width, at any size. Why nothing leaks: flat patches ("slots") are placed first and
only then receive a concept by a random permutation, so place, size and outline carry no information about the concept.
Relief is a displacement along the camera's rays: its outline on the screen is the slot's, so colour does not change at
all. Slots keep clear of each other, so a bare stretch of wall suits an unseen patch; but more than half of these
patches are dropped, which leaves as many bare stretches.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence

import numpy as np

from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted_layout import Ball, Bounds, Box, Camera, Colour, Layout, Place, Room, Slot

__all__ = ["draw_scene", "hsv", "place_slots"]

MARGIN = 0.65  # metres between objects and walls; more than the largest relief, so no relief hides an object

# what a candidate place is drawn from: screen place as shares of the half extents, then sizes in pixels (see above)
OBJECT_RANGES = ((-0.9, 0.9), (0.1, 0.97), (8.0, 13.0), (0.7, 1.2), (15.0, 30.0), (0.0, math.pi))
"""a, b, half width, depth / width, height, turn."""
FLOOR_RANGES = ((-0.95, 0.95), (0.0, 0.95), (12.0, 22.0), (6.0, 11.0), (0.0, 1.0))
WALL_RANGES = ((-0.95, 0.95), (-0.95, 0.95), (8.5, 15.0), (8.5, 15.0), (0.0, 1.0))
"""a, b, half width, half height, round below 1/2."""

Furnish = Callable[[np.random.Generator, Camera, Room, "list[Ball | Box]"], Sequence[Slot]]
"""(generator, camera, room, objects) -> the flat patches of a scene."""


def draw_scene(rng: np.random.Generator, aspect: float, furnish: Furnish) -> Layout:
    """Draws camera, room, one to three objects, what `furnish` hangs on the walls and lays on the floor, and light."""
    half_a = math.tan(math.radians(rng.uniform(34, 39)))
    yaw, pitch = math.radians(rng.uniform(-28, 28)), math.radians(rng.uniform(2, 12))
    camera = Camera(yaw, pitch, half_a, half_a * aspect)
    eye, height = rng.uniform(1.3, 1.6), rng.uniform(2.4, 2.8)
    room = (
        -rng.uniform(1.9, 3.1),
        rng.uniform(1.9, 3.1),
        eye - height,
        eye,
        -1.5,
        rng.uniform(3.2, 4.6),
    )
    wanted = [lay.BOX, lay.BALL] + [int(rng.integers(lay.BOX, lay.BALL + 1)) for _ in range(int(rng.integers(0, 2)))]
    objects: list[Ball | Box] = []
    for kind in rng.permutation(wanted):
        thing = _place_object(rng, camera, room, int(kind), objects)
        if thing is not None:
            objects.append(thing)
    slots = furnish(rng, camera, room, objects)
    grey = rng.uniform() < 0.3
    floor_colour = (
        hsv(rng, (0, 1), (0.05, 0.25), (0.2, 0.4)) if grey else hsv(rng, (0.05, 0.1), (0.3, 0.55), (0.3, 0.6))
    )
    return Layout(
        camera=camera,
        room=room,
        objects=tuple(objects),
        slots=tuple(slots),
        light=(rng.uniform(-1.2, 1.2), room[2] + rng.uniform(0.2, 0.6), rng.uniform(0.3, 2.2)),
        ambient=rng.uniform(0.4, 0.6),
        exposure=rng.uniform(0.8, 1.15),
        cast=(rng.uniform(0.9, 1.1), rng.uniform(0.94, 1.06), rng.uniform(0.88, 1.12)),
        floor_colour=floor_colour,
        wall_colour=hsv(rng, (0, 1), (0.03, 0.2), (0.55, 0.85)),
        ceiling_colour=hsv(rng, (0, 1), (0.0, 0.05), (0.88, 1.0)),
    )


def hsv(
    rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1.0, rng.uniform(*saturation), rng.uniform(*value))


def _cast(ray: tuple[float, float, float], room: Room) -> tuple[float, int]:
    """Camera depth and face of the bare room along `ray`."""
    best, face = math.inf, -1
    for axis, (low, high) in enumerate(((lay.LEFT, lay.RIGHT), (lay.UP, lay.DOWN), (lay.FRONT, lay.BACK))):
        d = ray[axis]
        if abs(d) > 1e-9:
            t = (room[2 * axis + 1] if d > 0 else room[2 * axis]) / d
            if t < best:
                best, face = t, high if d > 0 else low
    return best, face


def _overlap(one: tuple[float, ...], two: tuple[float, ...], gap: float) -> bool:
    return one[0] < two[2] + gap and two[0] < one[2] + gap and one[1] < two[3] + gap and two[1] < one[3] + gap


def _bounds(camera: Camera, corners: list[tuple[float, float, float]]) -> Bounds | None:
    """Screen bounds of the corners; None when one is behind or too near the camera."""
    points = [camera.project(*c) for c in corners]
    if min(p[2] for p in points) < 0.4:
        return None
    return (min(p[0] for p in points), min(p[1] for p in points), max(p[0] for p in points), max(p[1] for p in points))


def _candidates(rng: np.random.Generator, ranges: tuple[tuple[float, float], ...], count: int) -> list[list[float]]:
    """`count` rows of one uniform number from each range."""
    low, high = np.transpose(ranges)
    drawn: list[list[float]] = rng.uniform(low, high, (count, len(ranges))).tolist()
    return drawn


def _place_object(
    rng: np.random.Generator, camera: Camera, room: Room, kind: int, others: list[Ball | Box]
) -> Ball | Box | None:
    pixel = camera.pixel
    for a, b, w, d, h, yaw in _candidates(rng, OBJECT_RANGES, 60):
        a, b = a * camera.half_a, b * camera.half_b
        ray = camera.ray(a, b)
        depth, face = _cast(ray, room)
        if face != lay.DOWN or not 1.3 < depth < 4.5:
            continue
        x, z = ray[0] * depth, ray[2] * depth
        if kind == lay.BALL:
            radius = min(max(1.15 * w * pixel * depth, 0.15), 0.5)
            reach, centre, half = radius, (x, room[3] - radius, z), (radius, radius, radius)
            yaw = 0.0
        else:
            half = (w * pixel * depth, h * pixel * depth / 2, w * d * pixel * depth)
            reach, centre = math.hypot(half[0], half[2]), (x, room[3] - half[1], z)
        if min(x - room[0], room[1] - x, room[5] - z) < reach + MARGIN:
            continue
        c, s = math.cos(yaw), math.sin(yaw)
        corners = [
            (x + c * i * half[0] + s * k * half[2], centre[1] + j * half[1], z - s * i * half[0] + c * k * half[2])
            for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)
        ]  # fmt: skip
        bounds = _bounds(camera, corners)
        if bounds is None or bounds[0] < -1.1 * camera.half_a or bounds[2] > 1.1 * camera.half_a:
            continue
        if any(_overlap(bounds, o.bounds, -4 * pixel) for o in others):
            continue
        if any(
            math.hypot(x - o.centre[0], z - o.centre[2]) < reach + math.hypot(_half(o)[0], _half(o)[2]) for o in others
        ):
            continue
        if kind == lay.BALL:
            return Ball(centre, half[0], hsv(rng, (0.12, 0.16), (0.75, 0.98), (0.7, 1.0)), bounds)
        return Box(centre, half, yaw, hsv(rng, (0.58, 0.66), (0.6, 0.95), (0.45, 0.95)), bounds)
    return None


def _half(thing: Ball | Box) -> tuple[float, float, float]:
    return (thing.radius,) * 3 if isinstance(thing, Ball) else thing.half


def _point(face: int, u: float, v: float, room: Room) -> tuple[float, float, float]:
    """(u, v) of a face -> world: walls have v = y, u = z (left, right) or x (back); the floor has u = x, v = z."""
    if face == lay.DOWN:
        return u, room[3], v
    if face == lay.BACK:
        return u, v, room[5]
    return (room[0] if face == lay.LEFT else room[1]), v, u


def place_slots(
    rng: np.random.Generator,
    camera: Camera,
    room: Room,
    objects: list[Ball | Box],
    on_floor: bool,
    count: int,
    ranges: tuple[tuple[float, float], ...] | None = None,
    tries: int = 140,
) -> list[Place]:
    """Up to `count` places that do not overlap, each wholly on one face and in the image; `ranges` as WALL_RANGES."""
    pixel = camera.pixel
    places: list[Place] = []
    ranges = ranges or (FLOOR_RANGES if on_floor else WALL_RANGES)
    for a, b, wide, high, coin in _candidates(rng, ranges, tries):
        if len(places) == count:
            break
        a, b = a * camera.half_a, b * camera.half_b
        if any(_overlap((a, b, a, b), p[-1], 0.0) for p in places):
            continue
        ray = camera.ray(a, b)
        depth, face = _cast(ray, room)
        if face not in ((lay.DOWN,) if on_floor else (lay.LEFT, lay.RIGHT, lay.BACK)):
            continue
        length = math.sqrt(ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2)
        facing = abs(ray[{lay.DOWN: 1, lay.BACK: 2}.get(face, 0)]) / length
        if facing < (0.2 if on_floor else 0.4):
            continue
        x, y, z = (r * depth for r in ray)
        if face == lay.DOWN:
            u, v, half_u, half_v = x, z, wide * pixel * depth, high * pixel * depth / facing
            limits = (room[0], room[1], room[4], room[5])
        else:
            u, v = (x if face == lay.BACK else z), y
            half_u, half_v = wide * pixel * depth / facing, high * pixel * depth
            limits = ((room[0], room[1]) if face == lay.BACK else (room[4], room[5])) + (room[2], room[3])
        if min(u - half_u - limits[0], limits[1] - u - half_u, v - half_v - limits[2], limits[3] - v - half_v) < 0.06:
            continue
        bounds = _bounds(camera, [_point(face, u + i * half_u, v + j * half_v, room) for i in (-1, 1) for j in (-1, 1)])
        if bounds is None or max(-bounds[0], bounds[2]) > camera.half_a or max(-bounds[1], bounds[3]) > camera.half_b:
            continue
        if min(bounds[2] - bounds[0], bounds[3] - bounds[1]) < 12 * pixel:
            continue
        if any(_overlap(bounds, p[-1], 2 * pixel) for p in places):
            continue
        if any(_overlap((a, b, a, b), o.bounds, 0.0) for o in objects):
            continue
        places.append((face, u, v, half_u, half_v, coin < 0.5, bounds))
    return places
