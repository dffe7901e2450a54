"""Dataclasses <-> JSON, strict both ways: every field known and of its type, the required ones there. No torch."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from fusionzoo.errors import InputError, closest

__all__ = ["decode", "need", "plain", "refuse_unknown", "schema"]


def need(condition: bool, text: str) -> None:
    """InputError(text) unless `condition`."""
    if not condition:
        raise InputError(text)


def plain(value: Any) -> Any:
    """Plain JSON values of dataclasses, dicts, lists; optional fields that say nothing (empty, None) are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        needed = {f.name for f in dataclasses.fields(value) if _needed(f)}
        return {k: v for k, v in items.items() if k in needed or (v is not None and v not in ("", [], {}))}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def refuse_unknown(values: Iterable[str], known: Iterable[str], where: str) -> None:
    """InputError for the first key that is not `known`, with the closest that is."""
    known = list(known)
    for key in values:
        if key not in known:
            near = closest(key, known, 1)
            tail = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise InputError(f"{where}: unknown field {key[:80]!r}{tail}")


def decode(cls: type, values: Any, where: str) -> Any:
    """`values` as the dataclass `cls`: every field known, of its type, and the required ones there."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where} is a {type(values).__name__}, wanted an object")
    specs = {f.name: f for f in dataclasses.fields(cls)}
    refuse_unknown(values, specs, where)
    hints = typing.get_type_hints(cls)
    for name, spec in specs.items():
        if _needed(spec) and name not in values:
            raise InputError(f"{where}: field {name!r} is missing")
    decoded = {name: _value(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    try:
        return cls(**decoded)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _needed(spec: dataclasses.Field[Any]) -> bool:
    return spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # T | None
        return None if value is None else _value(args[0], value, where)
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type, hint), value, where)
    if origin is list and isinstance(value, list):
        return [_value(args[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
    if origin is tuple and isinstance(value, list) and len(value) == len(args):
        return tuple(_value(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    if origin is dict and isinstance(value, Mapping):
        return {k: _value(args[1], v, f"{where}[{k!r}]") for k, v in value.items()}
    if hint is float and type(value) in (int, float) and abs(value) < 1e300:
        return float(value)
    if hint in (int, str) and type(value) is hint:
        return value
    raise InputError(f"{where} is {repr(value)[:60]}, wanted {_wanted(hint)}")


def _wanted(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return f"a list of {len(args)}"
    return "a list" if origin is list else "an object" if origin is dict else str(getattr(hint, "__name__", hint))


def schema(hint: Any) -> dict[str, Any]:
    """JSON Schema of a type."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return {"anyOf": [schema(args[0]), {"type": "null"}]}
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        required = [
            f.name
            for f in dataclasses.fields(hint)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]
        properties = {f.name: schema(hints[f.name]) for f in dataclasses.fields(hint)}
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    if origin is list:
        return {"type": "array", "items": schema(args[0])}
    if origin is tuple:
        return {"type": "array", "items": schema(args[0]), "minItems": len(args), "maxItems": len(args)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema(args[1])}
    return {"type": {int: "integer", float: "number", str: "string"}[hint]}
