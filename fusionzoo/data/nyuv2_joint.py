"""NYU Depth v2 with both truths: a class of each pixel as `NYUv2`, the scene type of the image as `NYUv2Scenes`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from fusionzoo.data.base import Sample
from fusionzoo.data.nyuv2 import NYUv2
from fusionzoo.data.nyuv2_scenes import CLASSES, scene_types, type_of

__all__ = ["NYUv2Joint"]


class NYUv2Joint(NYUv2):
    """NYU Depth v2 with a class of each pixel and a scene type of each image.

    Reads what `NYUv2` and `NYUv2Scenes` read.

    Args:
        root, split, options: as of `NYUv2`.

    Samples: as of `NYUv2`, and "scene": int64, a scalar, the number in `scene_names`.

    Raises:
        InputError: no `scenes.csv`, or one that does not name an image of the split.
    """

    name = "nyuv2-joint"
    scene_names = list(CLASSES)

    def __init__(self, root: str | Path, split: str = "train", **options: Any) -> None:
        self._types = scene_types(root)
        super().__init__(root, split, **options)

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return {**sample, "scene": torch.tensor(type_of(self, index, self._types))}

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "scene_names": list(self.scene_names)}
