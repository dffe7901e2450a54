"""Fine-tuning: settings, the loop with resume, losses, validation. Importing it loads no torch until a name is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusionzoo.train.settings import Settings

if TYPE_CHECKING:
    from fusionzoo.train.evaluate import evaluate
    from fusionzoo.train.loop import finetune

__all__ = ["Settings", "evaluate", "finetune"]


def __getattr__(name: str) -> Any:
    if name in ("evaluate", "finetune"):
        from fusionzoo.train.evaluate import evaluate
        from fusionzoo.train.loop import finetune

        globals().update(evaluate=evaluate, finetune=finetune)  # the function, not the file of its name
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
