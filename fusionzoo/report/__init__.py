"""Dissection -> terminal text, HTML page, model card.

`terminal(dissection, verification, findings)`, `html(...)` and `card(...)` return text; the caller writes it. Names are
looked up on first use, so that tables alone (`fusionzoo.report.table`) load no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionzoo.report._card import card
    from fusionzoo.report._terminal import comparison, robustness_text, terminal, trace_text
    from fusionzoo.report.page import html

_HOMES = {
    "card": "_card",
    "comparison": "_terminal",
    "html": "page",
    "robustness_text": "_terminal",
    "terminal": "_terminal",
    "trace_text": "_terminal",
}

__all__ = ["card", "comparison", "html", "robustness_text", "terminal", "trace_text"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
