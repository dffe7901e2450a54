"""Several processes train as one does, and validate each image once. Forks stand for what `torchrun` starts."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.train import Settings, finetune
from fusionzoo.train.processes import Processes
from tests.train.rooms import PLAIN, rooms, settings


def fork(count: int, work: Callable[[int], None]) -> None:
    """Runs `work(rank)` in `count` forks that find each other as those of `torchrun` do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def enter(rank: int) -> None:
        torch.set_num_threads(1)  # the threads of the parent are not there any more
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank),
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
        work(rank)

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=enter, args=(rank,)) for rank in range(count)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    alive = [child for child in children if child.is_alive()]
    for child in alive:
        child.kill()
    assert not alive and [child.exitcode for child in children] == [0] * count


def losses(out: Path, key: str = "loss") -> list[float]:
    return [json.loads(line)[key] for line in (out / "steps.jsonl").read_text().splitlines()]


def train(given: Settings, out: Path, **options: Any) -> None:
    finetune(given, out, device="cpu", note=lambda text: None, **options)


def test_processes_lose_what_one_process_loses(tmp_path: Path, still: None) -> None:
    """20 steps of a batch that 2 does not divide, images of unequal shares of labels, all kinds of draws."""
    data = rooms(tmp_path / "d", n=10, val=5, unlabelled=(1,))
    options: dict[str, Any] = {"batch_size": 5, "drop_modality": 0.3, "corrupt": {"holes_x": 0.3}, "balance": 1.0}
    given = settings(data, epochs=10, val_every=10, lr=1e-4, **options, **PLAIN)
    train(given, tmp_path / "one")
    notes = tmp_path / "notes.txt"

    def note(text: str) -> None:
        with notes.open("a") as file:
            file.write(text + "\n")

    fork(2, lambda rank: finetune(given, tmp_path / "many", device="cpu", note=note) and None)
    assert notes.read_text().count("on CPU each process's batch norms see its own share of a batch") == 1
    one, many = losses(tmp_path / "one"), losses(tmp_path / "many")
    assert len(one) == len(many) == 20
    assert many == pytest.approx(one, abs=1e-5)
    # the gradient too: AdamW goes the same way with half of it
    assert losses(tmp_path / "many", "norm") == pytest.approx(losses(tmp_path / "one", "norm"), rel=1e-2)
    logs = [json.loads((tmp_path / name / "log.jsonl").read_text().splitlines()[-1]) for name in ("one", "many")]
    assert logs[1]["miou"] == pytest.approx(logs[0]["miou"], abs=0.02)


def test_each_image_counts_once_in_validation(tmp_path: Path) -> None:
    """Five images over two processes: counts equal to the last one."""
    from fusionzoo.data import Planted
    from fusionzoo.models import create_model
    from fusionzoo.train.evaluate import evaluate
    from fusionzoo.train.processes import joined

    data = Planted("test", n=5, size=(32, 48))
    torch.manual_seed(0)
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=data.num_classes)
    one = evaluate(model, data, batch_size=1)

    def work(rank: int) -> None:
        with joined("cpu") as processes:
            found = evaluate(model, data, batch_size=1, processes=processes)
            torch.save(found.confusion, tmp_path / f"{rank}.pt")
            assert found.n_images == 5

    fork(2, work)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert int(found.sum()) == int(one.confusion.sum())
        assert int((found - one.confusion).abs().sum()) <= 2  # a tie of two classes may go the other way


class Cut(Exception):
    pass


def test_processes_resume_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    """Bit for bit, with batch norms and dropout, and only one of them is stopped."""
    given = settings(rooms(tmp_path / "d", n=8), epochs=2, batch_size=4, drop_modality=0.3, val_split="")
    fork(2, lambda rank: train(given, tmp_path / "whole"))

    def cut(rank: int) -> None:
        calls: list[int] = []

        def stop() -> None:
            calls.append(0)
            if rank == 1 and len(calls) == 2:
                raise Cut

        with pytest.raises(Cut if rank == 1 else InputError):
            train(given, tmp_path / "cut", stop=stop)

    fork(2, cut)
    assert len(losses(tmp_path / "cut")) == 1
    with pytest.raises(InputError, match="processes = 2, not 1"):
        train(given, tmp_path / "cut", resume=True)
    fork(2, lambda rank: train(given, tmp_path / "cut", resume=True))
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


@pytest.mark.parametrize(
    ("name", "count", "device", "frozen", "alone"),
    [("sum_mobilenetv1-025_fpn", 2, "cpu", "", True), ("sum_mobilenetv1-025_fpn", 1, "cpu", "", False),
     ("sum_mobilenetv1-025_fpn", 2, "cuda", "", False), ("sum_mobilenetv1-025_fpn", 2, "cpu", "*_encoder", False),
     ("sum_tu-convnext-atto_fpn", 2, "cpu", "", False)],
)  # fmt: skip
def test_batch_norms_that_see_one_process_alone(name: str, count: int, device: str, frozen: str, alone: bool) -> None:
    from fusionzoo.models import create_model
    from fusionzoo.train.freeze import freeze

    model = create_model(name)  # the decoder has no batch norm
    if frozen:
        freeze(model, frozen)
    assert Processes(0, count, torch.device(device)).unsynchronised(model) is alone


def test_a_batch_that_cannot_be_shared_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a batch of 2 images cannot be split into 3 parts; raise --batch-size"):
        train(settings(rooms(tmp_path / "d"), accumulate=3), tmp_path / "out")


def test_processes_without_a_meeting_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match="start them with torchrun"):
        train(settings(rooms(tmp_path / "d")), tmp_path / "out")


@pytest.mark.slow
def test_torchrun_and_the_command_line(tmp_path: Path) -> None:
    """A model without batch norm."""
    data = rooms(tmp_path / "d", n=8)
    flags = [
        "--data",
        data,
        "--size",
        "32x32",
        "--base",
        "32x48",
        "--batch-size",
        "4",
        "--epochs",
        "10",
        "--device",
        "cpu",
        "--val-split",
        "",
        "--decoder-args",
        "pyramid_channels=16",
        "--decoder-args",
        "dropout=0.0",
    ]
    one_line = [str(Path(sys.executable).parent / "fusionzoo"), "finetune", "sum_tu-convnext-atto_fpn", *flags]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    for name, words in (("one", one_line), ("many", torchrun + one_line)):
        done = subprocess.run([*words, "--out", str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("wrote") == 1
    one, two = losses(tmp_path / "one"), losses(tmp_path / "many")
    assert len(one) == 20 and two == pytest.approx(one, abs=1e-5)
