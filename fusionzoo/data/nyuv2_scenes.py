"""NYU Depth v2 with its scene types: one label for the whole image, of 10 types.

The images name 27 types, of which many are rare. As in the literature (Gupta, Arbelaez, Girshick and Malik, IJCV 2015)
the nine most frequent stay and the others are one, "others". Splits as of `NYUv2`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusionzoo.data.nyuv2 import NYUv2
from fusionzoo.errors import InputError
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["CLASSES", "NYUv2Scenes", "scene_types", "type_of"]

CLASSES = (
    "bathroom", "bedroom", "bookstore", "classroom", "dining room", "home office", "kitchen", "living room", "office",
    "others",
)  # fmt: skip
FILE = "scenes.csv"


class NYUv2Scenes(NYUv2):
    """NYU Depth v2 with a scene type for each image.

    Beside what `NYUv2` reads (labels of pixels included), `scenes.csv` in the folder, or beside the `.mat` file: a line
    `id,split,scene_type` in front, then the type of each image, such as `0001,test,living_room`.

    Args:
        root, options: as of `NYUv2`, but for `num_classes`.

    Samples: as of `NYUv2`, but label int64 (1, 1).

    Raises:
        InputError: no `scenes.csv`, or one that does not name an image of the split.
    """

    name = "nyuv2-scenes"
    task = CLASSIFICATION

    def __init__(self, root: str | Path, split: str = "train", **options: Any) -> None:
        if "num_classes" in options:
            raise InputError("nyuv2-scenes has 10 scene types; leave num_classes out")
        self._types = scene_types(root)
        super().__init__(root, split, **options)
        self.class_names = list(CLASSES)

    def load(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        rgb, depth, _, factor = super().load(index)
        return rgb, depth, np.array([[type_of(self, index, self._types)]], np.uint8), factor


def scene_types(root: str | Path) -> dict[int, int]:
    """Id -> number in `CLASSES`, of the list in the folder `root` or beside the `.mat` file; empty without `root`."""
    place = Path(root).expanduser()
    return _types((place if place.is_dir() else place.parent) / FILE) if place.exists() else {}


def type_of(data: NYUv2, index: int, types: Mapping[int, int]) -> int:
    """The one of `scene_types` that image `index` of `data` has; InputError where the list does not name it."""
    number = int(data.ids[index])
    if number not in types:
        raise InputError(f"{data.root}: {FILE} does not name image {data.ids[index]}; restore the line")
    return types[number]


def _types(path: Path) -> dict[int, int]:
    """Id -> class, of the file at `path`."""
    if not path.is_file():
        raise InputError(
            f"{path} does not exist; it names the scene type of each image: id,split,scene_type (0001,test,kitchen)"
        )
    found: dict[int, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"id", "scene_type"} <= set(rows.fieldnames or ()):
            raise InputError(f"{path} has the columns {', '.join(rows.fieldnames or ['none'])}; wanted id, scene_type")
        for row in rows:
            number, kind = (row["id"] or "").strip(), (row["scene_type"] or "").strip().replace("_", " ")
            if not (number.isascii() and number.isdigit()) or not kind:
                raise InputError(
                    f"{path}, line {rows.line_num}: wanted an id and a scene type, such as 0001,test,office"
                )
            found[int(number)] = CLASSES.index(kind if kind in CLASSES else "others")
    return found
