"""Hub and weights: records, load, save, verify, push, convert. Names load on first use; records need no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionzoo.hub.load import Checkpoint as Checkpoint
    from fusionzoo.hub.load import from_pretrained as from_pretrained
    from fusionzoo.hub.load import resolve as resolve
    from fusionzoo.hub.publish import push as push
    from fusionzoo.hub.records import Record as Record
    from fusionzoo.hub.store import save as save
    from fusionzoo.hub.verification import Verification as Verification
    from fusionzoo.hub.verification import verify as verify

_HOMES = {
    **dict.fromkeys(("Checkpoint", "from_pretrained", "resolve"), "load"),
    **dict.fromkeys(("Verification", "verify"), "verification"),
    "Record": "records",
    "push": "publish",
    "save": "store",
}
"""Public name -> the file of this folder that holds it. No file has the name of a function."""

_FILES = ("card", "convert", "fingerprint", "layout", "load", "records", "remote")

__all__ = sorted([*_HOMES, *_FILES])


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _FILES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public names: {', '.join(__all__)}")
