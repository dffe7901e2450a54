"""Training: losses, settings, loop with resume, validation."""

from __future__ import annotations

from fusionzoo.train.evaluate import evaluate
from fusionzoo.train.loop import finetune
from fusionzoo.train.settings import Settings

__all__ = ["Settings", "evaluate", "finetune"]
