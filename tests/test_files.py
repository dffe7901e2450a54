"""Atomic writes: a full disk, an error or a kill leave the old files whole. Bounded JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest

from fusionzoo import files
from fusionzoo.errors import FusionZooError, InputError


def in_child(work: object, *args: object) -> multiprocessing.Process:
    job = multiprocessing.get_context("fork").Process(target=work, args=args)  # type: ignore[arg-type]
    job.start()
    return job  # type: ignore[return-value]


def save_with_limit(folder: Path, limit: int, out: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        files.atomic_files(folder, {"config.json": b"new", "model.safetensors": bytes(100_000)})
        out.write_text("written")
    except InputError as error:
        out.write_text(str(error))


def test_a_full_disk_leaves_every_old_file_whole(tmp_path: Path) -> None:
    files.atomic_files(tmp_path / "c", {"config.json": b"old", "model.safetensors": b"old weights"})
    in_child(save_with_limit, tmp_path / "c", 50_000, tmp_path / "out").join(30)
    text = (tmp_path / "out").read_text()
    assert text.startswith("cannot write") and "what was there before is whole" in text and "\n" not in text
    assert {p.name: p.read_bytes() for p in (tmp_path / "c").iterdir()} == {
        "config.json": b"old", "model.safetensors": b"old weights"}  # fmt: skip


def save_for_ever(folder: Path) -> None:
    for i in range(10**9):
        files.atomic_write(folder / "state.json", json.dumps([i] * 20_000))


def test_a_kill_leaves_the_old_or_the_new_file_never_a_part(tmp_path: Path) -> None:
    for pause in (0.05, 0.08, 0.11):
        job = in_child(save_for_ever, tmp_path)
        while not (tmp_path / "state.json").exists():
            time.sleep(0.01)
        time.sleep(pause)
        assert job.pid is not None
        os.kill(job.pid, signal.SIGKILL)
        job.join(30)
        values = json.loads((tmp_path / "state.json").read_text())
        assert len(values) == 20_000 and len(set(values)) == 1
    assert not [p for p in tmp_path.iterdir() if p.name != "state.json" and not p.name.startswith(".state.json.")]


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    files.atomic_write(tmp_path / "a", "old")
    with pytest.raises(RuntimeError), files.atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a": "old"}
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        files.atomic_write(tmp_path / "file" / "below", "x")


def test_json_bombs(tmp_path: Path) -> None:
    for text in [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": 1e999}',
        "\xff",
        "1" * 5000,
    ]:
        (tmp_path / "x").write_text(text, encoding="latin-1")
        if text == '{"a": 1e999}':
            continue  # a number of the format; those who read it bound it
        with pytest.raises(FusionZooError):
            files.read_json(tmp_path / "x")
    (tmp_path / "x").write_bytes(b" " * (files.MAX_JSON + 1))
    with pytest.raises(FusionZooError, match="larger than"):
        files.read_json(tmp_path / "x")
