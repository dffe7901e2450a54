"""What a model was made with, as its config keeps it."""

from __future__ import annotations

import inspect
from functools import partial
from numbers import Integral
from typing import Any

from fusionzoo.registry import architectures

__all__ = ["recorded"]


def recorded(cls: type, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The registered name of a class with these arguments ("" where it has none), and the arguments it leaves open."""
    try:
        bound = inspect.signature(cls).bind_partial(*args, **options)
    except TypeError:  # a wrong call, which the constructor names
        return "", {}
    bound.apply_defaults()
    given = bound.arguments
    name, fixed = "", 0
    for known in architectures:
        builder = architectures.get(known)
        if isinstance(builder, partial) and builder.func is cls:
            fixed = len(builder.args)
            if tuple(given.values())[:fixed] == builder.args:
                name = known
        elif builder is cls:
            name = known
    return name, {key: _plain(value) for key, value in list(given.items())[fixed:] if key != "preprocess"}


def _plain(value: Any) -> Any:
    """`value` as JSON gives it back, a copy of its own: lists for tuples, whole numbers for NumPy's."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
