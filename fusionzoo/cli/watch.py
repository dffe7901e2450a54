"""What a person sees of a training run: a bar with the time left, a line an epoch, the page, TensorBoard."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from fusionzoo.cli.output import note
from fusionzoo.errors import InputError
from fusionzoo.tasks import spoken, stored_task, unstored

__all__ = ["Watch"]


class Watch:
    """Shows a run of `finetune` that writes into `out`. Of processes that `torchrun` started, the first alone speaks.

    Args:
        tensorboard: also write `out/tensorboard`.

    Raises:
        InputError: TensorBoard is asked for and not installed.
    """

    def __init__(self, out: Path, *, tensorboard: bool = False) -> None:
        self.out = out
        self.first = int(os.environ.get("RANK", 0)) == 0
        self._bar: Any = None
        self._looking: Any = None
        self._board: Any = None
        self._wanted = tensorboard and self.first
        if self._wanted:
            _board_class()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in (self._looking, self._bar):
            if bar is not None:
                bar.close()
        if self._board is not None:
            self._board.close()

    def say(self, text: str) -> None:
        """A line for a person."""
        if not self.first:
            return
        if self._bar is not None:
            self._bar.clear()
        note(text)
        if self._bar is not None:
            self._bar.refresh()

    def look(self, role: str, done: int, total: int) -> None:
        """An image of the "training" or "validation" data was read before training: a bar where it takes a while."""
        if self._looking is None and self.first:
            from tqdm import tqdm

            self._looking = tqdm(desc=f"looking at {role} images", total=total, unit="image", file=sys.stderr, delay=1,
                                 disable=None, leave=False, dynamic_ncols=True)  # fmt: skip
        if self._looking is not None:
            self._looking.update()
            if done == total:
                self._looking.close()
                self._looking = None

    def step(self, line: dict[str, Any]) -> None:
        """The line of a step; the first of them opens the bar, on a terminal."""
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=line["steps"], initial=line["step"] - 1, unit="step", file=sys.stderr, disable=None,
                             leave=False, dynamic_ncols=True, smoothing=0.05)  # fmt: skip
        self._bar.set_postfix_str(f"epoch {line['epoch']}, loss {line['loss']:.3f}", refresh=False)
        self._bar.update()
        self._scalars(
            {"loss": line["loss"], "gradient norm": line["norm"], "learning rate": line["lr"][0]}, line["step"]
        )

    def show(self, epoch: int, name: str, rgb: Any, label: Any, found: Any, classes: Sequence[str]) -> None:
        """A validation image, drawn into `out/samples`."""
        from fusionzoo.report.training import save_overlay

        save_overlay(self.out, epoch, name, rgb, label, found, classes)

    def epoch(self, line: dict[str, Any], text: str) -> None:
        """The line of an epoch, and `text`, the same for a person. Makes the page anew."""
        from fusionzoo.report.training import write_training_page

        self.say(text)
        score, name = unstored(line).get("miou"), spoken("validation mIoU", stored_task(line))
        scores = {} if score is None else {name: score}
        self._scalars(scores | {"loss of epochs": line["loss"]}, line["epoch"])
        write_training_page(self.out)

    def _scalars(self, values: dict[str, float], step: int) -> None:
        if self._wanted and self._board is None:
            self._board = _board_class()(self.out / "tensorboard", purge_step=step)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)


def _board_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError("--tensorboard needs TensorBoard: pip install 'fusionzoo[train]'") from error
    return SummaryWriter
