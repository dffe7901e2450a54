"""`planted-multi`: planted scenes seen by up to four sensors: rgb, depth, thermal, events. Each class's truth is known.

The room and the classes of `planted`, and two more that wear the wall's own surface: `warm` patches, which only the
thermal image shows, and `flicker` patches, which only the events show. Thermal (one channel, 0..255): a background that
changes softly over the image and tells of nothing, noise, and warm patches 45 above it. Events (three channels, 0..255:
positive, time, negative, as event cameras are drawn): 45 % of the pixels of a flicker patch fire, 1 % of all others.

`planted-multi:depth,thermal` chooses which sensors there are beside rgb. What only a sensor shows that is not chosen is
visible nowhere then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted import SPLITS, Planted, assign
from fusionzoo.data.planted_draw import draw_scene, place_slots
from fusionzoo.data.planted_layout import Ball, Box, Camera, Layout, Room, Slot
from fusionzoo.errors import InputError, check_known
from fusionzoo.modalities import parts_of

__all__ = ["SENSORS", "PlantedMulti"]

SENSORS = ("depth", "thermal", "event")
"""What there may be beside rgb."""
WARM, FLICKER = len(lay.CLASSES), len(lay.CLASSES) + 1
SEEN: dict[str, frozenset[str]] = {
    **{
        name: {"both": frozenset(("rgb", "depth")), "rgb": frozenset(("rgb",)), "x": frozenset(("depth",))}.get(
            where, frozenset()
        )
        for name, where in lay.CLASSES.items()
    },
    "warm": frozenset(("thermal",)),
    "flicker": frozenset(("event",)),
}
"""Class name -> the sensors of which each alone shows it."""
WARMER, NOISE = 45.0, 4.0
"""How much brighter a warm patch is, of 255; standard deviation of the thermal noise."""
FIRES, STRAY = 0.45, 0.01
"""Share of the pixels that fire in a flicker patch, and elsewhere."""

Array = NDArray[Any]


class PlantedMulti(Planted):
    """The planted data set with several sensors, `planted-multi`: as `Planted`, with the classes of this module.

    Args:
        x: the sensors beside rgb, some of SENSORS joined by "+"; a sample's `x` has their channels in that order.

    >>> data = PlantedMulti("test", n=1, size=(60, 80), x="depth+event")
    >>> data[0]["x"].shape, data.x_kind, data.concepts["flicker"], data.concepts["warm"]
    (torch.Size([4, 60, 80]), 'depth+event', 'event', 'none')
    """

    name: ClassVar[str] = "planted-multi"
    classes = dict.fromkeys(SEEN, "")

    def __init__(self, *others: Any, x: str = "+".join(SENSORS), **options: Any) -> None:
        super().__init__(*others, **options)
        sensors = x.split("+")
        for sensor in sensors:
            check_known(f"sensor of {self.name}", sensor, SENSORS)
        if len(set(sensors)) != len(sensors):
            raise InputError(f"{self.name}: {x!r} names a sensor twice; give each once")
        self.x_kind, self.x_channels = x, parts_of(x)[-1].stop
        self.concepts = {name: _kind(name, sensors) for name in SEEN}

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene = self.render(index)
        found = {"depth": scene.depth[None]} | _sensors(scene.label, self._sensor_noise(index))
        x = np.concatenate([found[sensor] for sensor in self.x_kind.split("+")])
        rgb = torch.from_numpy(np.ascontiguousarray(scene.rgb.transpose(2, 0, 1)))
        return {"rgb": rgb, "x": torch.from_numpy(x), "label": torch.from_numpy(scene.label), "id": self.ids[index]}

    def draw(self, rng: np.random.Generator) -> Layout:
        return draw_scene(rng, self.size[0] / self.size[1], _furnish)

    def _sensor_noise(self, index: int) -> np.random.Generator:
        """A third stream of a scene, so that the choice of sensors changes no other sensor."""
        key = (list(SPLITS).index(self.split), self._index(index))
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key).spawn(3)[2])


def _kind(name: str, sensors: Sequence[str]) -> str:
    """Where a class is visible: "rgb", "depth", "rgb+depth", "joint", "none"; with one sensor beside rgb as `Planted`
    says it ("both", "x")."""
    if lay.CLASSES.get(name) == "joint":
        return "joint" if "depth" in sensors else "none"
    there = [sensor for sensor in ("rgb", *sensors) if sensor in SEEN[name]]
    if len(sensors) == 1 and there:
        return "both" if len(there) == 2 else "rgb" if there == ["rgb"] else "x"
    return "+".join(there) or "none"


def _sensors(label: Array, rng: np.random.Generator) -> dict[str, Array]:
    """Thermal (1, H, W) and events (3, H, W), float32 whole numbers 0..255, of a label map (H, W)."""
    shape = label.shape
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    base, slope, swell = rng.uniform(70, 130), rng.uniform(-20, 20, 2), rng.uniform(-15, 15)
    background = base + slope[0] * rows[:, None] + slope[1] * columns[None] + swell * rows[:, None] * columns[None]
    thermal = background + WARMER * (label == WARM) + NOISE * rng.standard_normal(shape, np.float32)
    fired = rng.random(shape, np.float32) < np.where(label == FLICKER, FIRES, STRAY)
    positive, time = rng.random(shape, np.float32) < 0.5, rng.uniform(64, 255, shape)
    event = np.stack([255 * (fired & positive), time * fired, 255 * (fired & ~positive)])
    found = {"thermal": thermal[None], "event": event}
    return {name: np.clip(np.round(value), 0, 255).astype(np.float32) for name, value in found.items()}


def _furnish(rng: np.random.Generator, camera: Camera, room: Room, objects: list[Ball | Box]) -> list[Slot]:
    """As of `planted`, the pack of the walls having warm and flickering patches too."""
    floor = place_slots(rng, camera, room, objects, on_floor=True, count=2)
    walls = place_slots(rng, camera, room, objects, on_floor=False, count=9)
    first = [lay.POSTER, lay.BUMP, lay.NICHE, lay.JOINT_A, lay.JOINT_B, WARM, FLICKER, lay.UNSEEN]
    pack = [int(c) for _ in range(2) for c in rng.permutation(first)]
    return assign(rng, floor, [lay.RUG] * len(floor), room) + assign(rng, walls, pack, room)
