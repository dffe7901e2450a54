"""MFNet (Ha et al., IROS 2017): RGB and thermal of streets by day and by night, 1569 pairs of 640 x 480.

Paper: "MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles with Multi-Spectral Scenes". Licence:
none is stated with the data; treat it as for research. To get it: the site of the Machine Intelligence Laboratory,
University of Tokyo, "Multispectral Semantic Segmentation" (the file ir_seg_dataset). Splits: 784 train, 392 val, 393
test, the last also as 205 of day and 188 of night.

Layout: `images/00001D.png` with four channels (red, green, blue, thermal: a PNG of kind RGBA whose fourth is no
opacity), `labels/00001D.png` (0..8), and the lists `train.txt`, `val.txt`, `test.txt`, `test_day.txt`,
`test_night.txt`. Scores on it are usually means over nine classes, "unlabelled" being one; with num_classes=8 it is
void. Some copies hold mirrored images (`..._flip.png`) that their `train.txt` names: those are 784 too many, and
`#partial` takes them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.decode import read_pixels
from fusionzoo.data.official import Classes, Facts, Files, OfficialDataset, colours, lines_of
from fusionzoo.errors import InputError

__all__ = ["MFNet"]

_NAMES = ("unlabelled", "car", "person", "bike", "curve", "car_stop", "guardrail", "color_cone", "bump")
_COLOURS = colours("000000 400080 404000 0080c0 0000c0 808000 404080 c08080 c04000")


class MFNet(OfficialDataset):
    """MFNet; x is thermal, 0..255. Arguments and samples as of `OfficialDataset`."""

    name = "mfnet"
    x_kind = "thermal"
    facts = Facts(
        title="MFNet",
        paper="Ha et al., MFNet: Towards Real-Time Semantic Segmentation for Autonomous Vehicles with Multi-Spectral"
        " Scenes, IROS 2017",
        licence="none stated: research use",
        get="mi.t.u-tokyo.ac.jp, Multispectral Semantic Segmentation (ir_seg_dataset)",
        layout="images/ labels/ train.txt val.txt test.txt",
        splits={"train": 784, "val": 392, "test": 393, "test_day": 205, "test_night": 188},
        parts=("train", "val", "test"),
        classes={
            9: Classes(_NAMES, tuple(range(9)), (), _COLOURS),
            8: Classes(_NAMES[1:], tuple(range(1, 9)), (0,), _COLOURS[1:]),
        },
    )

    def find(self, split: str) -> dict[str, Files]:
        names = lines_of(self.root / f"{split}.txt", f"the images of split {split!r}", ", one name a line: 00001D")
        found = {}
        for name in names:
            stem = name.removesuffix(".png")
            image = self.root / "images" / f"{stem}.png"
            found[stem] = {"rgb": image, "x": image, "label": self.root / "labels" / f"{stem}.png"}
        return found

    def read_x(self, files: Files) -> tuple[np.ndarray, float]:
        return self._planes(files)[3:], 1.0

    def read_pair(self, files: Files) -> tuple[Tensor, np.ndarray, float]:
        planes = self._planes(files)
        return torch.from_numpy(planes[:3]), planes[3:], 1.0

    def _planes(self, files: Files) -> np.ndarray:
        """(4, H, W) uint8."""
        array = read_pixels(files["rgb"], colours=True).array
        if array.dtype != np.uint8 or array.shape[2] != 4:
            raise InputError(
                f"{files['rgb']} is {array.dtype} in {array.shape[2]} channels; an image of MFNet has four of 8 bits:"
                " red, green, blue and thermal"
            )
        return np.ascontiguousarray(array.transpose(2, 0, 1))  # (H, W, 4) -> (4, H, W)
