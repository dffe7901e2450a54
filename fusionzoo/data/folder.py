"""A generic data set in a folder: `rgb/ x/ label/` with equal file stems, and `dataset.toml`.

    name = "my_rooms"
    class_names = ["wall", "floor"]   # or: num_classes = 2
    ignore = 0                        # file value(s) that count as unlabelled, a number or a list; none when left out
    label_offset = 1                  # the file value of the first class; 0 when left out
    x_kind = "depth"                  # depth, inverse_depth, grey, hha, thermal; depth when left out
    x_scale = 0.001                   # stored x times this = metres (depth) or 0..255; told from the file when left out

    [splits]                          # one split "all" with every image when left out
    train = "train.txt"               # a file with one id a line, beside dataset.toml
    test = ["0003", "0004"]           # or the ids

Ids are file stems: `rgb/0003.jpg`, `x/0003.png`, `label/0003.png`. Keys that are not known are refused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from fusionzoo.data.base import IGNORE, Sample, SegmentationDataset, spread
from fusionzoo.data.images import X_CHANNELS, default_scale, read_label, read_rgb, read_x_raw
from fusionzoo.errors import InputError, closest, unknown
from fusionzoo.preprocess import X_KINDS

__all__ = ["Folder", "read_settings"]

EXTENSIONS = {
    "rgb": (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".npy"),
    "x": (".png", ".tif", ".tiff", ".npy", ".jpg", ".jpeg", ".bmp", ".webp"),
    "label": (".png", ".tif", ".tiff", ".npy", ".bmp"),
}
_KEYS = ("name", "class_names", "num_classes", "ignore", "label_offset", "x_kind", "x_scale", "splits")


class Folder(SegmentationDataset):
    """The data set at `root`, laid out as the module says.

    Args:
        root: the folder with `dataset.toml`.
        split: one of the splits of `dataset.toml`; "all" when it has none.
        num_classes: None, or the number of classes, which must be that of `dataset.toml`.
        size, label_size, limit, cache, cache_size, transform: as in `NYUv2`.

    Samples: rgb uint8 (3, H, W); x float32 (Cx, H, W) in the unit of `x_kind`; label int64, file value - label_offset,
    ignored values -> 255.

    Raises:
        InputError: an unknown or unfit key, a file without its partner, sizes that differ, NaN or all-zero depth, a
            label value that is no class; each names the file and what to do.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "all",
        num_classes: int | None = None,
        size: tuple[int, int] | None = None,
        label_size: str = "native",
        limit: int | None = None,
        cache: bool = False,
        cache_size: tuple[int, int] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
    ) -> None:
        self.root = Path(root).expanduser()
        settings = read_settings(self.root)
        self.name = settings["name"]
        self.class_names = settings["class_names"]
        if num_classes is not None and num_classes != len(self.class_names):
            raise InputError(
                f"{self.root} has {len(self.class_names)} classes, not {num_classes}; leave num_classes out"
            )
        self.x_kind = settings["x_kind"]
        self.x_channels = X_CHANNELS[self.x_kind]
        self._scale: float | None = settings["x_scale"]
        self._offset: int = settings["label_offset"]
        self._ignore: list[int] = settings["ignore"]
        self.split = split
        self._files = {part: self._index(part) for part in EXTENSIONS}
        splits = settings["splits"]
        if not splits:
            splits = {"all": sorted(set().union(*self._files.values()))}
        if split not in splits:
            raise unknown("split", split, splits, str(self.root / "dataset.toml"))
        ids = self._ids(split, splits[split])
        for stem in ids:
            for part in EXTENSIONS:
                if stem not in self._files[part]:
                    raise InputError(
                        f"{self.root / part} has no image {stem!r}, which split {split!r} names; add"
                        f" {part}/{stem}{EXTENSIONS[part][0]} or take the id out of the split"
                    )
        super().__init__(
            spread(ids, limit),
            size=size,
            label_size=label_size,
            cache=cache,
            cache_size=cache_size,
            transform=transform,
        )
        self.prepare_cache()

    def load(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        stem = self.ids[index]
        rgb_path, x_path, label_path = (self._files[part][stem] for part in ("rgb", "x", "label"))
        rgb, raw = read_rgb(rgb_path), read_x_raw(x_path, self.x_kind)
        scale = default_scale(raw, self.x_kind, x_path) if self._scale is None else self._scale
        return rgb, raw, self._classes(label_path), scale

    def where(self, index: int, part: str = "rgb") -> str:
        return str(self._files[part][self.ids[index]])

    def describe(self) -> dict[str, Any]:
        return {
            **super().describe(),
            "x_scale": self._scale,
            "label_offset": self._offset,
            "ignore_values": self._ignore,
        }

    def _classes(self, path: Path) -> np.ndarray:
        """The label file as uint8: 0..K-1 and 255."""
        stored = read_label(path).astype(np.int64)
        out = stored - self._offset
        ignored = np.isin(stored, self._ignore)
        wrong = ((out < 0) | (out >= self.num_classes)) & ~ignored
        if wrong.any():
            last = self._offset + self.num_classes - 1
            raise InputError(
                f"{path} has the value {int(stored[wrong][0])} in {int(wrong.sum())} pixels; classes are"
                f" {self._offset} to {last}"
                + (f", ignored {self._ignore}" if self._ignore else "")
                + "; set class_names, label_offset or"
                " ignore in dataset.toml"
            )
        out[ignored] = IGNORE
        return out.astype(np.uint8)

    def _index(self, part: str) -> dict[str, Path]:
        """stem -> file of one of the three folders."""
        folder = self.root / part
        if not folder.is_dir():
            raise InputError(f"{folder} does not exist; a data set folder has rgb/ x/ label/ and dataset.toml")
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in EXTENSIONS[part] or path.name.startswith("."):
                continue
            if path.stem in found:
                raise InputError(f"{folder} has both {found[path.stem].name} and {path.name}; keep one for each id")
            found[path.stem] = path
        if not found:
            raise InputError(f"{folder} has no image ({', '.join(EXTENSIONS[part])})")
        return found

    def _ids(self, split: str, given: str | Sequence[str]) -> list[str]:
        if not isinstance(given, str):
            ids, source = list(given), "dataset.toml"
        else:
            path = self.root / given
            if not path.is_file():
                raise InputError(f"{path} does not exist; dataset.toml names it as the ids of split {split!r}")
            ids, source = path.read_text(encoding="utf-8", errors="replace").split(), given
        if not ids:
            raise InputError(f"split {split!r} of {self.root} is empty ({source})")
        twice = next((i for i in ids if ids.count(i) > 1), None) if len(set(ids)) != len(ids) else None
        if twice is not None:
            raise InputError(f"split {split!r} of {self.root} names {twice!r} more than once ({source})")
        return ids


def read_settings(root: Path) -> dict[str, Any]:
    """`dataset.toml` of `root`, checked, with every key present.

    Returns:
        name str, class_names list[str], ignore list[int], label_offset int, x_kind str, x_scale float | None,
        splits dict[str, str | list[str]] (empty when not given).
    """
    path = root / "dataset.toml"
    if not path.is_file():
        raise InputError(f"{path} does not exist; a data set folder has rgb/ x/ label/ and dataset.toml")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    for key in raw:
        if key not in _KEYS:
            near = closest(key, _KEYS, 1)
            raise InputError(
                f"{path}: unknown key {key!r}; " + (f"did you mean {near[0]!r}?" if near else ", ".join(_KEYS))
            )

    def take(key: str, kinds: tuple[type, ...], default: Any, what: str) -> Any:
        value = raw.get(key, default)
        if value is not default and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise InputError(f"{path}: {key} is {value!r}; give {what}")
        return value

    def is_list(value: Any, kind: type) -> bool:
        return isinstance(value, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in value)

    names, count = take("class_names", (list,), None, "a list of names"), take("num_classes", (int,), None, "a number")
    if names is None and count is None:
        raise InputError(f"{path}: give class_names = [...] or num_classes = ...")
    if names is None:
        names = [f"class {i}" for i in range(count)]
    if not is_list(names, str) or len(set(names)) != len(names):
        raise InputError(f"{path}: class_names needs a list of different names")
    if count is not None and count != len(names):
        raise InputError(f"{path}: num_classes is {count} but class_names has {len(names)}")
    if not 1 <= len(names) < IGNORE:
        raise InputError(f"{path}: {len(names)} classes; 1 to {IGNORE - 1} are possible")
    ignore = raw.get("ignore", [])
    ignore = ignore if isinstance(ignore, list) else [ignore]
    if not is_list(ignore, int):
        raise InputError(f"{path}: ignore is {raw['ignore']!r}; give a file value or a list of them")
    x_kind = take("x_kind", (str,), "depth", "one of " + ", ".join(X_KINDS))
    if x_kind not in X_KINDS:
        raise unknown("x_kind", x_kind, X_KINDS, str(path))
    x_scale = take("x_scale", (int, float), None, "a positive number")
    if x_scale is not None and not 0 < x_scale < float("inf"):
        raise InputError(f"{path}: x_scale is {x_scale}; give a positive number")
    splits = take("splits", (dict,), {}, "a table of split = file or list of ids")
    for split, ids in splits.items():
        if not isinstance(ids, str) and not is_list(ids, str):
            raise InputError(f"{path}: split {split!r} needs the name of a file with ids, or a list of ids as text")
    return {
        "name": take("name", (str,), root.resolve().name, "a text"),
        "class_names": names,
        "ignore": ignore,
        "label_offset": take("label_offset", (int,), 0, "a whole number"),
        "x_kind": x_kind,
        "x_scale": None if x_scale is None else float(x_scale),
        "splits": splits,
    }
