"""What a run leaves behind as it goes: its state, its log, the calls to whoever watches; and how it is stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write, dump_json
from fusionzoo.tasks import CLASSIFICATION, stored
from fusionzoo.train.epoch import Plan
from fusionzoo.train.evaluate import Validation
from fusionzoo.train.log import Log
from fusionzoo.train.state import SETTINGS, Run, write_state

__all__ = ["Keeper"]


class Keeper:
    """Keeps `run` in `out`. All processes call it alike; the first writes.

    Args:
        same: what a run that goes on from the state must have in common with this one (`state.meaning`).
        step: called with the line of every step.
        stop: asked after every step; what it raises ends the run, after its state was kept.
    """

    def __init__(
        self,
        out: Path,
        run: Run,
        plan: Plan,
        same: dict[str, Any],
        *,
        step: Callable[[dict[str, Any]], None] | None = None,
        stop: Callable[[], None] | None = None,
    ) -> None:
        self.out, self.run, self.plan, self.same = out, run, plan, same
        self._step, self._stop, self._time = step, stop, time.monotonic()
        self._log: Log | None = None
        if plan.processes.first:
            out.mkdir(parents=True, exist_ok=True)
            atomic_write(out / SETTINGS, dump_json(plan.settings.to_dict()))
            self._log = Log(out, run, plan.steps)

    def close(self) -> None:
        """Closes the log; nothing is kept after it."""
        if self._log is not None:
            self._log.close()

    def clock(self) -> float:
        """Seconds that the run has taken, over all its parts."""
        now = time.monotonic()
        self.run.seconds, self._time = self.run.seconds + now - self._time, now
        return self.run.seconds

    def begin(self) -> None:
        """Writes the state from which the run starts, and looks whether it shall."""
        self.save()
        self.look()

    def save(self) -> None:
        """Writes the state."""
        self.clock()
        state = self.run.state(self.plan.processes)
        if self.plan.processes.first:
            write_state(self.out, state | {"meaning": self.same, "epochs": self.plan.settings.epochs})

    def after(self, loss: float, norm: float) -> None:
        """To be called at the end of every step, with its loss and the norm of its gradient."""
        plan, run = self.plan, self.run
        done = run.epoch * plan.steps + run.step
        if self._log is not None:
            rates = sorted({float(group["lr"]) for group in run.optimiser.param_groups}, reverse=True)
            line = {"step": done, "epoch": run.epoch + 1, "loss": loss, "norm": norm, "lr": rates}
            self._log.step(line)
            if self._step is not None:
                self._step(line | {"steps": plan.settings.epochs * plan.steps})
        error = self._stopped()
        stopped = plan.processes.any(error is not None)
        if stopped or (plan.settings.state_steps and done % plan.settings.state_steps == 0):
            self.save()
        if stopped:
            raise InputError("another process of this run was stopped") if error is None else error

    def look(self) -> None:
        """Whether to stop, between two steps."""
        error = self._stopped()
        if error is not None:
            self.save()
            raise error

    def epoch(self, loss: float, scores: Validation | None) -> dict[str, Any]:
        """Ends an epoch of mean loss `loss`; returns its line."""
        run = self.run
        iou = None if scores is None else [None if math.isnan(v) else round(v, 4) for v in scores.iou.tolist()]
        run.epoch, run.step, run.loss = run.epoch + 1, 0, 0.0
        run.line = {"epoch": run.epoch, "loss": round(loss, 4), "miou": None if scores is None else scores.miou,
                    "best_miou": None if run.best < 0 else run.best, "seconds": round(self.clock(), 1),
                    "iou": iou}  # fmt: skip
        if scores is not None and scores.task == CLASSIFICATION:
            run.line["pixel_accuracy"] = scores.pixel_accuracy
        run.line = stored(run.line, self.plan.task)
        if scores is not None and scores.saliency is not None:
            run.line["saliency"] = {name: round(value, 4) for name, value in scores.saliency.numbers().items()}
        if scores is not None and scores.scenes is not None:
            found = scores.scenes
            run.line["scene"] = stored({"miou": found.miou, "pixel_accuracy": found.pixel_accuracy}, CLASSIFICATION)
        self.save()
        if self._log is not None:
            self._log.epoch(run.line)
        return run.line

    def _stopped(self) -> BaseException | None:
        try:
            if self._stop is not None:
                self._stop()
        except BaseException as error:  # whatever it is ends the run: `after` and `look` raise it again
            return error
        return None
