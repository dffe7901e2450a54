"""Dataclasses to plain JSON values and back, strictly, and files that are whole or not there. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from fusionzoo.errors import InputError, closest

__all__ = ["FORMAT_VERSION", "build", "plain", "read", "versioned", "write_atomic"]

FORMAT_VERSION = 1

T = TypeVar("T")


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


def plain(value: Any) -> Any:
    """Dataclasses, dicts and lists as JSON values; NaN and infinities become None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"{value!r} has no JSON form")


def build(cls: type[T], values: Any, where: str) -> T:
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
    if kind is Any:
        return value
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
        return build(typing.cast("type[Any]", kind), value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where}: wanted {kind.__name__}, got {value!r}")
    return value


def read(path: str | os.PathLike[str]) -> Any:
    """The JSON values of a file. InputError for a missing file or text that is not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error})") from error


def versioned(cls: type[T], values: Any, where: str) -> T:
    """`build` of values that carry this format version."""
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise InputError(f"{where}: format_version is {version!r}, this fusionzoo reads {FORMAT_VERSION}")
    return build(cls, values, where)
