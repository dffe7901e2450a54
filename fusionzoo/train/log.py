"""What a run writes down while it trains: `steps.jsonl`, a line a step, and `log.jsonl`, a line an epoch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fusionzoo.files import atomic_write
from fusionzoo.train.state import LOG, STEPS, Run

__all__ = ["Log"]


class Log:
    """Appends to the two files of `out`; lines behind the run's state, of a run that was cut off, are taken out first.

    A line of `steps.jsonl` is {"step" (of the whole run, from 1), "epoch" (from 1), "loss", "norm" (of the gradient),
    "lr" (the groups' rates, highest first)}. One of `log.jsonl`: {"epoch", "loss", "miou", "best_miou", "seconds",
    "iou" (a class each, null where it has none)}, of saliency data also "saliency" (its measures by name).
    """

    def __init__(self, out: Path, run: Run, steps: int) -> None:
        self.out = out
        keep = {STEPS: ("step", run.epoch * steps + run.step), LOG: ("epoch", run.epoch)}
        for name, (key, last) in keep.items():
            if (out / name).is_file():
                lines = (out / name).read_text(encoding="utf-8").splitlines()
                atomic_write(out / name, "".join(f"{line}\n" for line in _until(lines, key, last)))
        self._steps = open(out / STEPS, "a", encoding="utf-8", buffering=1)  # a line at a time

    def step(self, line: dict[str, Any]) -> None:
        self._steps.write(json.dumps(line) + "\n")

    def epoch(self, line: dict[str, Any]) -> None:
        with open(self.out / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self._steps.close()


def _until(lines: Iterable[str], key: str, last: int) -> list[str]:
    """The whole lines up to number `last`; a kill may have cut the last one."""
    kept = []
    for line in lines:
        try:
            if json.loads(line)[key] > last:
                break
        except (ValueError, KeyError, TypeError):
            break
        kept.append(line)
    return kept
