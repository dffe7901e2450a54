"""`planted-joint`: the rooms of `planted-scenes` with a class of each pixel and the scene type of the image.

The classes of pixels say what is there and not which of its looks it has, so that they do not give the type away:

- **panel**: a flat patch, purple or teal. Depth shows a bare wall.
- **relief**: a bump or niche that wears the wall's own surface. Colour shows a bare wall.
- **painted_relief**: a coloured patch that stands out or goes in, of the types `joint` and `both`. Both inputs show it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch

from fusionzoo.data import planted_layout as lay
from fusionzoo.data import planted_scenes as scenes
from fusionzoo.data.planted import Planted

__all__ = ["CLASSES", "PlantedJoint"]

CLASSES = {
    **dict.fromkeys(("floor", "wall", "ceiling", "box", "ball"), "both"),
    "panel": "rgb",
    "relief": "x",
    "painted_relief": "both",
}
"""Class of pixels -> where it can be seen, in the order of the label indices; the first five are those of `planted`."""

PANEL, RELIEF, PAINTED_RELIEF = range(5, 8)


class PlantedJoint(scenes.PlantedScenes):
    """The planted data set of both tasks, `planted-joint`: as `PlantedScenes`, but a sample's label is int64 (H, W) of
    `CLASSES`, and its "scene" the type, int64, a scalar.

    >>> data = PlantedJoint("test", n=1, size=(60, 80))
    >>> data[0]["label"].shape, data[0]["scene"].shape, data.num_classes, len(data.scene_names)
    (torch.Size([60, 80]), torch.Size([]), 8, 8)
    """

    name: ClassVar[str] = "planted-joint"
    classes = CLASSES
    task = "segmentation"
    scene_names = list(scenes.CLASSES)

    def __getitem__(self, index: int) -> dict[str, Any]:
        kind = self._type(self._generators(index)[0])
        return {**Planted.__getitem__(self, index), "scene": torch.tensor(kind)}

    def draw(self, rng: np.random.Generator) -> lay.Layout:
        layout = super().draw(rng)
        return replace(layout, slots=tuple(replace(slot, concept=_class(slot)) for slot in layout.slots))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "scene_names": list(self.scene_names)}


def _class(slot: lay.Slot) -> int:
    if slot.colours is None:
        return RELIEF
    return PAINTED_RELIEF if slot.relief else PANEL
