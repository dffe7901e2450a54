"""DELIVER (Zhang et al., CVPR 2023): RGB, depth, events, LiDAR of simulated streets, 7885 front views of 1042 x 1042.

Paper: "Delivering Arbitrary-Modal Semantic Segmentation" (CMNeXt). Licence: the repository's is Apache-2.0 and asks to
contact the authors for commercial use; none is stated for the data that we know of. To get it: the repository
jamycheung/DELIVER links to the archive. Splits: 3983 train, 2005 val, 1897 test.

Layout: `img/`, `hha/`, `depth/`, `event/`, `lidar/`, `semantic/`, in each `WEATHER/SPLIT/MAP_*/*_rgb_*.png`, with
`_depth`, `_event`, `_lidar`, `_semantic` for `_rgb` (HHA files too say `_depth`). WEATHER is cloud, fog, night, rain or
sun. x is one of the four: the authors' code feeds `hha/` where it says depth, so that is the default; `#depth`,
`#event`, `#lidar` after the path choose another, `#hha,event,lidar` several, one behind the other along the channels.
Events are smaller than rgb and brought to its size by nearest neighbour, as in that code.

`#fog` and the like keep one weather, `#motionblur` (overexposure, underexposure, lidarjitter, eventlowres) one sensor
failure, told by the path; the number of images is not checked then.

Not certain here, as no copy was at hand: how `depth/` is packed. Colour is read as the simulator (CARLA) documents it,
(red + 256 green + 65536 blue) / (2^24 - 1) of 1000 m, the far plane being missing; 16 bits as millimetres. Labels: the
first channel, 0 and 255 void, 1..25 the classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.decode import read_pixels
from fusionzoo.data.images import read_rgb
from fusionzoo.data.official import Classes, Facts, Files, OfficialDataset, colours
from fusionzoo.data.pair import joined
from fusionzoo.errors import check_known
from fusionzoo.modalities import check_kind

__all__ = ["DELIVER", "carla_depth"]

_NAMES = (
    "building", "fence", "other", "pedestrian", "pole", "road line", "road", "sidewalk", "vegetation", "cars", "wall",
    "traffic sign", "sky", "ground", "bridge", "rail track", "ground rail", "traffic light", "static", "dynamic",
    "water", "terrain", "two wheeler", "bus", "truck",
)  # fmt: skip
_COLOURS = colours(
    "464646 642828 375a50 dc143c 999999 9dea32 804080 f423e8 6b8e23 00008e 66669c dcdc00 4682b4 510051 966464 e6968c"
    " b4a5b4 faaa1e 6ebea0 aa7832 2d3c96 91aa64 0000e6 003c64 000046"
)
_X = {
    "hha": ("hha", "_depth"),
    "depth": ("depth", "_depth"),
    "event": ("event", "_event"),
    "lidar": ("lidar", "_lidar"),
}
"""What x may be -> its folder, and what its files say for `_rgb`."""
_WEATHERS = ("cloud", "fog", "night", "rain", "sun")
_FAILURES = ("motionblur", "overexposure", "underexposure", "lidarjitter", "eventlowres")


class DELIVER(OfficialDataset):
    """DELIVER with one of its auxiliary modalities as x, or several.

    Args:
        x: "hha", "depth" (metres), "event" or "lidar"; several joined by "+".
        case: None: all; one weather or one sensor failure (see the module).
        Others, and samples: as of `OfficialDataset`.
    """

    name = "deliver"
    x_kind = "hha"
    align = True
    words = {name: {"x": name} for name in _X} | {name: {"case": name} for name in (*_WEATHERS, *_FAILURES)}
    facts = Facts(
        title="DELIVER",
        paper="Zhang et al., Delivering Arbitrary-Modal Semantic Segmentation, CVPR 2023",
        licence="none stated for the data (its code: Apache-2.0, commercial use on request)",
        get="github.com/jamycheung/DELIVER",
        layout="img/ hha/ (or depth/ event/ lidar/) semantic/, each with WEATHER/SPLIT/MAP_*/",
        splits={"train": 3983, "val": 2005, "test": 1897},
        classes={25: Classes(_NAMES, tuple(range(1, 26)), (0, 255), _COLOURS)},
    )

    def __init__(self, root: str | Path, *others: Any, x: str = "hha", case: str | None = None, **options: Any) -> None:
        for kind in x.split("+"):
            check_known("x of DELIVER", kind, _X)
        if len(names := x.split("+")) > 1:
            check_kind(x)
            self.x_parts = tuple(names)
        if case is not None:
            check_known("case of DELIVER", case, (*_WEATHERS, *_FAILURES))
        self.x_kind, self.case = x, case
        super().__init__(root, *others, **options)

    def find(self, split: str) -> dict[str, Files]:
        xs = {part: _X[self.x_kind if part == "x" else part] for part in self.x_parts}
        places = {"rgb": ("img", "_rgb"), **xs, "label": ("semantic", "_semantic")}
        names = set()  # (weather, map, stem without the word)
        for folder, word in places.values():
            for path in (self.root / folder).glob(f"*/{split}/*/*{word}*.png"):
                weather, _, place = path.relative_to(self.root / folder).parts[:3]
                names.add((weather, place, *path.stem.rsplit(word, 1)))
        found = {}
        for weather, place, start, end in sorted(names):
            if self.case is None or (weather == self.case if self.case in _WEATHERS else self.case in place):
                found[f"{weather}/{place}/{start}{end}"] = {
                    part: self.root / folder / weather / split / place / f"{start}{word}{end}.png"
                    for part, (folder, word) in places.items()
                }
        return found

    def official(self, split: str) -> int | None:
        return super().official(split) if self.case is None else None

    def x_format(self) -> XFormat:
        return XFormat(self.x_kind.split("+")[0])

    def read_pair(self, files: Files) -> tuple[Tensor, np.ndarray, float]:
        rgb = read_rgb(files["rgb"])
        if self.x_parts == ("x",):
            return rgb, *self.read_x(files)
        parts = [(kind, *_read(kind, files[kind])) for kind in self.x_parts]
        return rgb, joined(parts, (rgb.shape[-2], rgb.shape[-1]), True, str(files["rgb"])), 1.0

    def read_x(self, files: Files) -> tuple[np.ndarray, float]:
        if self.x_parts == ("x",):
            return _read(self.x_kind, files["x"])
        parts = [(kind, *_read(kind, files[kind])) for kind in self.x_parts]
        size = parts[0][1].shape
        return joined(parts, (size[-2], size[-1]), True, str(files[self.x_parts[0]])), 1.0

    def read_label(self, files: Files) -> np.ndarray:
        return read_pixels(files["label"]).array[..., 0]

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **({} if self.case is None else {"case": self.case})}


def _read(kind: str, path: Path) -> tuple[np.ndarray, float]:
    """One modality as stored, (C, h, w), and what turns it into its unit."""
    if kind == "depth":
        pixels = read_pixels(path, colours=True)
        array = pixels.array[..., :3]
        if array.dtype == np.uint8 and array.shape[2] == 3 and (array != array[..., :1]).any():
            return carla_depth(array)[None], 1.0
        return XFormat("depth").convert(pixels, path)
    return XFormat(kind).read(path)


def carla_depth(colour: np.ndarray) -> np.ndarray:
    """Metres, float32 (H, W), 0 = missing, of CARLA's depth in 24 bits: uint8 (H, W, 3), red the lowest.

    >>> carla_depth(np.array([[[255, 255, 255], [0, 0, 1], [0, 0, 0]]], np.uint8)).round(2).astype(str).tolist()
    [['0.0', '3.91', '0.0']]
    """
    wide = colour.astype(np.int64)
    steps = wide[..., 0] + (wide[..., 1] << 8) + (wide[..., 2] << 16)
    depth: np.ndarray = np.where(steps == (1 << 24) - 1, 0, steps * (1000.0 / ((1 << 24) - 1))).astype(np.float32)
    return depth
