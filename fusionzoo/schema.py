"""Dataclasses <-> JSON values, strict both ways: fields known and of their type, the required ones there. No torch."""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from fusionzoo.errors import InputError, closest

__all__ = ["check_option", "decode", "encode", "schema_of", "need", "refuse_unknown", "typed", "versioned"]

T = TypeVar("T")
_NONE = type(None)


def need(condition: bool, text: str) -> None:
    """InputError(text) unless `condition`."""
    if not condition:
        raise InputError(text)


def encode(value: Any, *, drop_empty: bool = False, nan_to_none: bool = False) -> Any:
    """Plain JSON values of dataclasses, dicts, lists and tuples.

    Args:
        drop_empty: leave out fields with a default that say nothing (None, empty text, list or dict).
        nan_to_none: NaN and infinities become None; otherwise they stay, and `fusionzoo.files.dump_json` refuses them.

    Raises:
        TypeError: a value without a JSON form.

    >>> @dataclasses.dataclass
    ... class Point:
    ...     at: tuple[float, float]
    ...     name: str = ""
    >>> encode(Point((1.0, 2.0))), encode(Point((1.0, math.nan)), drop_empty=True, nan_to_none=True)
    ({'at': [1.0, 2.0], 'name': ''}, {'at': [1.0, None]})
    """

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            specs = dataclasses.fields(value)
            items = {
                spec.name: plain(item) for spec in specs if (item := getattr(value, spec.name)) or not _optional(spec)
            }
            if not drop_empty:
                return items
            required = {spec.name for spec in specs if _required(spec)}
            return {k: v for k, v in items.items() if k in required or (v is not None and v not in ("", [], {}))}
        if isinstance(value, Mapping):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if nan_to_none and isinstance(value, float) and not math.isfinite(value):
            return None
        if value is None or isinstance(value, str | int | float):  # bool is an int
            return value
        raise TypeError(f"{value!r} has no JSON form")

    return plain(value)


def optional() -> Any:
    """A field of a dataclass that is a dictionary, empty by default, and left out of `encode` while it is."""
    return dataclasses.field(default_factory=dict, metadata={"optional": True})


def _optional(spec: dataclasses.Field[Any]) -> bool:
    return bool(spec.metadata.get("optional"))


def refuse_unknown(values: Iterable[str], known: Iterable[str], where: str, said: str = ": unknown field") -> None:
    """InputError for the first key that is not `known`, with the closest that is: `where`, what is `said`, the key."""
    known = list(known)
    for key in values:
        if key not in known:
            near = closest(key, known, 1)
            tail = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"
            raise InputError(f"{where}{said} {key[:80]!r}{tail}")


def check_option(where: str, key: str, value: Any, default: Any) -> None:
    """InputError where the option `key` is not of the kind of its default, of which None says nothing.

    What is counted starts at 1, or at 0 where that is the default.

    >>> check_option("decoder 'fpn'", "pyramid_channels", 0, 256)
    Traceback (most recent call last):
        ...
    fusionzoo.errors.InputError: decoder 'fpn': pyramid_channels is a whole number from 1, not 0
    """
    if isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        least = min(default, 1)
        fits, wanted = _counts(value, least), f"a whole number from {least}"
    elif isinstance(default, tuple):
        counted = isinstance(value, list | tuple) and all(_counts(v, 1) for v in value)
        fits, wanted = counted, "a list of whole numbers from 1"
    else:
        fits, wanted = default is None or not isinstance(value, bool), f"a value such as {default}"
    need(fits, f"{where}: {key} is {wanted}, not {value!r}")


def _counts(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def typed(text: str) -> Any:
    """The value that a person wrote: JSON where it is one, Python's True, False and None, else the text itself.

    >>> typed("0.5"), typed("[1, 2]"), typed("False"), typed("mean")
    (0.5, [1, 2], False, 'mean')
    """
    named = {"True": True, "False": False, "None": None}
    try:
        return named[text] if text in named else json.loads(text)
    except ValueError:
        return text


def decode(cls: type[T], values: Any, where: str) -> T:
    """`values` as the dataclass `cls`: every field known, of its type, and the required ones there.

    A list stands for a tuple, a whole number for a float; nothing else is converted.

    Raises:
        InputError: names the field by its place, `where: field: ...`.

    >>> @dataclasses.dataclass
    ... class Point:
    ...     at: tuple[float, ...]
    >>> decode(Point, {"at": [1, 2.5]}, "point")
    Point(at=(1.0, 2.5))
    >>> decode(Point, {"ta": []}, "point")
    Traceback (most recent call last):
        ...
    fusionzoo.errors.InputError: point: unknown field 'ta'; did you mean 'at'?
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is a {type(values).__name__}, wanted an object")
    specs = {spec.name: spec for spec in dataclasses.fields(cls)}  # type: ignore[arg-type]
    refuse_unknown(values, specs, where)
    for name, spec in specs.items():
        if _required(spec) and name not in values:
            raise InputError(f"{where}: field {name!r} is missing")
    hints = typing.get_type_hints(cls)
    decoded = {name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return cls(**decoded)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def versioned(cls: type[T], values: Any, where: str, version: int) -> T:
    """`decode` of values whose `format_version` is `version`; InputError names both otherwise."""
    found = values.get("format_version") if isinstance(values, Mapping) else None
    if found != version:
        raise InputError(f"{where}: format_version is {found!r}, this fusionzoo reads {version}")
    return decode(cls, values, where)


def _required(spec: dataclasses.Field[Any]) -> bool:
    return spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):  # T | None
        return None if value is None else _value(_without_none(args), value, where)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type, hint), value, where)
    if origin is list and isinstance(value, list):
        return [_value(args[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is tuple and isinstance(value, list | tuple):
        kinds = (args[0],) * len(value) if args[1:] == (...,) else args
        if len(value) == len(kinds):
            return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))
    if origin is dict and isinstance(value, Mapping):
        return {k: _value(args[1], v, f"{where}[{k!r}]") for k, v in value.items()}
    if hint is float and type(value) in (int, float) and abs(value) < 1e300:
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise InputError(f"{where} is {repr(value)[:60]}, wanted {_wanted(hint)}")


def _without_none(args: tuple[Any, ...]) -> Any:
    return next(arg for arg in args if arg is not _NONE)


def _wanted(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return "a list" if args[1:] == (...,) else f"a list of {len(args)}, [{', '.join(map(_wanted, args))}]"
    return "a list" if origin is list else "an object" if origin is dict else str(getattr(hint, "__name__", hint))


def schema_of(hint: Any) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a type that `decode` reads."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [schema_of(_without_none(args)), {"type": "null"}]}
    if dataclasses.is_dataclass(hint):
        hints, specs = typing.get_type_hints(hint), dataclasses.fields(hint)
        properties = {spec.name: schema_of(hints[spec.name]) for spec in specs}
        required = [spec.name for spec in specs if _required(spec)]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if origin is list or (origin is tuple and args[1:] == (...,)):
        return {"type": "array", "items": schema_of(args[0])}
    if origin is tuple:
        return {"type": "array", "items": schema_of(args[0]), "minItems": len(args), "maxItems": len(args)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(args[1])}
    return {"type": {int: "integer", float: "number", str: "string", bool: "boolean"}[hint]}
