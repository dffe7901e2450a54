"""What the RGB-D saliency sets share: folders RGB/, depth/ and GT/, depth as an 8-bit picture, a mask of the object.

A mask is stored as a grey picture of 0..255, and a pixel is of the object where it is above 128, as evaluation code of
the field reads it; one of nothing but 0 and 1 counts as it is. Depth is a picture that was stretched image by image
(`x_kind` "grey"): it has no unit, and copies of a set differ in whether near is dark or bright; it is given as stored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fusionzoo.data.decode import read_pixels
from fusionzoo.data.official import Classes, Files, OfficialDataset, colours, folder_ids
from fusionzoo.errors import InputError

__all__ = ["CLASSES", "CUT", "SaliencyDataset"]

CLASSES = {2: Classes(("background", "salient"), (0, 1), (), colours("000000 ffffff"))}
CUT = 128
"""A mask's pixel is of the object above this."""
_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")


class SaliencyDataset(OfficialDataset):
    """Base of the saliency sets: two classes, "background" and "salient". Arguments and samples as of
    `OfficialDataset`; the files of one image may have any of the endings .png, .jpg, .jpeg and .bmp."""

    x_kind = "grey"
    task = "saliency"
    folders = {"rgb": "RGB", "x": "depth", "label": "GT"}

    def find(self, split: str) -> dict[str, Files]:
        places = {part: _below(self.of_split(split), name) for part, name in self.folders.items()}
        names = folder_ids(places, dict.fromkeys(places, _ENDINGS))
        stored = {part: _files(folder) for part, folder in places.items()}
        return {
            name: {part: stored[part].get(name, folder / f"{name}{'.jpg' if part == 'rgb' else '.png'}")
                   for part, folder in places.items()}
            for name in names
        }  # fmt: skip

    def of_split(self, split: str) -> Path:
        """The folder with the three folders of a split: `NJU2K_TRAIN`, `train`, ... in any case."""
        first = _below(self.root, f"{self.name}_{split}")
        return first if first.is_dir() else _below(self.root, split)

    def read_label(self, files: Files) -> np.ndarray:
        """The mask: uint8 (H, W), 1 where the object is."""
        values = read_pixels(files["label"], colours=True).values[..., 0]
        if values.dtype == np.bool_:
            return values.astype(np.uint8)
        if values.dtype != np.uint8:
            raise InputError(f"{files['label']} is {values.dtype}; a mask is an 8-bit picture, 0 to 255")
        return (values > (CUT if values.max() > 1 else 0)).astype(np.uint8)


def _below(folder: Path, name: str) -> Path:
    """`folder / name`, or where that is not there, the folder in it whose name differs in nothing but case."""
    wanted = folder / name
    if wanted.is_dir() or not folder.is_dir():
        return wanted
    return next((p for p in sorted(folder.iterdir()) if p.is_dir() and p.name.lower() == name.lower()), wanted)


def _files(folder: Path) -> dict[str, Path]:
    """Name without ending -> picture in a folder. InputError where one name has two."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in _ENDINGS and path.name[0] != ".":
            if path.stem in found:
                raise InputError(f"{folder} has both {found[path.stem].name} and {path.name}; keep one of them")
            found[path.stem] = path
    return found
