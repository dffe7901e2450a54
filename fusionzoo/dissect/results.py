"""What a dissection found: plain dataclasses with a JSON form. Needs no torch, so that reports can be made anywhere.

IoU, mIoU and accuracies are fractions 0..1. A value that does not exist (a class that no image shows, a stream that the
model lacks) is None, in JSON null; NaN never stands in a file. `Dissection.to_dict` gives the schema,
`Dissection.from_dict` reads it back and refuses keys it does not know.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from fusionzoo.errors import InputError, closest

__all__ = [
    "FORMAT_VERSION",
    "STREAMS",
    "CKAValue",
    "CKAViews",
    "DataInfo",
    "Dissection",
    "Drop",
    "Level",
    "ModelInfo",
    "Planted",
    "PlantedRow",
    "ProbeHealth",
    "Protocol",
    "Segmentation",
    "Variance",
    "write_atomic",
]

FORMAT_VERSION = 1
STREAMS = ("rgb", "x", "fused")
"""The three representations of a level, in the order of every table."""

T = TypeVar("T")


@dataclass
class ModelInfo:
    """Which model: `source` is the folder or name it came from, "" for a model made in memory."""

    name: str
    architecture: str
    num_params: int
    modalities: list[str]
    source: str = ""


@dataclass
class DataInfo:
    """Which images. `size`: the (H, W) that the model saw. `concepts`: where each class is visible (planted data)."""

    name: str
    split: str
    n: int
    class_names: list[str]
    size: list[int]
    concepts: dict[str, str] = field(default_factory=dict)


@dataclass
class Protocol:
    """How the numbers were made. `absence`: what stands for a missing modality.

    `tau`: share of activations above the binarisation threshold, None for raw activations. `grid`: (H, W) at which
    concept masks are compared, None without concepts. `block`: neighbouring images that stay together when halves and
    jackknife groups are cut.
    """

    absence: str
    recipe: str
    tau: float | None
    versions: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    metrics: list[str] = field(default_factory=list)
    passes: int = 0
    grid: list[int] | None = None
    block: int = 1


@dataclass
class Drop:
    """What is lost: both modalities minus this condition, with jackknife standard errors over image groups."""

    miou: float | None
    miou_error: float | None
    iou: list[float | None]
    iou_error: list[float | None]


@dataclass
class Segmentation:
    """Scores of one condition ("both", "no_rgb", "no_x"). `iou` per class: None where label and prediction lack it."""

    miou: float | None
    pixel_accuracy: float | None
    iou: list[float | None]
    drop: Drop | None = None


@dataclass
class CKAValue:
    """Linear CKA between the rgb and the x representation of a level over `n` samples of the view."""

    unbiased: float | None
    biased: float | None
    n: int


@dataclass
class CKAViews:
    """`gap`: a sample is an image (channels averaged over positions); `pix`: a sample is a position."""

    gap: CKAValue | None = None
    pix: CKAValue | None = None


@dataclass
class Variance:
    """Semantic variance of a pair of representations.

    `floor`: what one and the same representation shows between weights solved on two disjoint halves of the training
    images (the larger of the pair's two). A value at or below the floor is no signal: see `signal`.
    """

    value: float | None
    reducer: str
    floor: float | None = None

    @property
    def signal(self) -> bool:
        """Whether the value stands above its noise floor (False where either is unknown)."""
        return self.value is not None and self.floor is not None and self.value > self.floor


@dataclass
class Level:
    """One level. Keys of `points` and of the concept tables: "rgb", "x", "fused", as far as the model has them.

    `semantic_variance` has the keys "rgb_x", "rgb_fused", "x_fused" where both ends exist. `concept_error` is the
    jackknife standard error of `concept_iou`, `concept_floor` the same-representation difference per concept.
    """

    level: int
    points: dict[str, str]
    cka: CKAViews = field(default_factory=CKAViews)
    semantic_variance: dict[str, Variance] = field(default_factory=dict)
    concept_iou: dict[str, list[float | None]] = field(default_factory=dict)
    concept_error: dict[str, list[float | None]] = field(default_factory=dict)
    concept_floor: dict[str, list[float | None]] = field(default_factory=dict)


@dataclass
class ProbeHealth:
    """Health of one probe point.

    `dead`: channels that never vary. `saturated`: share of values at a declared bound, None where none is declared.
    """

    name: str
    channels: int
    dead: int
    mean: float | None
    std: float | None
    effective_rank: float | None
    saturated: float | None = None
    modality: str = ""
    role: str = ""


@dataclass
class PlantedRow:
    """One planted concept: the best set IoU over levels in each stream, the level of the best of all, the verdict."""

    concept: str
    kind: str
    rgb: float | None
    x: float | None
    fused: float | None
    level: int | None
    found: bool


@dataclass
class Planted:
    """Whether the dissection finds what was planted; the rule is in `fusionzoo.dissect.engine.planted_table`."""

    rows: list[PlantedRow]
    found: bool


@dataclass
class Dissection:
    """The whole result of `fusionzoo.dissect`.

    >>> d = Dissection(
    ...     model=ModelInfo("m", "sum_toy", 1, ["rgb", "depth"]),
    ...     data=DataInfo("planted", "test", 2, ["wall", "rug"], [8, 8]),
    ...     protocol=Protocol("mean", "fast", 0.005),
    ...     segmentation={"both": Segmentation(0.5, 0.75, [0.5, None])},
    ... )
    >>> Dissection.from_dict(d.to_dict()) == d
    True
    >>> bad = d.to_dict()
    >>> bad["levles"] = bad.pop("levels")
    >>> Dissection.from_dict(bad)
    Traceback (most recent call last):
    ...
    fusionzoo.errors.InputError: dissection: unknown key 'levles'; did you mean 'levels'?
    """

    model: ModelInfo
    data: DataInfo
    protocol: Protocol
    segmentation: dict[str, Segmentation] = field(default_factory=dict)
    levels: list[Level] = field(default_factory=list)
    probes: list[ProbeHealth] = field(default_factory=list)
    planted: Planted | None = None
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN and infinities become null."""
        plain: dict[str, Any] = _plain(self)
        return {"format_version": plain.pop("format_version"), **plain}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Dissection:
        """Inverse of `to_dict`.

        Raises:
            InputError: another format version, an unknown or missing key, or a value of another type, with its place.
        """
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise InputError(f"dissection: format_version is {version!r}, this fusionzoo reads {FORMAT_VERSION}")
        return _build(cls, values, "dissection")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes JSON atomically: the old file stays whole until the new one is complete."""
        write_atomic(path, json.dumps(self.to_dict(), indent=1, allow_nan=False).encode() + b"\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Dissection:
        """Reads what `save` wrote. InputError for a missing file, text that is not JSON, or another schema."""
        try:
            values = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise InputError(f"{path}: not a JSON file ({error})") from error
        return cls.from_dict(values)


def write_atomic(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes `content` to a temporary file beside `path`, flushes it to disk and renames it over `path`.

    Raises:
        InputError: the folder cannot be made or written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"{value!r} has no JSON form")


def _build(cls: type[T], values: Any, where: str) -> T:
    """A dataclass from plain values, strictly: every key known, every key without default there, every type right."""
    if not isinstance(values, dict):
        raise InputError(f"{where}: wanted an object, got {type(values).__name__}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in fields:
            near = closest(key, fields, 1)
            raise InputError(f"{where}: unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    for name, f in fields.items():
        if name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}: key {name!r} is missing")
    return cls(**{k: _convert(hints[k], v, f"{where}.{k}") for k, v in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # all our unions are "something | None"
        if value is None:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is list:
        if not isinstance(value, list):
            raise InputError(f"{where}: wanted a list, got {type(value).__name__}")
        return [_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where}: wanted an object, got {type(value).__name__}")
        return {k: _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if dataclasses.is_dataclass(kind):
        return _build(typing.cast("type[Any]", kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where}: wanted {kind.__name__}, got {value!r}")
    return value
