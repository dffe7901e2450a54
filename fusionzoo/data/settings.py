"""`dataset.toml` of a data set folder, checked key by key; `folder` says what each key means."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusionzoo.data.auxiliary import XFormat
from fusionzoo.data.base import IGNORE
from fusionzoo.data.names import PARTS
from fusionzoo.data.split_files import read_text
from fusionzoo.errors import InputError, check_known, closest
from fusionzoo.modalities import X_KINDS, check_kind

__all__ = ["KEYS", "Settings", "read_settings"]

KEYS = (
    "name", "class_names", "num_classes", "ignore", "label_offset", "label_colours", "ignore_colours", "x_kind",
    "x_scale", "x_offset", "x_encoding", "x_disparity", "missing", "align", "folders", "splits", "x",
)  # fmt: skip

_OF_X = ("folder", "scale", "offset", "encoding", "disparity", "missing")
"""Keys of a table [x.KIND]."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Settings:
    """What `dataset.toml` says. `x_kind` is None where it does not say it."""

    name: str
    class_names: list[str]
    ignore: list[int] = field(default_factory=list)
    label_offset: int = 0
    colours: dict[Colour, int] = field(default_factory=dict)
    x_kind: str | None = None
    x_scale: float | None = None
    x_offset: float = 0.0
    x_encoding: str | None = None
    x_disparity: float | None = None
    missing: tuple[float, ...] = ()
    align: bool = False
    folders: dict[str, str] = field(default_factory=dict)
    splits: dict[str, str | list[str]] = field(default_factory=dict)
    formats: dict[str, XFormat] = field(default_factory=dict)
    """Kind -> how it is stored, where x is of several modalities, in their order; else empty."""

    def x_format(self, kind: str) -> XFormat:
        """How x is stored, x being of `kind`."""
        return XFormat(kind, self.x_scale, self.x_offset, self.x_encoding, self.x_disparity, self.missing)


def read_settings(path: Path, labels: bool = True) -> Settings:
    """The file at `path`.

    Args:
        labels: False: the classes may be left out.

    Raises:
        InputError: no TOML, an unknown key (with the closest), a value that does not fit.
    """
    try:
        raw = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    for key in raw:
        if key not in KEYS:
            near = closest(key, KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else ", ".join(KEYS)
            raise InputError(f"{path}: unknown key {key!r}; {hint}")
    table = _Table(path, raw)
    colours = table.colours()
    x_kind = table.take("x_kind", str, None, "one of " + ", ".join(X_KINDS))
    if x_kind is not None:
        check_known("x_kind", x_kind, X_KINDS, str(path))
    missing = table.listed("missing", (int, float), "a stored value or a list of them")
    folders = table.take("folders", dict, {}, "a table of rgb, x, label = folder")
    for part, name in folders.items():
        if part not in PARTS or not isinstance(name, str):
            raise InputError(f"{path}: folders has {part} = {name!r}; give rgb, x and label a folder each")
    splits = table.take("splits", dict, {}, "a table of split = file or list of ids")
    for split, ids in splits.items():
        if not isinstance(ids, str) and not _is_list(ids, str):
            raise InputError(f"{path}: split {split!r} needs the name of a file with ids, or a list of ids as text")
    formats = table.modalities(folders)
    if formats:
        x_kind = "+".join(formats)
    settings = Settings(
        name=table.take("name", str, path.parent.resolve().name, "a text"),
        class_names=table.class_names(labels),
        ignore=table.listed("ignore", int, "a file value or a list of them"),
        label_offset=table.take("label_offset", int, 0, "a whole number"),
        colours=colours,
        x_kind=x_kind,
        x_scale=table.number("x_scale", None, "a positive number"),
        x_offset=table.number("x_offset", 0.0, "a number") or 0.0,
        x_encoding=table.take("x_encoding", str, None, "one of plain, sunrgbd, swapped"),
        x_disparity=table.number("x_disparity", None, "a positive number"),
        missing=tuple(float(v) for v in missing),
        align=table.take("align", bool, False, "true or false"),
        folders=folders,
        splits=splits,
        formats=formats if len(formats) > 1 else {},
    )
    if len(formats) == 1:  # one table says the same as the keys
        form = formats[x_kind or ""]
        settings = replace(settings, x_scale=form.scale, x_offset=form.offset, x_encoding=form.encoding,
                           x_disparity=form.disparity, missing=form.missing)  # fmt: skip
        if x_kind in folders:
            folders["x"] = folders.pop(x_kind)
    try:
        if len(formats) < 2:
            settings.x_format(x_kind or "depth")
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return settings


class _Table:
    """The keys of one file, each checked as it is taken."""

    def __init__(self, path: Path, raw: dict[str, Any]) -> None:
        self.path, self.raw = path, raw

    def take(self, key: str, kind: type | tuple[type, ...], default: Any, what: str) -> Any:
        value = self.raw.get(key, default)
        if value is not default and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
            raise InputError(f"{self.path}: {key} is {value!r}; give {what}")
        return value

    def number(self, key: str, default: float | None, what: str) -> float | None:
        value = self.take(key, (int, float), default, what)
        return value if value is None else float(value)

    def listed(self, key: str, kind: type | tuple[type, ...], what: str) -> list[Any]:
        """One value or a list of them."""
        value = self.raw.get(key, [])
        values = value if isinstance(value, list) else [value]
        if not _is_list(values, kind):
            raise InputError(f"{self.path}: {key} is {value!r}; give {what}")
        return values

    def modalities(self, folders: dict[str, str]) -> dict[str, XFormat]:
        """Kind -> how it is stored, of the tables [x.KIND]; their folders come into `folders`."""
        given = self.take("x", dict, {}, "a table for each modality: [x.depth], [x.thermal], ...")
        found: dict[str, XFormat] = {}
        for kind, own in given.items():
            where = f"{self.path}: x.{kind}"
            check_known("modality", kind, X_KINDS, f"{self.path}: [x.KIND]")
            if not isinstance(own, dict):
                raise InputError(f"{where} is {own!r}; give a table, [x.{kind}]")
            for key in own:
                check_known(f"key of [x.{kind}]", key, _OF_X, str(self.path))
            inner = _Table(self.path, {f"x.{kind}.{key}": value for key, value in own.items()})
            folder = inner.take(f"x.{kind}.folder", str, "", "the name of a folder")
            if folder:
                folders[kind] = folder
            missing = inner.listed(f"x.{kind}.missing", (int, float), "a stored value or a list of them")
            try:
                found[kind] = XFormat(
                    kind,
                    inner.number(f"x.{kind}.scale", None, "a positive number"),
                    inner.number(f"x.{kind}.offset", 0.0, "a number") or 0.0,
                    inner.take(f"x.{kind}.encoding", str, None, "one of plain, sunrgbd, swapped"),
                    inner.number(f"x.{kind}.disparity", None, "a positive number"),
                    tuple(float(v) for v in missing),
                )
            except InputError as error:
                raise InputError(f"{where}: {error}") from error
        if found:
            also = [key for key in ("x_kind", "x_scale", "x_offset", "x_encoding", "x_disparity", "missing")
                    if key in self.raw] + (["folders.x"] if "x" in self.raw.get("folders", {}) else [])  # fmt: skip
            if also:
                raise InputError(f"{self.path}: {also[0]} beside [x.{next(iter(found))}]; say it in the tables alone")
            try:
                check_kind("+".join(found))
            except InputError as error:
                raise InputError(f"{self.path}: {error}") from error
        return found

    def class_names(self, labels: bool) -> list[str]:
        names = self.take("class_names", list, None, "a list of names")
        count = self.take("num_classes", int, None, "a number")
        table = self.raw.get("label_colours")
        if names is None and count is None and isinstance(table, dict):
            names = list(table)
        if names is None and count is None:
            if not labels:
                return []
            raise InputError(f"{self.path}: give class_names = [...] or num_classes = ...")
        if names is None:
            names = [f"class {i}" for i in range(count)]
        if not _is_list(names, str) or len(set(names)) != len(names):
            raise InputError(f"{self.path}: class_names needs a list of different names")
        if count is not None and count != len(names):
            raise InputError(f"{self.path}: num_classes is {count} but class_names has {len(names)}")
        if not 1 <= len(names) < IGNORE:
            raise InputError(f"{self.path}: {len(names)} classes; 1 to {IGNORE - 1} are possible")
        return list(names)

    def colours(self) -> dict[Colour, int]:
        """Colour -> class, 0-based; 255 for those of `ignore_colours`. Empty: labels are numbers."""
        given, ignored = self.raw.get("label_colours"), self.raw.get("ignore_colours", [])
        if given is None:
            if ignored:
                raise InputError(f"{self.path}: ignore_colours needs label_colours beside it")
            return {}
        names = self.class_names(True)
        if isinstance(given, list):
            pairs = list(zip(names, given, strict=False))
            fits = len(given) == len(names)
        elif isinstance(given, dict):
            pairs, fits = list(given.items()), set(given) == set(names)
        else:
            raise InputError(f'{self.path}: label_colours is {given!r}; give NAME = [r, g, b] or "#rrggbb" a class')
        if not fits:
            odd = sorted(set(given) ^ set(names)) if isinstance(given, dict) else []
            raise InputError(
                f"{self.path}: label_colours has {len(given)} classes, class_names {len(names)}"
                + (f"; {odd[0]!r} is in one of them only" if odd else "")
                + "; colours that count as unlabelled go into ignore_colours = [[r, g, b]]"
            )
        ignored = [ignored] if _is_list(ignored, int) and ignored else ignored
        table: dict[Colour, int] = {}
        for number, value in [(names.index(n), c) for n, c in pairs] + [(IGNORE, c) for c in ignored]:
            for colour in value if _is_list(value, list) else [value]:
                known = self._colour(colour)
                if known in table:
                    raise InputError(f"{self.path}: the colour {list(known)} stands for two classes")
                table[known] = number
        return table

    def _colour(self, value: Any) -> Colour:
        if isinstance(value, str) and value.startswith("#") and len(value) == 7:
            try:
                value = list(bytes.fromhex(value[1:]))
            except ValueError:
                pass  # worded below
        if not _is_list(value, int) or len(value) != 3 or not all(0 <= v <= 255 for v in value):
            raise InputError(f'{self.path}: the colour {value!r} is not [r, g, b] of 0..255, or "#rrggbb"')
        return value[0], value[1], value[2]


def _is_list(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(
        isinstance(v, kind) and not isinstance(v, bool) for v in value
    )  # fmt: skip
