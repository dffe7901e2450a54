"""SUN RGB-D (Song et al., CVPR 2015): RGB-D of rooms from four cameras, 10335 images, 37 classes.

Paper: "SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite". Licence: none is stated that we know of; it holds
images of NYU Depth v2, Berkeley B3DO and SUN3D: treat it as for research. To get it: rgbd.cs.princeton.edu, SUNRGBD.zip
and SUNRGBDtoolbox.zip. Splits: 5285 train, 5050 test.

Two layouts:

* as published: `SUNRGBD/` (kv1/, kv2/, realsense/, xtion/) and `SUNRGBDtoolbox/` with
  `traintestSUNRGBD/allsplit.mat`, `Metadata/SUNRGBDMeta.mat` and `Metadata/SUNRGBD2Dseg.mat` (needs scipy and h5py:
  the extra `train`). x is the depth with filled holes, `depth_bfx/`; `#raw` after the path takes `depth/`. No copy of
  the .mat files was at hand: they are read as the toolbox describes them, their fields checked by name.
* prepared by others: any arrangement of rgb, depth and label images that `folder:` reads, with splits train and test,
  labels 0 = unlabelled, 1..37.

Depth is stored with its bits rotated: millimetres are `(d >> 3) | (d << 13)` of 16 bits, and more than 8 m count as 8
m, both as in the authors' read3dPoints. Prepared copies have it rotated or plain: it is told from the first images
(rotated values are multiples of 8). The classes are the first 37 of NYU-40; the colours are those of ScanNet's tools
for them, as SUN RGB-D has none of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.decode import read_pixels
from fusionzoo.data.layout import Layout
from fusionzoo.data.matlab import Hdf5, old_variables, one_line
from fusionzoo.data.nyuv2 import CLASSES_40
from fusionzoo.data.official import Classes, Facts, Files, OfficialDataset
from fusionzoo.data.scannet import COLOURS_40
from fusionzoo.errors import InputError, check_known

__all__ = ["FARTHEST", "SUNRGBD"]

FARTHEST = 8000
"""Millimetres; depth beyond it counts as that."""

_TOOLBOX = "SUNRGBDtoolbox"
_DEPTH = {"filled": "depth_bfx", "raw": "depth"}


class SUNRGBD(OfficialDataset):
    """SUN RGB-D; x is depth in metres.

    Args:
        depth: "filled" or "raw" (as published only).
        Others, and samples: as of `OfficialDataset`.

    Raises:
        InputError: scipy or h5py is not installed where the layout as published needs them; see also there.
    """

    name = "sunrgbd"
    x_kind = "depth"
    words = {name: {"depth": name} for name in _DEPTH}
    facts = Facts(
        title="SUN RGB-D",
        paper="Song et al., SUN RGB-D: A RGB-D Scene Understanding Benchmark Suite, CVPR 2015",
        get="rgbd.cs.princeton.edu (SUNRGBD, SUNRGBDtoolbox)",
        layout="SUNRGBD/ and SUNRGBDtoolbox/, or rgb/ depth/ label/ with splits train and test",
        splits={"train": 5285, "test": 5050},
        classes={37: Classes(CLASSES_40[:37], tuple(range(1, 38)), (0,), COLOURS_40[:37])},
    )

    def __init__(self, root: str | Path, *others: Any, depth: str = "filled", **options: Any) -> None:
        check_known("depth of SUN RGB-D", depth, _DEPTH)
        self._depth = depth
        self._mats = None if not (Path(root).expanduser() / _TOOLBOX).is_dir() else _Toolbox(Path(root).expanduser())
        super().__init__(root, *others, **options)

    def x_format(self) -> XFormat:
        return XFormat(scale=0.001, encoding="sunrgbd")

    def find(self, split: str) -> dict[str, Files]:
        if self._mats is not None:
            return self._mats.images(split, _DEPTH[self._depth])
        if self._depth == "raw":
            raise InputError(f"{self.root} has no {_TOOLBOX}/: only the published layout has raw depth beside filled")
        layout = Layout(self.root, {}, "depth", self._labels)
        splits = layout.splits()
        if split not in splits:
            there = ", ".join(splits) or "none: add train.txt and test.txt"
            raise InputError(f"{self.root} has no split {split!r} of SUN RGB-D; its splits are {there}")
        found = layout.images(split, splits[split])
        rotated = all(_is_rotated(files["x"]) for files in list(found.values())[:3])
        self._format = XFormat(scale=0.001, encoding="sunrgbd" if rotated else "plain")
        return found

    def read_x(self, files: Files) -> tuple[np.ndarray, float]:
        raw, factor = super().read_x(files)
        return np.minimum(raw, FARTHEST), factor

    def read_label(self, files: Files) -> np.ndarray:
        return super().read_label(files) if self._mats is None else self._mats.label(files["rgb"])


def _is_rotated(path: Path) -> bool:
    """Whether nearly all measured values are multiples of 8, as rotated depth below 8.2 m is."""
    stored = read_pixels(path, colours=True).array[..., 0]
    known = stored[stored > 0] if stored.dtype == np.uint16 else stored[:0]
    return bool(known.size and (known & 7 == 0).mean() > 0.9)


class _Toolbox:
    """What the .mat files of the toolbox say: the images in their order, the splits, the labels."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / _TOOLBOX
        self._labels = Hdf5(self.folder / "Metadata" / "SUNRGBD2Dseg.mat")
        names, rgb, depth = self._meta()
        self._order = {name: i for i, name in enumerate(names)}
        self._rgb, self._depth = dict(zip(names, rgb, strict=True)), dict(zip(names, depth, strict=True))
        self._at: dict[Path, int] = {}

    def images(self, split: str, folder: str) -> dict[str, Files]:
        """id (the path below SUNRGBD/) -> files; `label` is the file with all labels."""
        path = self.folder / "traintestSUNRGBD" / "allsplit.mat"
        found: dict[str, Files] = {}
        for place in _variable(path, f"all{split}", f"the images of split {split!r}"):
            name = _below(str(np.ravel(place)[0] if isinstance(place, np.ndarray) else place))
            if name not in self._order:
                raise InputError(f"{path} names {name}, which SUNRGBDMeta.mat does not have; download both again")
            base = self.root / "SUNRGBD" / name
            rgb = base / "image" / self._rgb[name]
            self._at[rgb] = self._order[name]
            found[name] = {"rgb": rgb, "x": base / folder / self._depth[name], "label": self._labels.path}
        return found

    def label(self, rgb: Path) -> np.ndarray:
        """The label as stored, (H, W), of the image whose colour is `rgb`."""
        file, index = self._labels.file, self._at[rgb]
        try:
            references = file["SUNRGBD2Dseg"]["seglabel"]
            found = file[references[np.unravel_index(index, references.shape)]]
            return np.asarray(found[()]).T.astype(np.int64)  # MATLAB: first axis fastest, numbers often double
        except (KeyError, ValueError, OSError, RuntimeError, TypeError) as error:
            raise InputError(
                f"{self._labels.path}: label {index + 1} cannot be read ({one_line(error)}); download it again"
            ) from error

    def _meta(self) -> tuple[list[str], list[str], list[str]]:
        path = self.folder / "Metadata" / "SUNRGBDMeta.mat"
        meta = _variable(path, "SUNRGBDMeta", "the images in their order")
        fields = ("sequenceName", "rgbname", "depthname")
        lacking = [f for f in fields if f not in (meta.dtype.names or ())]
        if lacking:
            raise InputError(f"{path}: SUNRGBDMeta has no field {lacking[0]!r}; download it again")
        columns = [[str(np.ravel(value)[0]) for value in meta[f]] for f in fields]
        return [_below(name) for name in columns[0]], columns[1], columns[2]


def _below(path: str) -> str:
    """A path of the authors' machine from SUNRGBD/ on.

    >>> _below("/n/fs/sun3d/data/SUNRGBD//kv1/NYUdata/NYU0001/")
    'kv1/NYUdata/NYU0001'
    """
    pieces = [piece for piece in path.replace("\\", "/").split("/") if piece]
    return "/".join(pieces[pieces.index("SUNRGBD") + 1 :] if "SUNRGBD" in pieces else pieces)


def _variable(path: Path, name: str, what: str) -> np.ndarray:
    """A variable of a .mat file of the toolbox, which holds `what`."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; it holds {what} of SUN RGB-D: get SUNRGBDtoolbox.zip")
    found = old_variables(path, [name])
    if name not in found:
        raise InputError(f"{path} has no variable {name!r}; download it again")
    return np.ravel(found[name])
