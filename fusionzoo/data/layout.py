"""The files of a data set folder: which are rgb, x and label, and the images that a split names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from fusionzoo.data.decode import NOT_READ
from fusionzoo.data.names import (
    ENDINGS,
    PART_WORDS,
    PARTS,
    X_KIND_OF_WORD,
    normal,
    pair,
    part_of,
    walk,
    without_ending,
)  # fmt: skip
from fusionzoo.data.split_files import Entry, parse_lines, read_text
from fusionzoo.errors import InputError, closest

__all__ = ["Layout", "Files"]

Files = dict[str, Path]
"""part -> file, of one image."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
    "trainval": "trainval",
}
"""Folder and list names that say which split they hold, and that split."""


class Layout:
    """The image files under `root`, by part and id. An id is the path without the folder of the part and the ending.

    Args:
        root: the folder.
        folders: part -> its folder below `root`, where `dataset.toml` says so.
        x_kind: settles which folder is x where there are several (depth/ and hha/); None: not known.
        labels: False: there need be none, and they are not looked at.
        modalities: the kinds of x where there are several: each is a part of its own, in the folder that is called
            like it or that `folders` names.

    Attributes:
        files: part -> {id: file}.
        words: part -> the word in folders or names that said so ("depth").

    Raises:
        InputError: no folder or no image for a part, several candidates, two files for one id.
    """

    def __init__(
        self,
        root: Path,
        folders: dict[str, str],
        x_kind: str | None,
        labels: bool = True,
        modalities: Sequence[str] = (),
    ) -> None:
        self.root, self.folders, self.modalities = root, folders, tuple(modalities)
        self.parts = ("rgb", *(modalities or ("x",)), *(("label",) if labels else ()))
        found: dict[str, dict[str, list[tuple[str, Path]]]] = {part: {} for part in (*PARTS, *modalities)}
        for path in walk(root):
            named = self._named(path.relative_to(root))
            if named is not None:
                part, stem, word = named
                found[part].setdefault(word, []).append((stem, path))
        self.words = {part: self._chosen(part, list(found[part]), x_kind) for part in self.parts}
        self.files = {part: self._index(self._outermost(found[part][self.words[part]], part)) for part in self.parts}
        others = {p: "x" if p in self.modalities else p for p in self.parts if p != "rgb"}
        self._pairs = {p: pair(self.files["rgb"], self.files[p], of) for p, of in others.items()}
        self._back = {p: {there: here for here, there in pairs.items()} for p, pairs in self._pairs.items()}

    @property
    def kind(self) -> str | None:
        """The kind of x that the name of its folder says; None where it is just x."""
        return X_KIND_OF_WORD.get(self.words["x"].strip("*").lower())

    def _named(self, path: Path) -> tuple[str, str, str] | None:
        """`part_of`, for folders that `dataset.toml` names too."""
        for part, folder in {**dict(zip(self.modalities, self.modalities, strict=True)), **self.folders}.items():
            inside, own = Path(folder), [name for name in path.parts[:-1] if name.lower() != folder.lower()]
            if path.suffix.lower() not in ENDINGS["x" if part in self.modalities else part]:
                continue
            if path.is_relative_to(inside):
                return part, normal(without_ending(path.relative_to(inside).as_posix())), folder
            if part in self.modalities and len(own) < len(path.parts) - 1:  # train/thermal/03.png
                return part, normal("/".join([*own, without_ending(path.name)])), folder
        named = part_of(path)
        return None if named is None or named[0] in self.folders or named[0] not in self.parts else named

    def _chosen(self, part: str, words: list[str], x_kind: str | None) -> str:
        """Which of the words for a part counts."""
        if part in self.modalities:
            folder = self.folders.get(part, part)
            if not words:
                raise InputError(
                    f"{self.root / folder} has no image ({', '.join(ENDINGS['x'])}), and [x.{part}] in dataset.toml"
                    " wants them there; folder = ... names another"
                )
            return folder
        if part in self.folders:
            if not words:
                raise InputError(f"{self.root / self.folders[part]} has no image ({', '.join(ENDINGS[part])})")
            return self.folders[part]
        words = [word for word in words if not word.startswith("*")] or words  # folders say it before names do
        if part in words or len(words) == 1:
            return part if part in words else words[0]
        fitting = [w for w in words if x_kind and X_KIND_OF_WORD.get(w.strip("*")) == x_kind.replace("inverse_", "")]
        if part == "x" and len(fitting) == 1:
            return fitting[0]
        if words:
            say = "; or set x_kind" if part == "x" else ""
            raise InputError(
                f"{self.root} has {' and '.join(sorted(words))}, and each could be {part}; say which in dataset.toml:"
                f" folders = {{{part} = {sorted(words)[0]!r}}}{say}"
            )
        for path in self.root.rglob("*"):
            if (what := NOT_READ.get(path.suffix.lower())) and PART_WORDS.get(path.parent.name.lower()) == part:
                raise InputError(
                    f"{path.parent} holds {path.suffix} files ({what}), which are not read; save them as NPY or float"
                    " TIFF (metres), or 16-bit PNG"
                )
        folders = [p for p in sorted(self.root.iterdir()) if p.is_dir()]
        empty = next((p for p in folders if PART_WORDS.get(p.name.lower()) == part), None)
        if empty is None:
            there = [p.name for p in folders if not p.name.startswith(".")]
            raise InputError(
                f"{self.root / part} does not exist; a data set folder has rgb/ x/ label/ and dataset.toml, where other"
                f" names are said: folders = {{{part} = ...}}; it has {', '.join(there[:8]) or 'no folders'}"
            )
        lossy = ", which JPEG, being lossy, cannot hold" if part == "label" and any(empty.rglob("*.jp*g")) else ""
        raise InputError(f"{empty} has no image ({', '.join(ENDINGS[part])}){lossy}")

    def _outermost(self, files: list[tuple[str, Path]], part: str) -> list[tuple[str, Path]]:
        """Those in a folder directly below the root, if there are any: a copy deeper down is not meant."""
        top = [(stem, path) for stem, path in files if path.relative_to(self.root).parts[0].lower() == self.words[part]]
        return top or files

    def _index(self, files: list[tuple[str, Path]]) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for stem, path in files:
            if stem in found:
                raise InputError(f"{path.parent} has both {found[stem].name} and {path.name}; keep one for each id")
            found[stem] = path
        return found

    def splits(self, incomplete: bool = False) -> dict[str, str | list[str]]:
        """The splits that the folder shows by itself: lists train.txt, ..., or folders train/, ...; empty when none.

        Args:
            incomplete: folders have the ids of x and label without rgb too.
        """
        lists = {split: f"{name}.txt" for name, split in _SPLITS.items() if (self.root / f"{name}.txt").is_file()}
        if lists:
            return dict(lists)
        found: dict[str, str | list[str]] = {}
        for stem in self.files["rgb"]:
            first, slash, _ = stem.partition("/")
            if not slash or first.lower() not in _SPLITS:
                return {}
            ids = found.setdefault(_SPLITS[first.lower()], [])
            assert isinstance(ids, list)
            ids.append(stem)
        if incomplete:
            rest = [(stem, _SPLITS.get(stem.partition("/")[0].lower())) for stem in self.everything()]
            found = {split: [stem for stem, of in rest if of == split] for split in found}
        return found

    def not_empty(self, split: str, shown: Collection[str]) -> None:
        """InputError where a folder of this split is there and none of `shown`, the splits that hold images."""
        named = (name for name, of in _SPLITS.items() if of == split or name == split)
        if split not in shown and (folder := next((p for n in named if (p := self.root / n).is_dir()), None)):
            raise InputError(f"{folder} holds no image of rgb, so there is no split {split!r}; put images in, or name"
                             f" another: {', '.join(shown)}")  # fmt: skip

    def everything(self) -> list[str]:
        """Every id, those that have not all parts included (they are named when asked for)."""
        alone = {
            stem
            for part, pairs in self._pairs.items()
            if pairs and all(a == b for a, b in pairs.items())
            for stem in set(self.files[part]) - set(pairs.values())
        }
        return sorted({*self.files["rgb"], *alone})

    def images(self, split: str, given: str | Sequence[str]) -> dict[str, Files]:
        """id -> its files, in the order of the split. Arguments and errors as of `looked_up`.

        Raises:
            InputError: an image without its partner.
        """
        images: dict[str, Files] = {}
        for stem, files in self.looked_up(split, given).items():
            if isinstance(files, InputError):
                raise files
            images[stem] = files
        return images

    def looked_up(self, split: str, given: str | Sequence[str]) -> dict[str, Files | InputError]:
        """id -> its files, or what is to be said of one that has not all of them, in the order of the split.

        Args:
            given: the name of a file with a list, or the ids.

        Raises:
            InputError: a list that cannot be read or is empty, a name that is no image, names that do not pair.
        """
        source = given if isinstance(given, str) else "dataset.toml"
        if isinstance(given, str):
            path = self.root / given
            if not path.is_file():
                kind = "is a folder" if path.is_dir() else "does not exist"
                raise InputError(f"{path} {kind}; dataset.toml names it as the ids of split {split!r}")
            entries = parse_lines(read_text(path), self.find, sorted(self.files["rgb"]), str(path))
        else:
            entries = [self._listed(split, text) for text in given]
        if not entries:
            raise InputError(f"split {split!r} of {self.root} is empty ({source})")
        images: dict[str, Files | InputError] = {}
        for entry in entries:
            stem = self._stem(entry)
            if stem in images:
                raise InputError(f"split {split!r} of {self.root} names {stem!r} more than once ({source})")
            images[stem] = self._image(split, stem, entry)
        return images

    def _listed(self, split: str, text: str) -> dict[str | None, str]:
        entry = self.find(normal(text))
        if entry is None:
            near = closest(text, self.files["rgb"], 1)
            raise InputError(
                f"{self.root / 'rgb'} has no image {text!r}, which split {split!r} names; "
                + (f"did you mean {near[0]!r}?" if near else "ids are file names without folder and ending")
            )
        return {entry[0]: entry[1]}

    def find(self, text: str) -> Entry | None:
        """What an id or a path names: an id, or a part and the id of its file; None when nothing."""
        text = text.replace("\\", "/")
        absolute = text.startswith("/") or text[1:3] == ":/"
        text = "/".join(piece for piece in text.split("/") if piece not in ("", "."))
        here = normal(self.root.resolve().as_posix()).lstrip("/")
        if absolute and text.startswith(f"{here}/"):
            text = text[len(here) + 1 :]
        for name in dict.fromkeys((text, without_ending(text))):
            entry = self._id(name)
            if entry is not None:
                return entry
        pieces = without_ending(text).split("/")
        known = {*PART_WORDS, *_SPLITS, self.root.resolve().name.lower()}
        for start in range(len(pieces)):  # folders in front that are not of this data set may be left out
            foreign = start and not absolute and pieces[start - 1].lower() not in known
            if foreign and not self._part_follows(pieces[start:]):
                break
            tail = "/".join(pieces[start:])
            named = self._named(Path(f"{tail}.png"))
            if named and named[1] in self.files.get(named[0], ()):
                return named[0], named[1]
            if (entry := self._id(tail)) is not None:
                return entry
        return None

    def _part_follows(self, pieces: list[str]) -> bool:
        """Whether one of the folders, the last piece being a file, is that of a part."""
        return any(piece.lower() in PART_WORDS or piece in self.folders.values() for piece in pieces[:-1])

    def _id(self, name: str) -> Entry | None:
        if name in self.files["rgb"]:
            return None, name
        for part, back in self._back.items():
            if name in back:
                return None, back[name]
            if name in self.files[part]:
                return part, name
        return None

    def _stem(self, entry: dict[str | None, str]) -> str:
        """The id of what a list names."""
        stem = entry.get("rgb") or entry.get(None)
        for part, back in self._back.items():
            stem = stem or back.get(entry.get(part, ""))
        return stem or next(iter(entry.values()))

    def _image(self, split: str, stem: str, entry: dict[str | None, str]) -> Files | InputError:
        files = {}
        for part in self.parts:
            own = stem if part == "rgb" else entry.get(part) or self._pairs[part].get(stem)
            if own is None and not self._pairs[part]:
                ours, theirs = (next(iter(sorted(self.files[p].values()))) for p in ("rgb", part))
                raise InputError(
                    f"{self.root}: the names of rgb and {part} do not match: {ours.relative_to(self.root)} beside"
                    f" {theirs.relative_to(self.root)}; give the files of one image one name, or list them in two"
                    " columns"
                )
            if own is None or own not in self.files[part]:
                return self._alone(split, stem, part)
            files[part] = self.files[part][own]
        return files

    def _alone(self, split: str, stem: str, part: str) -> InputError:
        folder = self.root / self.words[part] if (self.root / self.words[part]).is_dir() else self.root / part
        same = part == "rgb" or all(a == b for a, b in self._pairs[part].items())
        ending = ENDINGS["x" if part in self.modalities else part][0]
        name, beside = f"{folder.name}/{stem}{ending}", stem.rpartition("/")[0]
        near = next((p.parent for s, p in self.files[part].items() if s.rpartition("/")[0] == beside), None)
        if near is not None and not near.is_relative_to(folder):  # train/label/ID, not label/train/ID
            folder = near
            name = f"{near.relative_to(self.root).as_posix()}/{stem.rpartition('/')[2]}{ending}"
        name = name if same else "its partner"
        return InputError(
            f"{folder} has no image {stem!r}, which split {split!r} names; add {name} or take the id out of the split"
        )
