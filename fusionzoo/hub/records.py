"""Checkpoint records: one JSON file a checkpoint that says what it is, where it comes from and what it scores.

`record.json` lies in each checkpoint's folder (`weights/<name>/`, or a Hub repository). Unknown fields are refused.
An *index* is a JSON file with many records, for checkpoints that live on the Hub. Imports no torch.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionzoo.errors import InputError, check_known, unknown
from fusionzoo.files import atomic_write, dump_json, inside, read_json, sha256_file
from fusionzoo.hub.layout import RECORD
from fusionzoo.registry import natural_key
from fusionzoo.schema import decode, encode, need, refuse_unknown, schema_of
from fusionzoo.tasks import CLASSIFICATION, stored, unstored

__all__ = ["INDEX", "Conversion", "Data", "FileInfo", "Fingerprint", "Metric", "Recipe", "Record", "bundled",
           "bundled_folder", "find", "json_schema", "load_index", "read_record", "update", "write_index"]  # fmt: skip

FORMAT_VERSION = 1
INDEX = "index.json"
"""Name of an index file, in `weights/` and in a Hub repository of records."""

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.[a-z0-9][a-z0-9_.-]*")
HEX64 = re.compile(r"[0-9a-f]{64}")
HEX40 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class FileInfo:
    """One file of the checkpoint."""

    sha256: str
    size: int

    def __post_init__(self) -> None:
        need(bool(HEX64.fullmatch(self.sha256)), "sha256 is not 64 lower-case hex digits")
        need(0 <= self.size < 1 << 48, "size is not a number of bytes")


@dataclass(frozen=True)
class Data:
    """What the weights were trained on; `licence` of the data, as far as it is stated."""

    name: str
    split: str = "train"
    n: int | None = None
    licence: str = ""
    note: str = ""


@dataclass(frozen=True)
class Metric:
    """One measured result. `miou` and `pixel_accuracy` are fractions in [0, 1]; of a record whose task is
    "classification" balanced accuracy and accuracy, and so they are called in its JSON."""

    data: str
    split: str
    protocol: str
    miou: float
    pixel_accuracy: float | None = None
    n: int | None = None
    who: str = "us"

    def __post_init__(self) -> None:
        for value in (self.miou, self.pixel_accuracy):
            need(value is None or 0 <= value <= 1, "a metric is not a fraction in [0, 1]")


@dataclass(frozen=True)
class Recipe:
    """How the weights were made: the command that makes them again, and what it does not say."""

    command: str
    seed: int | None = None
    epochs: int | None = None
    resolution: tuple[int, int] | None = None
    """Height and width of the training crop, pixels."""
    init: str = ""
    commit: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Fingerprint:
    """Statistics of the logits on a seeded input (see `fusionzoo.hub.fingerprint`)."""

    seed: int
    size: tuple[int, int]
    mean: list[float]
    std: list[float]
    samples: list[float]
    tolerance: float = 1e-4
    """Largest accepted difference, relative to the spread of all logits; rounding and threads make some 1e-6."""

    def __post_init__(self) -> None:
        need(0 < self.tolerance <= 0.1, "fingerprint tolerance is not in (0, 0.1]")
        need(all(8 <= n <= 1024 for n in self.size), "fingerprint size is not between 8 and 1024")
        need(len(self.mean) == len(self.std) <= 65536, "fingerprint mean and std differ in length")
        need(bool(self.mean) and bool(self.samples), "fingerprint without values, which nothing could fail")


@dataclass(frozen=True)
class Conversion:
    """For ported weights: the conversion, and the largest difference from the original's output."""

    method: str
    max_difference: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Record:
    """All that is known of one checkpoint but its preprocessing and classes' use, which live in its config.json.

    Args:
        name: `architecture.tag`.
        architecture: registered name of the model.
        files: name -> sha256 and size of config.json and model.safetensors (others may be listed).
        num_params: learnable numbers.
        licence: of the weights, an SPDX identifier or "other"; `licence_note` says where it is stated and its limits.
        classes: names, index order; `ignore_index` marks unlabelled pixels.
        scenes: names of the scene types of a joint model, index order.
        task: "classification" where the model says one class of a whole image; "" a class of each pixel.
        repo_id, revision: where the files lie on the Hub, pinned to a commit (40 hex); both or neither.
    """

    name: str
    architecture: str
    files: dict[str, FileInfo]
    num_params: int
    licence: str = "other"
    licence_note: str = ""
    modalities: list[str] = field(default_factory=list)
    x_kind: str = ""
    classes: list[str] = field(default_factory=list)
    scenes: list[str] = field(default_factory=list)
    ignore_index: int = 255
    label_map: str = ""
    data: list[Data] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    recipe: Recipe | None = None
    fingerprint: Fingerprint | None = None
    dtype: str = "float32"
    origin: str = ""
    conversion: Conversion | None = None
    citation: str = ""
    repo_id: str = ""
    revision: str = ""
    notes: str = ""
    task: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        need(self.format_version == FORMAT_VERSION, f"format_version {self.format_version}, this is {FORMAT_VERSION}")
        need(len(self.name) <= 120 and bool(NAME.fullmatch(self.name)), f"name {self.name!r} is not architecture.tag")
        need(self.name.partition(".")[0] == self.architecture, f"name {self.name!r} is not of {self.architecture!r}")
        need(self.task in ("", CLASSIFICATION), f"task {self.task!r} is not {CLASSIFICATION!r}")
        need(0 <= self.num_params < 1 << 40, "num_params is not a count")
        need(self.dtype in ("float32", "float16"), f"dtype {self.dtype!r} is neither float32 nor float16")
        need(bool(self.repo_id) == bool(self.revision), "repo_id and revision go together")
        need(not self.revision or bool(HEX40.fullmatch(self.revision)), "revision is not a commit of 40 hex digits")
        for name in self.files:
            inside(".", name)

    @property
    def tag(self) -> str:
        """The part of the name after the architecture: which training run."""
        return self.name.partition(".")[2]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without fields that say nothing (empty, None)."""
        values: dict[str, Any] = stored(encode(self, drop_empty=True), self.task)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "record") -> Record:
        """Strict inverse of `to_dict`. InputError names the field; an unknown one gets the closest known."""
        return decode(cls, unstored(values), where)

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Writes `record.json` into `folder`, all or nothing."""
        atomic_write(Path(folder) / RECORD, dump_json(self.to_dict()))


def read_record(path: str | os.PathLike[str]) -> Record:
    """The record in a JSON file, or in `record.json` of a folder. InputError otherwise."""
    path = Path(path)
    path = path / RECORD if path.is_dir() else path
    return Record.from_dict(read_json(path), str(path))


def weights_root() -> Path | None:
    """The installed package `fusionzoo.weights`, or the folder `weights` of a source checkout; None when neither is."""
    spec = importlib.util.find_spec("fusionzoo.weights")
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    checkout = Path(__file__).resolve().parents[2] / "weights"
    return checkout if (checkout / "__init__.py").is_file() else None


def bundled(root: str | os.PathLike[str] | None = None) -> dict[str, Record]:
    """Records of the checkpoints that came with the package, by name, in natural order.

    Raises:
        InputError: a record is malformed, or its name is not its folder's.
    """
    place = Path(root) if root is not None else weights_root()
    found: dict[str, Record] = {}
    for path in sorted(place.glob(f"*/{RECORD}")) if place is not None else []:
        record = read_record(path)
        if record.name != path.parent.name:
            raise InputError(f"{path} is the record of {record.name!r}, its folder says {path.parent.name!r}")
        found[record.name] = record
    return {name: found[name] for name in sorted(found, key=natural_key)}


def bundled_folder(name: str, root: str | os.PathLike[str] | None = None) -> Path:
    """Folder of the bundled checkpoint `name`; UnknownNameError with the closest names otherwise."""
    place = Path(root) if root is not None else weights_root()
    if place is None or not NAME.fullmatch(name) or not (place / name / RECORD).is_file():
        raise unknown("checkpoint", name, bundled(root), "fusionzoo list")
    return place / name


def load_index(path: str | os.PathLike[str]) -> dict[str, Record]:
    """Records of an index file: `{"format_version": 1, "records": [...]}`, by name, in natural order.

    Every record says where its files lie: `repo_id` and `revision`. InputError otherwise.
    """
    values = read_json(path, limit=64 << 20)
    refuse_unknown(values, ("format_version", "records"), str(path))
    if values.get("format_version") != FORMAT_VERSION or not isinstance(values.get("records"), list):
        raise InputError(f"{path} is no index: wanted format_version {FORMAT_VERSION} and a list of records")
    found: dict[str, Record] = {}
    for i, entry in enumerate(values["records"]):
        record = Record.from_dict(entry, f"{path}: records[{i}]")
        if record.name in found:
            raise InputError(f"{path}: two records are called {record.name!r}")
        if not record.repo_id:
            raise InputError(f"{path}: {record.name} has no repo_id and revision: nobody can find its files")
        found[record.name] = record
    return {name: found[name] for name in sorted(found, key=natural_key)}


def find(name: str, index: str | os.PathLike[str] | None = None) -> Record:
    """The record called `name`: bundled, or of the user's own index file. UnknownNameError with the closest otherwise.

    >>> find("concta_mobilenetv1-025_fpn.nowhere")
    Traceback (most recent call last):
        ...
    fusionzoo.errors.UnknownNameError: unknown checkpoint 'concta_mobilenetv1-025_fpn.nowhere'...
    """
    known = {**bundled(), **(load_index(index) if index is not None else {})}
    check_known("checkpoint", name, known, "fusionzoo list")
    return known[name]


def write_index(root: str | os.PathLike[str]) -> dict[str, str]:
    """Writes `index.json` of bundled checkpoints: name -> SHA-256 of its record, which vouches for the other files.

    Run it after adding or changing a checkpoint in `weights/`; a test compares.
    """
    names = list(bundled(root))
    values = {name: sha256_file(Path(root) / name / RECORD) for name in names}
    atomic_write(Path(root) / INDEX, dump_json({"format_version": FORMAT_VERSION, "checkpoints": values}))
    return values


def bundled_sha256(folder: str | os.PathLike[str]) -> str | None:
    """SHA-256 that the index of bundled checkpoints states for the record in `folder`.

    None when the folder is not a bundled one, or when there is no index or no entry.
    """
    folder = Path(folder).resolve()
    root = weights_root()
    if root is None or folder.parent != root.resolve() or not (root / INDEX).is_file():
        return None
    value = read_json(root / INDEX).get("checkpoints", {})
    stated = value.get(folder.name) if isinstance(value, dict) else None
    return stated if isinstance(stated, str) else None


def update(folder: str | os.PathLike[str], fields: Mapping[str, Any]) -> Record:
    """Replaces fields of a folder's record (say, `metrics` after an evaluation) and writes it, all or nothing.

    Raises:
        InputError: an unknown field or a wrong type; the old record is whole.
    """
    record = Record.from_dict({**read_record(folder).to_dict(), **fields}, "record fields")
    record.write(folder)
    return record


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a record, from the dataclasses; `weights/record.schema.json` is a copy."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "fusionzoo checkpoint record"}
    found = schema_of(Record)
    metrics = found["properties"]["metrics"]
    one = metrics["items"]
    names, needed = (stored(v, CLASSIFICATION) for v in (one["properties"], dict.fromkeys(one["required"])))
    metrics["items"] = {"anyOf": [one, {**one, "properties": names, "required": list(needed)}]}
    return {**head, **found}
