"""`planted`: small indoor-like RGB-D scenes with known truth: each class shows in colour, depth, both, or neither.

A room (floor, walls, ceiling) holds blue boxes and yellow balls (visible in both), purple posters and teal rugs (flat:
colour only), bumps and niches in the walls that wear the wall's own surface (depth only), red or green patches that
bulge out or in (joint: `joint_a` is red and out or green and in, `joint_b` the other two, so neither colour alone nor
depth alone can tell), and patches of wall or floor that are nothing but a label (`unseen`). Drawn by ray casting in
NumPy; reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fusionzoo.data import planted_layout as lay
from fusionzoo.data.planted_draw import draw_scene, hsv, place_slots
from fusionzoo.data.planted_layout import CLASSES, Ball, Box, Camera, Layout, Place, Room, Slot
from fusionzoo.data.planted_render import Rendered, render
from fusionzoo.errors import check_known
from fusionzoo.schema import encode, need

__all__ = ["SPLITS", "Planted", "assign"]

SPLITS = {"train": 2000, "val": 200, "test": 200}
"""Split -> number of scenes by default."""

KEPT = 0.45  # share of the unseen patches that get their label; below 1/2, so "there is none" stays the better guess


class Planted(Dataset[dict[str, Any]]):
    """The planted data set. Scene i depends on (seed, split, i) only: not on n, nor, but for pixel noise, on `size`.

    Args:
        split: "train", "val" or "test"; their scenes never coincide.
        n: number of scenes; by default 2000, 200, 200.
        size: (H, W), at least 32 each. Sizes of one aspect ratio show the same scenes.
        seed: another seed, other scenes.

    A sample is {"rgb": uint8 (3, H, W), "x": float32 (1, H, W) metres with 0 = missing, "label": int64 (H, W) in
    0..11, "id": str}. There are no ignored pixels.

    Raises:
        InputError: a size, number or seed that cannot be used. UnknownNameError: an unknown split.

    >>> data = Planted("test", n=2, size=(60, 80))
    >>> sample = data[0]
    >>> sample["rgb"].shape, sample["x"].shape, sample["label"].shape, sample["id"]
    (torch.Size([3, 60, 80]), torch.Size([1, 60, 80]), torch.Size([60, 80]), 'planted-test-s0-00000')
    >>> data.concepts["poster"], data.concepts["niche"], data.concepts["joint_a"], data.concepts["unseen"]
    ('rgb', 'x', 'joint', 'none')
    """

    name: ClassVar[str] = "planted"
    classes: ClassVar[Mapping[str, str]] = CLASSES
    """Class name -> kind: where the class can be seen."""
    ignore_index = 255
    x_kind = "depth"
    x_channels = 1

    def __init__(
        self, split: str = "test", n: int | None = None, size: tuple[int, int] = (120, 160), seed: int = 0
    ) -> None:
        check_known(f"split of {self.name}", split, SPLITS)
        need(n is None or n >= 1, f"{self.name}: n is {n}; give the number of scenes, at least 1")
        fits = len(size) == 2 and min(size) >= 32
        need(fits, f"{self.name}: size {tuple(size)} is not (height, width) with at least 32 each")
        need(seed >= 0, f"{self.name}: seed {seed} is negative; give 0 or more")
        self.split = split
        self.size = (int(size[0]), int(size[1]))
        self.seed = int(seed)
        self.n = SPLITS[split] if n is None else int(n)
        self.class_names = list(self.classes)
        self.num_classes = len(self.classes)
        self.concepts = dict(self.classes)
        self.ids = [f"{self.name}-{split}-s{self.seed}-{i:05d}" for i in range(self.n)]

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene = self.render(index)
        rgb: Tensor = torch.from_numpy(np.ascontiguousarray(scene.rgb.transpose(2, 0, 1)))
        return {
            "rgb": rgb,
            "x": torch.from_numpy(scene.depth[None]),
            "label": torch.from_numpy(scene.label),
            "id": self.ids[index],
        }

    def layout(self, index: int) -> Layout:
        """What is where in scene `index`, in metres."""
        return self.draw(self._generators(index)[0])

    def render(self, index: int) -> Rendered:
        """Scene `index` as arrays, with the truth beside them: depth without noise, depth of the empty room."""
        scene, pixels = self._generators(index)
        return render(self.draw(scene), self.size, pixels)

    def draw(self, rng: np.random.Generator) -> Layout:
        """The layout that this version of the data draws from `rng`."""
        return draw_layout(rng, self.size[0] / self.size[1])

    def describe(self) -> dict[str, Any]:
        """Plain JSON values that name this data set and make it again."""
        told = ("name", "split", "n", "size", "seed", "num_classes", "class_names", "x_kind", "x_channels",
                "ignore_index", "concepts")  # fmt: skip
        return {key: encode(getattr(self, key)) for key in told}

    def _index(self, index: int) -> int:
        if not -self.n <= index < self.n:
            raise IndexError(f"{self.name} has {self.n} scenes in {self.split}, no index {index}")
        return int(index) % self.n

    def _generators(self, index: int) -> tuple[np.random.Generator, np.random.Generator]:
        """Two streams for a scene: what is where, and textures with noise."""
        key = (list(SPLITS).index(self.split), self._index(index))
        streams = np.random.SeedSequence(self.seed, spawn_key=key).spawn(2)
        return np.random.default_rng(streams[0]), np.random.default_rng(streams[1])


def draw_layout(rng: np.random.Generator, aspect: float = 0.75) -> Layout:
    """Draws a scene. `aspect` is image height / width; the same generator state and aspect give the same scene."""
    return draw_scene(rng, aspect, _furnish)


def _furnish(rng: np.random.Generator, camera: Camera, room: Room, objects: list[Ball | Box]) -> list[Slot]:
    places = place_slots(rng, camera, room, objects, on_floor=True, count=3)
    floor_slots = assign(
        rng, places, [lay.RUG] + [lay.RUG if rng.uniform() < 0.5 else lay.UNSEEN for _ in range(2)], room
    )
    places = place_slots(rng, camera, room, objects, on_floor=False, count=9)
    first = [lay.POSTER, lay.BUMP, lay.NICHE, lay.JOINT_A, lay.JOINT_B, lay.UNSEEN, lay.UNSEEN]
    wall_slots = assign(rng, places, [int(c) for _ in range(2) for c in rng.permutation(first)], room)
    return [s for s in floor_slots + wall_slots if s.concept != lay.UNSEEN or rng.uniform() < KEPT]


def assign(rng: np.random.Generator, places: list[Place], concepts: list[int], room: Room) -> list[Slot]:
    """Gives the places, in random order, the first concepts of the list."""
    order = rng.permutation(len(places))
    return [_dress(rng, places[int(i)], concept, room) for i, concept in zip(order, concepts, strict=False)]


def _dress(rng: np.random.Generator, place: Place, concept: int, room: Room) -> Slot:
    """Gives a place its concept's relief and colours; size, pattern and brightness are drawn alike for all of them."""
    face, u, v, half_u, half_v, outline, bounds = place
    relief, curved, hue = 0.0, False, None
    if concept in (lay.BUMP, lay.NICHE, lay.JOINT_A, lay.JOINT_B):
        distance = {lay.LEFT: -room[0], lay.RIGHT: room[1], lay.BACK: room[5]}[face]
        size = min(rng.uniform(0.3, 0.55), 0.25 * distance)
        raised, curved = concept == lay.BUMP, concept in (lay.JOINT_A, lay.JOINT_B)
        if curved:
            red = bool(rng.uniform() < 0.5)
            raised = red == (concept == lay.JOINT_A)
            hue = (0.97, 1.02) if red else (0.29, 0.37)
        relief = size if raised else -size
    elif concept == lay.POSTER:
        hue = (0.77, 0.87)
    elif concept == lay.RUG:
        hue = (0.46, 0.52)
    colours = None
    if hue is not None:
        value = rng.uniform(0.45, 0.9)
        second = value * rng.uniform(0.55, 0.8)
        colours = (hsv(rng, hue, (0.6, 0.9), (value, value)), hsv(rng, hue, (0.6, 0.9), (second, second)))
    pattern, repeats = int(rng.integers(0, 4)), rng.uniform(1.0, 2.5)
    return Slot(concept, face, u, v, half_u, half_v, outline, bounds, relief, curved, colours, pattern, repeats)
