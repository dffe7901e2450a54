"""A data set in a folder: `rgb/ x/ label/` with equal file names, and `dataset.toml`.

    name = "my_rooms"
    class_names = ["wall", "floor"]   # or: num_classes = 2
    ignore = 0                        # file value(s) that count as unlabelled, a number or a list; none when left out
    label_offset = 1                  # the file value of the first class; 0 when left out
    label_colours = {wall = [120, 120, 120], floor = "#503232"}   # labels are painted: the colour of each class, or a
                                      # list in the order of class_names; several colours a class: [[..], [..]]
    ignore_colours = [[0, 0, 0]]      # colours that count as unlabelled

    x_kind = "depth"                  # depth, inverse_depth, grey, hha, thermal; when left out, what the folder is
                                      # called (depth/, hha/, thermal/), or depth
    x_scale = 0.001                   # stored x times this = metres (depth) or 0..255; told from the file when left
                                      # out: 16-bit depth is millimetres, float depth metres. TUM: 0.0002, KITTI:
                                      # 0.00390625
    x_offset = -273.15                # added after that; 0 when left out
    x_encoding = "sunrgbd"            # 16-bit depth with bits rotated as SUN RGB-D has it; "swapped": bytes; "plain"
    x_disparity = 384.4               # x is a disparity (in pixels, after scale and offset): focal length in pixels
                                      # times baseline in metres; depth is this over it
    missing = [65535]                 # further stored values that mark missing depth. 0, NaN, infinities, one and the
                                      # same negative value and a lone highest value of the type are missing anyhow
    align = true                      # x and labels of another size than rgb are resampled to it (nearest neighbour)
    folders = {rgb = "images", x = "depth_filled"}   # where folders have names of their own

    [x.depth]                         # several modalities: a table for each instead of the keys x_..., in the order
    scale = 0.001                     # in which x has their channels; scale, offset, encoding, disparity and missing as
    [x.thermal]                       # above, folder where it is not called like the kind
    folder = "infrared"

    [splits]                          # when left out: train.txt, val.txt, test.txt, or folders train/, val/, test/;
    train = "train.txt"               # without those one split "all". A file with one id or path a line, or with the
    test = ["0003", "0004"]           # files of one image in columns; or the ids

Keys that are not known are refused. Ids are the names of the rgb files, without folder and ending. Common other names
are understood: images/, depth/, labels/; rgb_0003 beside depth_0003; train/rgb/, rgb/train/. EXIF orientations are
applied. Without `dataset.toml` the folder is read where its files leave no choice, and one warning says what was
assumed.
"""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.assumed import assume
from fusionzoo.data.base import IGNORE, Sample, SegmentationDataset, spread
from fusionzoo.data.images import read_colour_label, read_label, read_rgb
from fusionzoo.data.layout import Files, Layout
from fusionzoo.data.pair import joined, turned_alone
from fusionzoo.data.settings import read_settings
from fusionzoo.errors import FusionZooWarning, InputError, check_known
from fusionzoo.modalities import parts_of

__all__ = ["Folder"]


class Folder(SegmentationDataset):
    """The data set at `root`, laid out as the module says.

    Args:
        root: the folder, with `dataset.toml` or without.
        split: one of its splits; "all" when it has none; None: "test" if there is one, else "all".
        num_classes: None, or the number of classes, which must be that of `dataset.toml`.
        size, label_size, limit, cache, cache_size, transform: as in `NYUv2`.
        align, empty_depth, labels: as in `OfficialDataset`; align None: as `dataset.toml` says.
        incomplete: "error" refuses a split of which an image has not all its files; "keep": reading the image does.

    Samples: rgb uint8 (3, H, W); x float32 (Cx, H, W) in the unit of `x_kind`; label int64, file value - label_offset,
    ignored values -> 255.

    Raises:
        InputError: an unknown or unfit key, a file without its partner, sizes that differ, negative depth or none at
            all, a unit that cannot be, a label value that is no class; each names the file and what to do.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = "all",
        num_classes: int | None = None,
        size: tuple[int, int] | None = None,
        label_size: str = "native",
        limit: int | None = None,
        cache: bool = False,
        cache_size: tuple[int, int] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        *,
        align: bool | None = None,
        labels: bool = True,
        empty_depth: str = "error",
        incomplete: str = "error",
    ) -> None:
        self.root = Path(root).expanduser()
        toml = self.root / "dataset.toml"
        settings = read_settings(toml, labels) if toml.is_file() else None
        if not self.root.is_dir():
            raise InputError(f"{self.root} is no folder; a data set folder has rgb/ x/ label/ and dataset.toml")
        several = tuple(settings.formats) if settings else ()
        folders, kind = (settings.folders, settings.x_kind) if settings else ({}, None)
        layout = Layout(self.root, folders, kind, labels, several)
        if settings is None:
            settings = assume(layout, num_classes, labels)
        self.name, self.class_names = settings.name, settings.class_names
        if num_classes is not None and labels and num_classes != len(self.class_names):
            raise InputError(
                f"{self.root} has {len(self.class_names)} classes, not {num_classes}; leave num_classes out"
            )
        self.x_kind = settings.x_kind or layout.kind or "depth"
        self.x_channels = parts_of(self.x_kind)[-1].stop
        self._told = np.frombuffer(mmap.mmap(-1, 1), np.uint8)  # shared with the workers: each remark is made once
        self._settings, self._labels = settings, labels
        self._formats = settings.formats or {"x": settings.x_format(self.x_kind)}
        self.align = settings.align if align is None else align
        if empty_depth not in ("error", "keep"):
            raise InputError(f"empty_depth is {empty_depth!r}; give 'error' or 'keep'")
        if incomplete not in ("error", "keep"):
            raise InputError(f"incomplete is {incomplete!r}; give 'error' or 'keep'")
        self.empty_depth, keep = empty_depth, incomplete == "keep"
        shown = settings.splits or layout.splits(keep)
        splits = settings.splits or {**shown, "all": layout.everything()}
        if not settings.splits and (shown or split is not None) and split != "all":
            layout.not_empty(split or "test", splits)
        if split is None:
            if shown and "test" not in shown:
                raise InputError(f"{self.root} has no split 'test'; name one of its splits: {', '.join(splits)}")
            split = "test" if "test" in splits else "all"
        check_known("split", split, splits, str(toml if settings.splits else self.root))
        self.split = split
        given = splits[split]
        self._files = dict(layout.looked_up(split, given) if keep else layout.images(split, given))
        firsts = {stem.partition("/")[0] for stem in self._files if "/" in stem}
        if not settings.splits and split != "all" and len(firsts) == 1 and all("/" in stem for stem in self._files):
            self._files = {stem.partition("/")[2]: files for stem, files in self._files.items()}  # "train/0003": "0003"
        ids = spread(list(self._files), limit)
        super().__init__(ids, size=size, label_size=label_size, cache=cache, cache_size=cache_size, transform=transform)
        self.prepare_cache()

    def load(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        files = self._of(index)
        rgb = read_rgb(files["rgb"])
        raw, scale = self._read_x(files, (rgb.shape[-2], rgb.shape[-1]))
        if not self._told[0]:
            parts: dict[str, str | Path] = {
                p: path for p, path in files.items() if p in ("rgb", "label", *self._formats)
            }
            if (remark := turned_alone(parts, (rgb.shape[-2], rgb.shape[-1]))) is not None:
                self._told[0] = 1
                warnings.warn(f"{remark} (said of the first such image)", FusionZooWarning, stacklevel=2)
        if not self._labels:
            return rgb, raw, np.full(rgb.shape[-2:], IGNORE, np.uint8), scale
        return rgb, raw, self._classes(files["label"]), scale

    def load_x(self, index: int) -> Tensor:
        """x of one image, without rgb and label and at its own size: float32 (Cx, h, w) in the unit of `x_kind`."""
        raw, scale = self._read_x(self._of(index))
        return torch.from_numpy(raw.astype(np.float32) * np.float32(scale))

    def _of(self, index: int) -> Files:
        """The files of an image, all of them there."""
        files = self._files[self.ids[index]]
        if isinstance(files, InputError):
            raise InputError(str(files))
        return files

    def _read_x(self, files: Files, size: tuple[int, int] | None = None) -> tuple[np.ndarray, float]:
        """(x as stored, what gives its unit); several modalities as one at `size`, without one that of the first."""
        read = [(name, *form.read(files[name])) for name, form in self._formats.items()]
        if len(read) == 1:
            return read[0][1:]
        first = read[0][1].shape
        fit, align = (size, self.align) if size is not None else ((first[-2], first[-1]), True)
        return joined(read, fit, align, str(files["rgb"])), 1.0

    def where(self, index: int, part: str = "rgb") -> str:
        files = self._of(index)
        return str(files.get(part, files["rgb"]))

    def describe(self) -> dict[str, Any]:
        settings, forms = self._settings, list(self._formats.values())

        def said(name: str) -> Any:
            """Of one modality its setting, of several a list."""
            values = [list(v) if isinstance(v := getattr(form, name), tuple) else v for form in forms]
            return values[0] if len(values) == 1 else values if any(values) else None

        more = {f"x_{name}": said(name) for name in ("offset", "encoding", "disparity")}
        more |= {"missing": said("missing"), "align": self.align}
        return {
            **super().describe(),
            "x_scale": said("scale"),
            "label_offset": settings.label_offset,
            "ignore_values": settings.ignore,
            **{key: value for key, value in more.items() if value},
        }

    def _classes(self, path: Path) -> np.ndarray:
        """The label file as uint8: 0..K-1 and 255."""
        settings = self._settings
        if settings.colours:
            return read_colour_label(path, settings.colours).astype(np.uint8)
        stored = read_label(path).astype(np.int64)
        out = stored - settings.label_offset
        ignored = np.isin(stored, settings.ignore)
        wrong = ((out < 0) | (out >= self.num_classes)) & ~ignored
        if wrong.any():
            last = settings.label_offset + self.num_classes - 1
            raise InputError(
                f"{path} has the value {int(stored[wrong][0])} in {int(wrong.sum())} pixels; classes are"
                f" {settings.label_offset} to {last}"
                + (f", ignored {settings.ignore}" if settings.ignore else "")
                + "; set class_names, label_offset or ignore in dataset.toml"
            )
        out[ignored] = IGNORE
        return out.astype(np.uint8)
