"""Planted scenes as images: ray casts a `Layout` into colour, depth and labels (vectorised NumPy, float32).

Colour: albedo x (ambient + Lambert from one lamp) x colour cast, a soft lens, sensor noise. Slots are lit as the bare
face under them, so relief leaves no trace. Depth: noise with the axial model of Nguyen, Izadi and Lovell, "Modeling
Kinect sensor noise for improved 3D reconstruction and tracking", 3DIMPVT 2012: sigma = 0.0012 + 0.0019 (z - 0.4)^2 in
metres; holes (0) at depth edges, at grazing angles, on dark faces and objects (never on account of a slot's colours)
and at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted_layout import Ball, Box, Layout, Slot

__all__ = ["Rendered", "depth_sigma", "render"]

Array = NDArray[Any]
TEXELS = 64


@dataclass(frozen=True)
class Rendered:
    """A scene as images, all (H, W) but rgb.

    rgb: uint8 (H, W, 3). depth: float32 metres, 0 = hole. label: int64. clean: float32, depth without noise and holes.
    bare: float32, depth of the empty room without slots and objects. base: int64, label of the empty room (0, 1, 2).
    """

    rgb: Array
    depth: Array
    label: Array
    clean: Array
    bare: Array
    base: Array


def depth_sigma(z: Array) -> Array:
    """Standard deviation of the depth noise in metres at depth `z` (Nguyen et al. 2012, axial noise)."""
    return np.float32(0.0012) + np.float32(0.0019) * np.square(z - np.float32(0.4))


@dataclass(frozen=True)
class _Room:
    """The empty room as the camera sees it, all (H, W) float32 but `face`: rays of camera depth 1, the depth `bare`,
    the face hit, world points and the (u, v) of each face; `planes`: distance from the camera to each face's plane."""

    rays: tuple[Array, Array, Array]
    bare: Array
    face: Array
    points: tuple[Array, Array, Array]
    u: Array
    v: Array
    planes: Array


def render(layout: Layout, size: tuple[int, int], rng: np.random.Generator) -> Rendered:
    """Ray casts the layout at `size` = (H, W). `rng` draws textures and noise only."""
    room = _cast_room(layout, size)
    face, bare = room.face, room.bare
    base = np.array([lay.WALL, lay.WALL, lay.WALL, lay.FLOOR, lay.CEILING, lay.WALL], np.uint8)[face]
    albedo = _surfaces(layout, rng, face, room.u, room.v)
    lamp = np.asarray(layout.light, np.float32)
    x0, x1, y0, y1, z0, z1 = (np.float32(v) for v in layout.room)
    gap = np.array([lamp[0] - x0, x1 - lamp[0], z1 - lamp[2], y1 - lamp[1], lamp[1] - y0, lamp[2] - z0], np.float32)
    squared = [np.square(p - lamp[i]) for i, p in enumerate(room.points)]
    shade = _shade(layout, gap[face], squared[0] + squared[1] + squared[2])
    risk = _risk(layout, room)
    label, clean = base.copy(), bare.copy()
    for slot in layout.slots:
        _paint(slot, _window(slot.bounds, layout, size), room, albedo, clean, label, risk)
    for thing in layout.objects:
        _contact(thing, layout, size, room, shade)
    colour = albedo * shade[..., None]
    for thing in layout.objects:
        window = _window(thing.bounds, layout, size)
        dx, dy, dz = (d[window] for d in room.rays)
        hit, t, normal = _ball(thing, dx, dy, dz) if isinstance(thing, Ball) else _box(thing, dx, dy, dz)
        hit &= t < clean[window]
        clean[window][hit] = t[hit]
        label[window][hit] = lay.BALL if isinstance(thing, Ball) else lay.BOX
        risk[window][hit] = _dark(thing.colour)
        wx, wy, wz = lamp[0] - dx * t, lamp[1] - dy * t, lamp[2] - dz * t
        lit = _shade(layout, normal[0] * wx + normal[1] * wy + normal[2] * wz, wx * wx + wy * wy + wz * wz)
        colour[window][hit] = (np.asarray(thing.colour, np.float32) * lit[..., None])[hit]
    rgb = _camera(colour, layout, rng)
    depth = _sensor(clean, risk, rng)
    return Rendered(rgb, depth, label.astype(np.int64), clean, bare, base.astype(np.int64))


def _cast_room(layout: Layout, size: tuple[int, int]) -> _Room:
    """Where every ray meets the six faces; the camera is inside, so the nearest positive hit of each axis counts."""
    height, width = size
    camera = layout.camera
    a = ((np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1) * np.float32(camera.half_a)
    b = ((np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1) * np.float32(camera.half_b)
    cy, sy, cp, sp = (np.float32(f(g)) for g in (camera.yaw, camera.pitch) for f in (math.cos, math.sin))
    ahead = (cp - sp * b)[:, None]
    dx = (cy * a)[None] + sy * ahead
    dy = np.broadcast_to((cp * b + sp)[:, None], (height, width))
    dz = cy * ahead - (sy * a)[None]
    x0, x1, y0, y1, z0, z1 = (np.float32(v) for v in layout.room)
    with np.errstate(divide="ignore"):
        tx = np.maximum(x0 / dx, x1 / dx)
        ty = np.maximum(y0 / dy[:, :1], y1 / dy[:, :1])
        tz = np.maximum(z0 / dz, z1 / dz)
    bare = np.minimum(np.minimum(tx, tz), ty)
    side, level = tx <= bare, ty <= bare
    face = np.where(dz > 0, np.uint8(lay.BACK), np.uint8(lay.FRONT))
    face[side] = np.where(dx > 0, np.uint8(lay.RIGHT), np.uint8(lay.LEFT))[side]
    face = np.where(level, np.where(dy > 0, np.uint8(lay.DOWN), np.uint8(lay.UP)), face)
    px, py, pz = dx * bare, dy * bare, dz * bare
    u, v = np.where(side & ~level, pz, px), np.where(level, pz, py)
    planes = np.array([-x0, x1, z1, y1, -y0, -z0], np.float32)
    return _Room((dx, dy, dz), bare, face, (px, py, pz), u, v, planes)


def _risk(layout: Layout, room: _Room) -> Array:
    """Chance of a hole at each pixel of the empty room: dark faces and grazing angles.

    The cosine between ray and normal is the distance to the face's plane over the distance to the point.
    """
    wall = _dark(layout.wall_colour)
    dark = np.array([wall, wall, wall, _dark(layout.floor_colour), _dark(layout.ceiling_colour), wall], np.float32)
    dx, dy, dz = room.rays
    reach = room.bare * np.sqrt(np.square(dx) + np.square(dy) + np.square(dz))
    facing = room.planes[room.face] / reach
    return dark[room.face] + np.clip(np.float32(0.22) - facing, 0, 0.2) * np.float32(2.0)


def _window(bounds: tuple[float, float, float, float], layout: Layout, size: tuple[int, int]) -> tuple[slice, slice]:
    (height, width), camera = size, layout.camera
    col = [int((e / camera.half_a + 1) / 2 * width) for e in (bounds[0], bounds[2])]
    row = [int((e / camera.half_b + 1) / 2 * height) for e in (bounds[1], bounds[3])]
    return slice(max(row[0] - 1, 0), max(row[1] + 2, 0)), slice(max(col[0] - 1, 0), max(col[1] + 2, 0))


def _dark(colour: tuple[float, float, float]) -> np.float32:
    """Chance that a surface of this albedo swallows the sensor's light."""
    return np.float32(0.004 + 0.25 * max(0.0, 0.3 - (0.3 * colour[0] + 0.6 * colour[1] + 0.1 * colour[2])))


def _shade(layout: Layout, along: Array, squared: Array) -> Array:
    """Ambient + Lambert: `along` is normal . (lamp - point) in metres, `squared` is |lamp - point|^2."""
    diffuse = np.float32(1.35 * (1 - layout.ambient)) * np.maximum(along, 0)
    return np.float32(layout.ambient) + diffuse / (np.sqrt(squared) * (np.float32(0.8) + np.float32(0.06) * squared))


def _surfaces(layout: Layout, rng: np.random.Generator, face: Array, u: Array, v: Array) -> Array:
    """Albedo (H, W, 3) of the bare room: three materials, each a small tile repeated over its faces."""
    i = np.arange(TEXELS)
    tiles = np.empty((3, TEXELS, TEXELS), np.float32)
    kind = int(rng.integers(0, 3))
    rows, cols = i[:, None], i[None]
    joints = (
        (rows % 16 == 0) | ((cols + 24 * (rows // 16)) % 64 == 0) if kind == 0 else (rows % 32 < 2) | (cols % 32 < 2)
    )
    tones = rng.uniform(0.8, 1.0, (4, 4))[rows // 16, cols // 16] if kind else rng.uniform(0.78, 1.0, 4)[rows // 16]
    tiles[0] = np.where(joints & (kind < 2), 0.55, tones) + rng.normal(0, 0.05, (TEXELS, TEXELS))
    kind = int(rng.integers(0, 3))
    stripes = [np.zeros(TEXELS), np.sin(i * (2 * math.pi / 16)), np.sign(np.sin(i * (2 * math.pi / 32)))][kind]
    tiles[1] = 1 + rng.uniform(0.02, 0.06) * stripes[None] + rng.normal(0, 0.03, (TEXELS, TEXELS))
    panels = (rows % 32 == 0) | (cols % 32 == 0)
    tiles[2] = np.where(panels & (rng.uniform() < 0.5), 0.85, 1.0) + rng.normal(0, 0.015, (TEXELS, TEXELS))
    colours = np.array([layout.floor_colour, layout.wall_colour, layout.ceiling_colour], np.float32)
    atlas = (tiles[..., None] * colours[:, None, None]).reshape(-1, 3)
    scale = (TEXELS / rng.uniform(0.9, 1.6, 3)).astype(np.float32)
    shift = rng.uniform(0, TEXELS, 2)
    material = np.array([1, 1, 1, 0, 2, 1], np.int32)[face]
    zoom = scale[material]
    col = (u * zoom + np.float32(shift[0] + 64 * TEXELS)).astype(np.int32) % TEXELS
    row = (v * zoom + np.float32(shift[1] + 64 * TEXELS)).astype(np.int32) % TEXELS
    return atlas.take((material * TEXELS + row) * TEXELS + col, axis=0)


def _paint(
    slot: Slot, window: tuple[slice, slice], room: _Room, albedo: Array, clean: Array, label: Array, risk: Array
) -> None:
    """Writes the slot's label, its colours, its relief and its chance of holes."""
    lu = (room.u[window] - np.float32(slot.u)) / np.float32(slot.half_u)
    lv = (room.v[window] - np.float32(slot.v)) / np.float32(slot.half_v)
    radius = _radius(slot, lu, lv)
    mask = (radius < 1) & (room.face[window] == slot.face)
    within, inner = mask, radius
    if slot.inner is not None:
        du, dv, share = (np.float32(v) for v in slot.inner)
        inner = _radius(slot, (lu - du) / share, (lv - dv) / share)
        within = mask & (inner < 1)
    label[window][within] = slot.concept
    if slot.colours is not None:
        k = np.float32(slot.repeats)
        first = [
            lambda: np.floor(lu * k + 8) % 2 < 1,
            lambda: np.floor(lv * k + 8) % 2 < 1,
            lambda: (np.floor(lu * k + 8) + np.floor(lv * k + 8)) % 2 < 1,
            lambda: radius < 0.45,
        ][slot.pattern]()
        wear = np.where(
            first[..., None], np.asarray(slot.colours[0], np.float32), np.asarray(slot.colours[1], np.float32)
        )
        albedo[window][mask] = wear[mask]
    if slot.relief:
        amount = np.float32(slot.relief / room.planes[slot.face]) * (1 - inner if slot.curved else np.float32(1))
        clean[window][within] = (room.bare[window] * (1 - amount))[within]
    if slot.speckle:
        risk[window][mask] += np.float32(slot.speckle)


def _radius(slot: Slot, lu: Array, lv: Array) -> Array:
    """Squared distance from the centre in the outline's own metric: below 1 inside."""
    return np.square(lu) + np.square(lv) if slot.round else np.square(np.maximum(np.abs(lu), np.abs(lv)))


def _contact(thing: Ball | Box, layout: Layout, size: tuple[int, int], room: _Room, shade: Array) -> None:
    """A soft dark ring on the floor under an object."""
    reach = thing.radius if isinstance(thing, Ball) else (thing.half[0] + thing.half[2]) / 2
    wide = (thing.bounds[2] - thing.bounds[0]) / 2
    bounds = (thing.bounds[0] - wide, thing.bounds[1], thing.bounds[2] + wide, thing.bounds[3] + wide)
    window = _window(bounds, layout, size)
    x, _, z = thing.centre
    from_x, from_z = room.points[0][window] - np.float32(x), room.points[2][window] - np.float32(z)
    squared = (np.square(from_x) + np.square(from_z)) / np.float32((1.3 * reach) ** 2)
    dim = 1 - np.float32(0.45) * np.exp(-np.square(squared))
    shade[window] *= np.where(room.face[window] == lay.DOWN, dim, np.float32(1))


def _ball(ball: Ball, dx: Array, dy: Array, dz: Array) -> tuple[Array, Array, tuple[Array, Array, Array]]:
    """Hit mask, camera depth and unit normals; |t d - c|^2 = r^2 solved for the nearer t."""
    cx, cy, cz = (np.float32(c) for c in ball.centre)
    dd, dc = dx * dx + dy * dy + dz * dz, dx * cx + dy * cy + dz * cz
    root = dc * dc - dd * (cx * cx + cy * cy + cz * cz - np.float32(ball.radius) ** 2)
    t = (dc - np.sqrt(np.maximum(root, 0))) / dd
    inverse = np.float32(1 / ball.radius)
    return root > 0, t, ((dx * t - cx) * inverse, (dy * t - cy) * inverse, (dz * t - cz) * inverse)


def _box(box: Box, dx: Array, dy: Array, dz: Array) -> tuple[Array, Array, tuple[Array, Array, Array]]:
    """Hit mask, camera depth and unit normals; slab test along the box's own axes."""
    c, s = np.float32(math.cos(box.yaw)), np.float32(math.sin(box.yaw))
    cx, cy, cz = (np.float32(v) for v in box.centre)
    rays = (c * dx - s * dz, dy, s * dx + c * dz)
    centre = (c * cx - s * cz, cy, s * cx + c * cz)
    near, far = [], []
    for ray, mid, half in zip(rays, centre, box.half, strict=True):
        safe = np.where(np.abs(ray) < 1e-6, np.float32(1e-6), ray)
        one, two = (mid - np.float32(half)) / safe, (mid + np.float32(half)) / safe
        near.append(np.minimum(one, two))
        far.append(np.maximum(one, two))
    t = np.maximum(np.maximum(near[0], near[1]), near[2])
    hit = (t < np.minimum(np.minimum(far[0], far[1]), far[2])) & (t > 0)
    side = [-np.sign(ray) * (n >= t) for ray, n in zip(rays, near, strict=True)]
    return hit, t, (c * side[0] + s * side[2], side[1], c * side[2] - s * side[0])


def _camera(colour: Array, layout: Layout, rng: np.random.Generator) -> Array:
    """Linear colour (H, W, 3) -> uint8: cast, exposure, a lens 3 pixels wide, noise."""
    colour *= (np.asarray(layout.cast) * layout.exposure).astype(np.float32)
    around = colour[:-2, 1:-1] + colour[2:, 1:-1]
    around += colour[1:-1, :-2]
    around += colour[1:-1, 2:]
    around *= np.float32(0.1)
    colour[1:-1, 1:-1] *= np.float32(0.6)
    colour[1:-1, 1:-1] += around
    noise = rng.standard_normal(colour.shape, np.float32)
    noise *= np.float32(0.015)
    colour += noise
    np.clip(colour, 0, 1, out=colour)
    colour *= np.float32(255)
    colour += np.float32(0.5)
    return colour.astype(np.uint8)


def _sensor(clean: Array, risk: Array, rng: np.random.Generator) -> Array:
    """Noise and holes; whole millimetres as real sensors give."""
    noisy = clean + rng.standard_normal(clean.shape, np.float32) * depth_sigma(clean)
    edge = np.zeros(clean.shape, bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(clean, axis=axis)) > np.float32(0.12)
        lead = (slice(None), slice(0, -1)) if axis else (slice(0, -1), slice(None))
        tail = (slice(None), slice(1, None)) if axis else (slice(1, None), slice(None))
        edge[lead] |= jump
        edge[tail] |= jump
    chance = risk + np.float32(0.55) * edge
    noisy[rng.random(clean.shape, np.float32) < chance] = 0
    return np.maximum(np.round(noisy * 1000) / np.float32(1000), 0).astype(np.float32)
