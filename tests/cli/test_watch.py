"""What a person sees of a run: the bar on a terminal, lines, TensorBoard; one process of several speaks."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.cli.watch import Watch
from fusionzoo.errors import InputError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps(count: int, of: int = 4) -> list[dict[str, Any]]:
    return [{"step": i + 1, "epoch": 1 + i // 2, "loss": 1.5 - i / 4, "norm": 2.0, "lr": [0.1, 0.01], "steps": of}
            for i in range(count)]  # fmt: skip


def test_a_terminal_gets_a_bar_that_counts_from_where_the_run_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Watch(tmp_path) as watch:
        for line in steps(3)[1:]:
            watch.step(line)
        watch.say("note: hear this")
        bar = watch._bar
        assert (bar.n, bar.total, bar.initial) == (3, 4, 1)
        bar.refresh()
    assert "epoch 2, loss 1.000" in screen.getvalue() and "3/4" in screen.getvalue()


def test_a_terminal_sees_how_far_the_look_at_the_data_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with Watch(tmp_path) as watch:
        for done in (1, 2):
            watch.look("training", done, 3)
        bar = watch._looking
        assert (bar.n, bar.total, bar.desc) == (2, 3, "looking at training images")
        watch.look("training", 3, 3)
        watch.look("validation", 1, 2)
        assert bar.disable and watch._looking.desc == "looking at validation images"
        second = watch._looking
    assert second.disable  # closed with the watch: nothing of it stays on the screen


def test_a_file_gets_lines_and_no_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with Watch(tmp_path) as watch:
        watch.step(steps(1)[0])
        watch.say("note: hear this")
    assert capsys.readouterr().err == "note: hear this\n"


def test_of_several_processes_the_first_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with Watch(tmp_path) as watch:
        watch.say("note: hear this")
    assert not watch.first and capsys.readouterr().err == ""


def test_tensorboard_gets_steps_and_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: Path, purge_step: int) -> None:
            assert folder == tmp_path / "tensorboard" and purge_step == 1

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append(("closed", 0, 0))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    (tmp_path / "settings.json").write_text('{"model": "m", "data": "planted", "epochs": 1}')
    (tmp_path / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steps(2)))
    with Watch(tmp_path, tensorboard=True) as watch:
        watch.step(steps(1)[0])
        watch.epoch({"epoch": 1, "loss": 1.5, "miou": 0.25}, "epoch 1")
    assert ("loss", 1.5, 1) in written and ("learning rate", 0.1, 1) in written
    assert ("validation mIoU", 0.25, 1) in written and written[-1][0] == "closed"
    assert (tmp_path / "training.html").is_file()


def test_tensorboard_that_is_not_there_is_named_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'fusionzoo\[train\]'"):
        Watch(tmp_path, tensorboard=True)
