"""Hub and weights: records, load, save, verify, push, convert. Names load on first use; records need no torch.

`push`, `save` and `verify` name a function and the file it lives in: here they are the function.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionzoo.hub.load import Checkpoint as Checkpoint
    from fusionzoo.hub.load import from_pretrained as from_pretrained
    from fusionzoo.hub.load import resolve as resolve
    from fusionzoo.hub.push import push as push
    from fusionzoo.hub.records import Record as Record
    from fusionzoo.hub.save import save as save
    from fusionzoo.hub.verify import Verification as Verification
    from fusionzoo.hub.verify import verify as verify

_HOMES = {
    "Checkpoint": "load",
    "Record": "records",
    "Verification": "verify",
    "from_pretrained": "load",
    "push": "push",
    "resolve": "load",
    "save": "save",
    "verify": "verify",
}
_FILES = ("card", "convert", "files", "fingerprint", "load", "records", "remote")

__all__ = sorted([*_HOMES, *_FILES])


class _Package(ModuleType):
    """The import system sets a submodule as an attribute of its package; a function of that name keeps its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _FILES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
