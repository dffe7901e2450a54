"""NYU Depth v2, the 1449 labelled images (Silberman et al., ECCV 2012): 640 x 480, 40, 13 or 4 classes.

Class names and the maps 40 -> 13 and 40 -> 4 are embedded. The 40 classes are of Gupta, Arbelaez and Malik (CVPR 2013),
the 13 of Couprie et al. (ICLR 2013) in the order of Handa et al. (SceneNet, 2015), the 4 of Silberman et al.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.base import IGNORE, Sample, SegmentationDataset, spread
from fusionzoo.data.decode import read_pixels
from fusionzoo.data.hha import NYU_CAMERA
from fusionzoo.data.images import read_label, read_rgb
from fusionzoo.errors import InputError, check_known

__all__ = ["CLASSES_13", "CLASSES_4", "CLASSES_40", "MAP_40_TO_13", "MAP_40_TO_4", "NYUv2", "SPLITS", "validation_ids"]

SPLITS = ("train", "val", "test", "trainval")

CLASSES_40 = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat",
    "clothes", "ceiling", "books", "refridgerator", "television", "paper", "towel", "shower curtain", "box",
    "whiteboard", "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "otherstructure",
    "otherfurniture", "otherprop",
)  # fmt: skip
"""Class i (0-based) is the file value i + 1. The spelling is the data set's."""

CLASSES_13 = (
    "bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa", "table", "tv", "wall",
    "window",
)  # fmt: skip
CLASSES_4 = ("ground", "structure", "furniture", "props")

# 1-based class of each of the 40 classes, in order
MAP_40_TO_13 = (
    12, 5, 6, 1, 4, 9, 10, 12, 13, 6, 8, 6, 13, 10, 6, 13, 6, 7, 7, 5,
    7, 3, 2, 6, 11, 7, 7, 7, 7, 7, 7, 6, 7, 7, 7, 7, 7, 7, 6, 7,
)  # fmt: skip
MAP_40_TO_4 = (
    2, 1, 3, 3, 3, 3, 3, 2, 2, 3, 4, 2, 2, 3, 3, 2, 3, 4, 4, 4,
    4, 2, 4, 3, 4, 4, 4, 2, 4, 2, 4, 3, 3, 4, 4, 3, 4, 2, 3, 4,
)  # fmt: skip

_CLASSES = {40: CLASSES_40, 13: CLASSES_13, 4: CLASSES_4}
_MAPS = {40: tuple(range(1, 41)), 13: MAP_40_TO_13, 4: MAP_40_TO_4}
_BLOCK, _EVERY, _FIRST = 10, 7, 2


def validation_ids(train_ids: Iterable[int]) -> list[int]:
    """The ids that validation takes from the official train list.

    The official split is by scene and the ids of a scene are consecutive, so a run of consecutive train ids holds whole
    scenes. Runs are gathered in order into blocks of at least 10 images, a run never being cut; of the blocks 0, 1, 2,
    ... those numbered 2, 9, 16, ... are validation. Of the 795 ids: 114 (14 %), with every class among them.

    >>> validation_ids([*range(1, 12), *range(20, 30), *range(40, 45), *range(50, 56), *range(70, 90)])
    [40, 41, 42, 43, 44, 50, 51, 52, 53, 54, 55]
    """
    blocks: list[list[int]] = [[]]
    previous: int | None = None
    for number in sorted(train_ids):
        if previous is not None and number != previous + 1 and len(blocks[-1]) >= _BLOCK:
            blocks.append([])
        blocks[-1].append(number)
        previous = number
    return [number for i, block in enumerate(blocks) if i % _EVERY == _FIRST for number in block]


class NYUv2(SegmentationDataset):
    """NYU Depth v2 from a folder or from the original MATLAB file.

    Folder layout: `rgb/0001.jpg`, `depth/0001.png` (16-bit, millimetres, 0 = missing), `label40/0001.png` (8-bit, 0 =
    unlabelled, 1..40), `train.txt` and `test.txt` (one id a line). Ids are the 1-based index in the MATLAB file.

    MATLAB file: `nyu_depth_v2_labeled.mat`, or a folder that holds it; see `nyuv2_mat.MatSource` for the companions it
    needs (the 894 -> 40 class map and the split, which are not in that file).

    Args:
        root: the folder or the `.mat` file.
        split: "train" (official train less validation), "val" (see `validation_ids`), "trainval" (all 795 of the
            official train), "test" (654).
        num_classes: 40, 13 or 4.
        size: (H, W) that rgb (bilinear, antialias) and depth (nearest) are resized to; None: 480 x 640.
        label_size: "native" (480 x 640) or "input" (as rgb, nearest).
        limit: only that many images, evenly spaced over the split.
        cache: keep the resized samples in memory (uint8, uint16, uint8: 6 bytes a pixel), so that each file is decoded
            once. The workers of a DataLoader share it where they are forked (Linux); spawned ones keep one each.
        cache_size: (H, W); short for size=cache_size, label_size="input", cache=True. For training: store a bit more
            than the crop, as in `NYUv2(root, cache_size=(240, 320), transform=train_transform((120, 160)))`.
        transform: called with each sample.
        class_map, splits: for the MATLAB file only, see `nyuv2_mat.MatSource`.

    Samples: rgb uint8 (3, H, W); x float32 (1, H, W), metres; label int64, file value k -> k - 1 (mapped), 0 -> 255.

    Raises:
        InputError: a missing, corrupt or odd-sized file, a label value above 40, each named with what to do.
    """

    name = "nyuv2"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_classes: int = 40,
        size: tuple[int, int] | None = None,
        label_size: str = "native",
        limit: int | None = None,
        cache: bool = False,
        cache_size: tuple[int, int] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        *,
        class_map: str | Path | Sequence[int] | None = None,
        splits: str | Path | None = None,
    ) -> None:
        root = Path(root).expanduser()
        check_known("split", split, SPLITS)
        if num_classes not in _CLASSES:
            raise InputError(f"NYUv2 has 40, 13 or 4 classes, not {num_classes!r}")
        if not root.exists():
            raise InputError(
                f"{root} does not exist; give the folder with rgb/ depth/ label40/, or nyu_depth_v2_labeled.mat"
            )
        self.root = root
        self.split = split
        self.class_names = list(_CLASSES[num_classes])
        self.camera = NYU_CAMERA
        self._source = _open(root, class_map, splits)
        train, test = (self._source.official(part) for part in ("train", "test"))
        both = sorted(set(train) & set(test))
        if both:
            raise InputError(f"{root}: id {both[0]:04d} is in the official train and test lists; restore them")
        held_out = set(validation_ids(train))
        chosen = {
            "test": test,
            "trainval": train,
            "train": [i for i in train if i not in held_out],
            "val": [i for i in train if i in held_out],
        }[split]
        self._lut = np.full(256, 254, np.uint8)  # 254 marks a value that no label may have
        self._lut[0] = IGNORE
        self._lut[1:41] = np.array(_MAPS[num_classes], np.uint8) - 1
        ids = spread([f"{i:04d}" for i in chosen], limit)
        super().__init__(ids, size=size, label_size=label_size, cache=cache, cache_size=cache_size, transform=transform)
        self.prepare_cache()

    def load(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        rgb, depth, label, factor = self._source.read(int(self.ids[index]))
        wrong = label[(label < 0) | (label > 40)]
        if wrong.size:
            raise InputError(
                f"{self.where(index, 'label')} has the value {int(wrong[0])} in {wrong.size} pixels;"
                " labels are 0 (unlabelled) to 40. Is it another label set, such as the 894 classes?"
            )
        return rgb, depth, self._lut[label.astype(np.uint8)], factor

    def where(self, index: int, part: str = "rgb") -> str:
        return str(self._source.where(int(self.ids[index]), part))

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "native_size": [480, 640],
            "validation": "whole runs of train ids, blocks 2, 9, 16, ...",
        }


def _open(root: Path, class_map: str | Path | Sequence[int] | None, splits: str | Path | None) -> Any:
    mat = root / "nyu_depth_v2_labeled.mat" if root.is_dir() else root
    if root.is_dir() and (root / "rgb").is_dir():
        if class_map is not None or splits is not None:
            raise InputError(
                f"{root} has a folder layout; class_map and splits belong to nyu_depth_v2_labeled.mat only"
            )
        return _FolderSource(root)
    if not mat.is_file():
        raise InputError(
            f"{root} has neither rgb/ depth/ label40/ nor nyu_depth_v2_labeled.mat; give the folder with one of them"
        )
    from fusionzoo.data.nyuv2_mat import MatSource

    return MatSource(mat, class_map, splits)


class _FolderSource:
    """Reads the folder layout."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def official(self, part: str) -> list[int]:
        """The ids of the official "train" or "test" list, in the order of the file."""
        path = self.root / f"{part}.txt"
        if not path.is_file():
            raise InputError(f"{path} does not exist; it lists the ids of the official {part} split, one a line")
        words = path.read_text(encoding="utf-8", errors="replace").split()
        odd = next((w for w in words if not (w.isascii() and w.isdigit())), None)
        if odd is not None or not words:
            raise InputError(
                f"{path} {'is empty' if odd is None else f'has {odd!r}'}; it needs one id a line, such as 0001"
            )
        return [int(w) for w in words]

    def read(self, number: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        """(rgb, depth as stored (1, H, W), label as stored (H, W), metres for one depth step)."""
        path = self.where(number, "x")
        pixels = read_pixels(path, colours=True)
        if pixels.array.dtype != np.uint16:
            raise InputError(f"{path} is {pixels.array.dtype}; depth is a 16-bit PNG in millimetres, convert it")
        depth, _ = XFormat(scale=0.001).convert(pixels, path)
        return read_rgb(self.where(number, "rgb")), depth, read_label(self.where(number, "label")), 0.001

    def where(self, number: int, part: str) -> Path:
        """The file of one `part` ("rgb", "x", "label")."""
        folder, ending = {"rgb": ("rgb", "jpg"), "x": ("depth", "png"), "label": ("label40", "png")}[part]
        return self.root / folder / f"{number:04d}.{ending}"
