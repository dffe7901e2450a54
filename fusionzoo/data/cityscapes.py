"""Cityscapes with disparity (Cordts et al., CVPR 2016): RGB and stereo depth of streets, 5000 images of 2048 x 1024.

Paper: "The Cityscapes Dataset for Semantic Urban Scene Understanding". Licence: its own (registration, non-commercial
research). To get it: www.cityscapes-dataset.com, the packages leftImg8bit_trainvaltest, gtFine_trainvaltest,
disparity_trainvaltest and camera_trainvaltest. Splits: 2975 train, 500 val, 1525 test, whose labels are not published.

Layout: `leftImg8bit/SPLIT/CITY/NAME_leftImg8bit.png`, `gtFine/SPLIT/CITY/NAME_gtFine_labelIds.png`,
`disparity/SPLIT/CITY/NAME_disparity.png` (16-bit) and `camera/SPLIT/CITY/NAME_camera.json`. A stored disparity p > 0 is
(p - 1) / 256 pixels, 0 is missing; depth is the baseline (metres) times the focal length fx (pixels) of the image's own
camera file over it. A disparity of 0 pixels is missing too, and depth beyond 300 m counts as 300 m (our choice: there
one step of p is 15 m and more). Labels: of the 34 ids the 19 with a trainId count, all others are void.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fusionzoo.data.decode import read_pixels
from fusionzoo.data.official import Classes, Facts, Files, OfficialDataset, colours
from fusionzoo.errors import InputError
from fusionzoo.files import read_json

__all__ = ["FARTHEST", "Cityscapes", "depth_of"]

FARTHEST = 300.0
"""Metres; depth beyond it counts as that."""

_NAMES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_COLOURS = colours(
    "804080 f423e8 464646 66669c be9999 999999 faaa1e dcdc00 6b8e23 98fb98 4682b4 dc143c ff0000 00008e 000046 003c64"
    " 005064 0000e6 770b20"
)
_CITIES = {
    "train": {
        "aachen": 174, "bochum": 96, "bremen": 316, "cologne": 154, "darmstadt": 85, "dusseldorf": 221, "erfurt": 109,
        "hamburg": 248, "hanover": 196, "jena": 119, "krefeld": 99, "monchengladbach": 94, "strasbourg": 365,
        "stuttgart": 196, "tubingen": 144, "ulm": 95, "weimar": 142, "zurich": 122,
    },
    "val": {"frankfurt": 267, "lindau": 59, "munster": 174},
    "test": {"berlin": 544, "bielefeld": 181, "bonn": 46, "leverkusen": 58, "mainz": 298, "munich": 398},
}  # fmt: skip
_PARTS = {
    "rgb": ("leftImg8bit", "_leftImg8bit.png"),
    "x": ("disparity", "_disparity.png"),
    "label": ("gtFine", "_gtFine_labelIds.png"),
    "camera": ("camera", "_camera.json"),
}
"""part -> folder and what its files end with."""


class Cityscapes(OfficialDataset):
    """Cityscapes; x is depth in metres, from the disparity. Arguments and samples as of `OfficialDataset`."""

    name = "cityscapes"
    x_kind = "depth"
    facts = Facts(
        title="Cityscapes",
        paper="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
        licence="its own: registration, non-commercial research",
        get="www.cityscapes-dataset.com (leftImg8bit, gtFine, disparity and camera packages)",
        layout="leftImg8bit/ gtFine/ disparity/ camera/, each with train/ val/ test/ and cities in them",
        splits={split: sum(cities.values()) for split, cities in _CITIES.items()},
        classes={19: Classes(_NAMES, _IDS, tuple(v for v in (*range(34), 255) if v not in _IDS), _COLOURS)},
        unlabelled=("test",),
    )

    def find(self, split: str) -> dict[str, Files]:
        names = set()
        for folder, ending in _PARTS.values():
            for path in (self.root / folder / split).glob(f"*/*{ending}"):
                names.add(f"{path.parent.name}/{path.name.removesuffix(ending)}")
        return {
            name: {part: self.root / folder / split / f"{name}{end}" for part, (folder, end) in _PARTS.items()}
            for name in sorted(names)
        }

    def missing(self, split: str, found: Mapping[str, Files]) -> str:
        cities = [name.partition("/")[0] for name in found]
        for city, official in _CITIES[split].items():
            if (there := cities.count(city)) < official:
                return f"of {city} {there} of {official}"
        return ""

    def read_x(self, files: Files) -> tuple[np.ndarray, float]:
        path = files["x"]
        stored = read_pixels(path).array
        if stored.dtype != np.uint16 or stored.shape[2] != 1:
            raise InputError(f"{path} is {stored.dtype} in {stored.shape[2]} channels; a disparity has one of 16 bits")
        return depth_of(stored[None, :, :, 0], *_camera(files["camera"])), 1.0


def depth_of(stored: np.ndarray, baseline: float, focal: float) -> np.ndarray:
    """Metres, float32, 0 = missing, of stored disparities of any shape.

    >>> depth_of(np.array([0, 1, 257, 2561, 2], np.uint16), 0.2, 2000.0).tolist()
    [0.0, 0.0, 300.0, 40.0, 300.0]
    """
    pixels = (stored.astype(np.float64) - 1) / 256
    depth = np.divide(baseline * focal, pixels, out=np.zeros_like(pixels), where=pixels > 0)
    nearest: np.ndarray = np.minimum(depth, FARTHEST).astype(np.float32)
    return nearest


def _camera(path: Path) -> tuple[float, float]:
    """(baseline in metres, focal length in pixels)."""
    values = read_json(path)
    try:
        baseline, focal = float(values["extrinsic"]["baseline"]), float(values["intrinsic"]["fx"])
    except (KeyError, TypeError, ValueError):
        baseline = focal = 0.0
    if not (baseline > 0 and focal > 0):
        raise InputError(f"{path} has no positive extrinsic baseline and intrinsic fx; copy it again")
    return baseline, focal
