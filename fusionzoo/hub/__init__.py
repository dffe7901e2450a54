"""Hub and weights: records, load, save, verify, push, convert. Names load lazily; records need no torch."""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "Record": "records", "bundled": "records", "find": "records",
    "from_pretrained": "load",
    "save": "save",
    "Verification": "verify", "verify": "verify",
    "push": "remote",
}  # fmt: skip
_ROOMS = ("convert", "files", "load", "records", "remote", "save", "verify")

__all__ = sorted([*_LAZY, *_ROOMS])


def __getattr__(name: str) -> Any:
    # `save` and `verify` name a function and its file: the file's import puts the module here, the function replaces it
    if name in _LAZY:
        value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
