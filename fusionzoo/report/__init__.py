"""Dissection -> terminal text, HTML page, model card. Needs no torch.

`terminal(dissection, verification, findings)`, `html(...)` and `card(...)` return text; the caller writes it.
"""

from __future__ import annotations

from fusionzoo.report.card import card
from fusionzoo.report.html import html
from fusionzoo.report.terminal import terminal

__all__ = ["card", "html", "terminal"]
