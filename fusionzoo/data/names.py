"""Which files of a data set folder are rgb, x and label, and which of them belong together: by names alone."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

__all__ = ["ENDINGS", "PARTS", "PART_WORDS", "X_KIND_OF_WORD", "normal", "pair", "part_of", "walk", "without_ending"]

PARTS = ("rgb", "x", "label")

ENDINGS = {
    "rgb": (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".npy"),
    "x": (".png", ".tif", ".tiff", ".npy", ".jpg", ".jpeg", ".bmp", ".webp"),
    "label": (".png", ".tif", ".tiff", ".npy", ".bmp", ".webp"),
}

X_KIND_OF_WORD = {
    **dict.fromkeys(("depth", "depths", "dep", "dpt"), "depth"),
    "hha": "hha",
    **dict.fromkeys(("thermal", "th", "ir", "infrared", "lwir", "tir"), "thermal"),
}
"""Words that name x, as a folder or in a file's name, and the kind that they say it is."""

PART_WORDS = {
    **dict.fromkeys(("rgb", "image", "images", "img", "imgs", "color", "colour", "colors", "colours"), "rgb"),
    **dict.fromkeys(("visible", "vis", "leftimg8bit"), "rgb"),
    **dict.fromkeys(("x", *X_KIND_OF_WORD), "x"),
    **dict.fromkeys(("label", "labels", "gt", "mask", "masks", "annotation", "annotations", "annot"), "label"),
    **dict.fromkeys(("seg", "segmentation", "semantic", "semantics", "gtfine", "labelids", "labeltrainids"), "label"),
}
"""Folder and file words, in lower case, and the part that they name."""

_WEAK = ("x", "vis", "th")  # short words that a folder may be called, but that say too little within a file's name


def normal(text: str) -> str:
    """The composed Unicode form (NFC): the same name however the system that wrote it spells it."""
    return unicodedata.normalize("NFC", text)


def without_ending(name: str) -> str:
    """A path without the ending of an image; other dots are kept."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and any("." + ending.lower() in known for known in ENDINGS.values()) else name


def walk(folder: Path) -> list[Path]:
    """Every file under `folder`, sorted, hidden ones left out; linked folders are followed once."""
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        found += [Path(place, name) for name in files if not name.startswith(".")]
    return sorted(found)


def part_of(path: Path) -> tuple[str, str, str] | None:
    """(part, id, word) of a path relative to the data set: "train/depth/03.png" -> ("x", "train/03", "depth").

    The nearest folder that is called like a part says it, otherwise a word in the file's name ("*depth*"). None:
    nothing says it.
    """
    words = [name.lower() for name in path.parts[:-1]]
    named = [word for word in words if word in PART_WORDS]
    kept = [name for name, word in zip(path.parts[:-1], words, strict=True) if word not in PART_WORDS]
    stem = without_ending(path.name)
    if not named:
        named = [w for w in _tokens(stem) if w in PART_WORDS and w not in _WEAK]
        if len({PART_WORDS[word] for word in named}) != 1:
            return None
        named = [f"*{named[-1]}*"]
    word = named[-1]
    part = PART_WORDS[word.strip("*")]
    if path.suffix.lower() not in ENDINGS[part]:
        return None
    return part, normal("/".join([*kept, stem])), word


def pair(rgb: Iterable[str], other: Iterable[str], part: str) -> dict[str, str]:
    """Which id of `part` belongs to which id of rgb: {rgb id: other id}, as far as they match.

    Equal names match. Where none is equal: names that are equal without the words of their part ("rgb_0001" and
    "0001_depth"); then, if every one finds exactly one, without what all of its part begin and end with, or with
    numbers compared as numbers.
    """
    rgb, other = list(rgb), list(other)
    same = set(rgb) & set(other)
    if same or not rgb or not other:
        return {name: name for name in rgb if name in same}

    def words(of: str) -> Callable[[str], str]:
        return lambda name: _bare(name, of)

    rules = [(words("rgb"), words(part), False), (_affixes(rgb), _affixes(other), True)]
    rules.append((lambda n: _numbers(_bare(n, "rgb")), lambda n: _numbers(_bare(n, part)), True))
    for key_rgb, key_other, whole in rules:
        a, b = _keys(rgb, key_rgb), _keys(other, key_other)
        if a is None or b is None or not set(a) & set(b) or (whole and (set(a) != set(b) or len(a) < 2)):
            continue
        return {a[key]: b[key] for key in a if key in b}
    return {}


def _keys(names: list[str], key: Callable[[str], str]) -> Mapping[str, str] | None:
    """key -> name; None when two names share a key."""
    found = {key(name): name for name in names}
    return found if len(found) == len(names) else None


def _tokens(stem: str) -> list[str]:
    """The words of a file's name, in lower case: "Rgb_0001" -> ["rgb", "0001"]; "depth0001" too."""
    pieces = re.split(r"[\W_]+", stem.lower())
    return [word for piece in pieces for word in _attached(piece)]


def _attached(piece: str) -> list[str]:
    match = re.fullmatch(r"([^\W\d]+)(\d+)|(\d+)([^\W\d]+)", piece)
    if match is None:
        return [piece]
    word = match[1] or match[4]
    return [match[1] or match[3], match[2] or match[4]] if word in PART_WORDS else [piece]


def _bare(name: str, part: str) -> str:
    """An id without the words of its part, in lower case."""
    folder, slash, stem = name.rpartition("/")
    kept = [word for word in _tokens(stem) if PART_WORDS.get(word) != part or word in _WEAK]
    return f"{folder}{slash}{'_'.join(filter(None, kept))}"


def _numbers(name: str) -> str:
    return re.sub(r"\d+", lambda match: str(int(match[0])), name)


def _affixes(names: list[str]) -> Callable[[str], str]:
    """Takes away what the last parts of all names begin and end with; digits next to it stay."""
    stems = [name.rpartition("/")[2] for name in names]
    start = re.sub(r"\d+$", "", os.path.commonprefix(stems))
    end = re.sub(r"^\d+", "", os.path.commonprefix([s[len(start) :][::-1] for s in stems])[::-1])

    def key(name: str) -> str:
        folder, slash, stem = name.rpartition("/")
        return f"{folder}{slash}{stem[len(start) : len(stem) - len(end)]}"

    return key
