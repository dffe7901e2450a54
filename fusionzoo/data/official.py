"""Published data sets in their official layouts: what each states of itself, and that all of it is there."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.base import IGNORE, Sample, SegmentationDataset, spread
from fusionzoo.data.images import read_label, read_rgb
from fusionzoo.errors import FusionZooWarning, InputError, check_known
from fusionzoo.modalities import parts_of

__all__ = ["Classes", "Facts", "Files", "OfficialDataset", "colours", "folder_ids", "lines_of"]

Files = dict[str, Path]
"""part ("rgb", "x", "label", and what a data set has beside) -> file, of one image."""

_STRANGE = 254  # marks, in a lookup of file values, one that no label may have


@dataclass(frozen=True)
class Classes:
    """One way to count the classes of a data set.

    Attributes:
        names: K names, in the order of the class numbers.
        values: the file value of each class, in that order.
        void: file values that count as unlabelled; a value that is in neither is refused.
        colours: K colours (red, green, blue) as papers on the data show the classes; empty: none are agreed.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    void: tuple[int, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()

    def table(self) -> np.ndarray:
        """(256,) uint8: file value -> class, 255 for unlabelled, 254 for what no label may have."""
        table = np.full(256, _STRANGE, np.uint8)
        table[list(self.void)] = IGNORE
        table[list(self.values)] = np.arange(len(self.values))
        return table


@dataclass(frozen=True)
class Facts:
    """What a published data set states.

    Attributes:
        title: as papers call it.
        paper, get: one line each: what to cite, where to get it.
        layout: the folders that are looked for, in one line.
        splits: split -> the official number of images; None: not known.
        classes: number of classes -> those classes; the first is the default.
        licence: its terms, in one line.
        parts: the splits that do not overlap (others are unions or parts of them); all where none is named.
        unlabelled: splits whose labels are not published.
    """

    title: str
    paper: str
    get: str
    layout: str
    splits: Mapping[str, int | None]
    classes: Mapping[int, Classes]
    licence: str = "none stated that we know of: research use"
    parts: tuple[str, ...] = ()
    unlabelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", self.parts or tuple(self.splits))


class OfficialDataset(SegmentationDataset):
    """Base of the published data sets. A subclass states `facts`, and `folders` or gives `find`.

    Args:
        root: the folder of the data set.
        split: one of `facts.splits`.
        num_classes: one of `facts.classes`; None: the first.
        size, label_size, limit, cache, cache_size, transform: as in `NYUv2`.
        align: x and labels of another size than rgb are resampled to it.
        empty_depth: "error" refuses an image whose x is missing everywhere, "keep" gives it.
        labels: False: they are not looked at and need not be there; each sample's label is 255 everywhere.
        partial: takes the images that are there, with one warning, where some are missing.

    Samples: rgb uint8 (3, H, W); x float32 (Cx, H, W), metres or 0..255; label int64, 0..K-1 and 255 = unlabelled.

    Raises:
        UnknownNameError: no such split.
        InputError: images are missing (how many, the first by name), a file that cannot be read, a label value that
            is no class.
    """

    facts: ClassVar[Facts]
    folders: ClassVar[Mapping[str, str]] = {}
    """part -> its folder inside that of a split, where all parts are PNG files of equal names."""
    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What may stand behind `#` in a spec, and the arguments that it stands for; "partial" goes with every data set."""
    x_parts: tuple[str, ...] = ("x",)
    """The files of x, in what `find` gives; several where x is of several modalities."""
    palette: tuple[tuple[int, int, int], ...] = ()

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        num_classes: int | None = None,
        size: tuple[int, int] | None = None,
        label_size: str = "native",
        limit: int | None = None,
        cache: bool = False,
        cache_size: tuple[int, int] | None = None,
        transform: Callable[[Sample], Sample] | None = None,
        *,
        align: bool = False,
        empty_depth: str = "error",
        labels: bool = True,
        partial: bool = False,
    ) -> None:
        facts = self.facts
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise InputError(f"{self.root} is no folder; {facts.title} needs {facts.layout}")
        check_known(f"split of {facts.title}", split, facts.splits)
        if labels and split in facts.unlabelled:
            raise InputError(
                f"the labels of {facts.title}'s split {split!r} are not published; use"
                f" {next(s for s in reversed(facts.parts) if s not in facts.unlabelled)!r}, or labels=False"
            )
        count = next(iter(facts.classes)) if num_classes is None else num_classes
        if count not in facts.classes:
            known = " or ".join(map(str, facts.classes))
            raise InputError(f"{facts.title} has {known} classes, not {count}; leave num_classes out for the first")
        if empty_depth not in ("error", "keep"):
            raise InputError(f"empty_depth is {empty_depth!r}; give 'error' or 'keep'")
        self.split, self.align, self.empty_depth, self._labels = split, bool(align) or self.align, empty_depth, labels
        self.class_names = list(facts.classes[count].names)
        self.palette = facts.classes[count].colours
        self._table = facts.classes[count].table()
        self._format = self.x_format()
        self.x_channels = parts_of(self.x_kind)[-1].stop
        self._files = self._whole(self.find(split), partial)
        ids = spread(list(self._files), limit)
        super().__init__(ids, size=size, label_size=label_size, cache=cache, cache_size=cache_size, transform=transform)
        self.prepare_cache()

    def find(self, split: str) -> dict[str, Files]:
        """id -> its files, of every image that belongs to the split, whether the files are there or not."""
        folders = {part: self.root / split / name for part, name in self.folders.items()}
        names = folder_ids(folders, dict.fromkeys(folders, (".png",)))
        return {name: {part: folder / f"{name}.png" for part, folder in folders.items()} for name in names}

    def x_format(self) -> XFormat:
        """How x is stored."""
        return XFormat(self.x_kind)

    def read_x(self, files: Files) -> tuple[np.ndarray, float]:
        """(x as stored (Cx, H, W), what turns that into the unit)."""
        return self._format.read(files["x"])

    def read_pair(self, files: Files) -> tuple[Tensor, np.ndarray, float]:
        """(rgb uint8 (3, H, W), and x as `read_x` gives it)."""
        return read_rgb(files["rgb"]), *self.read_x(files)

    def read_label(self, files: Files) -> np.ndarray:
        """The label as stored: integers (H, W)."""
        return read_label(files["label"])

    def official(self, split: str) -> int | None:
        """How many images the split must have; None: any number."""
        return self.facts.splits[split]

    def missing(self, split: str, found: Mapping[str, Files]) -> str:
        """Names what a split with too few images lacks, where the names do not tell it otherwise; or nothing."""
        return ""

    def load(self, index: int) -> tuple[Tensor, np.ndarray, np.ndarray, float]:
        files = self._files[self.ids[index]]
        rgb, raw, factor = self.read_pair(files)
        if not self._labels:
            return rgb, raw, np.full(rgb.shape[-2:], IGNORE, np.uint8), factor
        return rgb, raw, self._classes(self.read_label(files), index), factor

    def load_x(self, index: int) -> Tensor:
        """x of one image, without rgb and label and at its own size: float32 (Cx, h, w) in the unit of `x_kind`."""
        raw, factor = self.read_x(self._files[self.ids[index]])
        return torch.from_numpy(raw.astype(np.float32) * np.float32(factor))

    def where(self, index: int, part: str = "rgb") -> str:
        files = self._files[self.ids[index]]
        return str(files.get(part, files["rgb"]))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "licence": self.facts.licence, "paper": self.facts.paper}

    def _classes(self, stored: np.ndarray, index: int) -> np.ndarray:
        """The stored label as uint8: 0..K-1 and 255."""
        stored = stored.astype(np.int64)  # NumPy 2.0.0 crashes where strided uint8 is compared with 256
        inside = (stored >= 0) & (stored < 256)
        label: np.ndarray = self._table[np.where(inside, stored, 0)]
        strange = ~inside | (label == _STRANGE)
        if strange.any():
            known = np.flatnonzero(self._table != _STRANGE)
            raise InputError(
                f"{self.where(index, 'label')} has the value {int(stored[strange][0])} in {int(strange.sum())} pixels;"
                f" labels of {self.facts.title} are {int(known[0])} to {int(known[-1])}. Is it another label set?"
            )
        return label

    def _whole(self, images: dict[str, Files], partial: bool) -> dict[str, Files]:
        """The images that have all their files. InputError, or with `partial` one warning, says what is missing."""
        parts = ("rgb", *self.x_parts, *(("label",) if self._labels else ()))
        gaps = {}
        for name, files in images.items():
            gone = next((files[part] for part in parts if not files[part].is_file()), None)
            if gone is not None:
                gaps[name] = gone
        lacking = self._lacking(images, gaps)
        kept = {name: files for name, files in images.items() if name not in gaps}
        if not lacking:
            return kept
        text = f"{self.root}: split {self.split!r} of {self.facts.title} {lacking}"
        if not partial or not kept:
            way = f"; for the images that are there: {self.name}:{self.root}#partial (partial=True)" if kept else ""
            raise InputError(f"{text}; wanted {self.facts.layout}; get it from {self.facts.get}{way}")
        warnings.warn(f"{text}; going on with {len(kept)}", FusionZooWarning, stacklevel=4)
        return kept

    def _lacking(self, images: Mapping[str, Files], gaps: Mapping[str, Path]) -> str:
        """What a split lacks, in words; empty when nothing."""
        official = self.official(self.split)
        said = []
        if official is not None and len(images) != official:
            by = f"{abs(len(images) - official)} {'less' if len(images) < official else 'more'}"
            said.append(f"has {len(images) or 'no'} images, not {official}: {by}")
            if len(images) < official and (named := self.missing(self.split, images)):
                said.append(named)
        elif not images:
            said.append("has no image")
        if gaps:
            first = next(iter(gaps.values()))
            said.append(f"lacks a file of {len(gaps)} of {len(images)} images, the first {first}")
        return ", ".join(said)


def lines_of(path: Path, what: str, how: str) -> list[str]:
    """The words of a list file, one a line, endings and blanks removed. InputError says `what` it lists, and `how`."""
    if not path.is_file():
        raise InputError(f"{path} does not exist; it lists {what}{how}")
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    names = [line for line in lines if line]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if not names or twice is not None:
        raise InputError(f"{path} {'is empty' if not names else f'names {twice!r} twice'}; it lists {what}{how}")
    return names


def folder_ids(folders: Mapping[str, Path], endings: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The names, without ending, that any of the folders of a split has, sorted: one that others lack is missing there.

    Args:
        folders: part -> its folder. endings: part -> the endings of its files.
    """
    found = set()
    for part, folder in folders.items():
        if folder.is_dir():
            found |= {p.stem for p in folder.iterdir() if p.suffix.lower() in endings[part] and p.name[0] != "."}
    return sorted(found)


def colours(text: str) -> tuple[tuple[int, int, int], ...]:
    """Colours from hexadecimal words.

    >>> colours("ff0000 0a0b0c")
    ((255, 0, 0), (10, 11, 12))
    """
    return tuple((c[0], c[1], c[2]) for c in map(bytes.fromhex, text.split()))
