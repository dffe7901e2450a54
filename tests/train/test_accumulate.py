"""What a step computes: parts of a batch, clipping, precision, memory format, the compiled step, caches, workers."""

from __future__ import annotations

import json
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusionzoo.errors import InputError
from fusionzoo.train import finetune
from fusionzoo.train.distill import Student
from tests.train.rooms import PLAIN, rooms, settings


def losses(data: str, out: Path, **changes: Any) -> list[tuple[float, float]]:
    """(loss, norm of the gradient) of each step of a run without validation."""
    seen: list[tuple[float, float]] = []
    finetune(settings(data, val_split="", **changes), out, step=lambda line: seen.append((line["loss"], line["norm"])))
    return seen


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_batch_are_the_batch(tmp_path: Path, still: None, parts: int) -> None:
    """Also where parts differ in size and in what is labelled."""
    data = rooms(tmp_path / "d", n=8, unlabelled=(0, 3))
    options = PLAIN | {"batch_size": 4, "epochs": 3, "balance": 1.0, "label_smoothing": 0.1}
    whole = losses(data, tmp_path / "a", **options)
    split = losses(data, tmp_path / "b", accumulate=parts, **options)
    assert len(whole) == 6
    for one, two in zip(whole, split, strict=True):
        assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "near"),
    [({"channels_last": False}, 1e-4), ({"amp": True}, 0.03), ({"workers": 2}, 1e-6), ({"cache": False}, 1e-6),
     ({"cache_dir": "cache"}, 1e-6)],
    ids=str,
)  # fmt: skip
def test_what_changes_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], near: float
) -> None:
    """Memory format and bf16 to their rounding; caches and workers not at all, in a model that draws nothing itself."""
    monkeypatch.chdir(tmp_path)
    data = rooms(tmp_path / "d")
    plain = losses(data, tmp_path / "a", **PLAIN)
    other = losses(data, tmp_path / "b", **PLAIN, **change)
    assert other[0][0] == pytest.approx(plain[0][0], rel=near)
    if near == 1e-6:  # a step of Adam makes much of a rounding
        assert other == plain
    if "cache_dir" in change:
        assert list((tmp_path / "cache").iterdir()) == []  # the files have no name and go with the process


@pytest.mark.slow
def test_a_compiled_step_loses_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is traced and run by torch's eager backend, which needs no compiler."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    data = rooms(tmp_path / "d")
    run: dict[str, Any] = {"model": "hybrid_mobilenetv1-025_fpn", **PLAIN}
    plain = losses(data, tmp_path / "a", **run)
    torch._dynamo.reset()
    compiled = losses(data, tmp_path / "b", compile=True, **run)
    assert [loss for loss, _ in compiled] == pytest.approx([loss for loss, _ in plain], rel=1e-4)


def test_a_step_that_cannot_be_compiled_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> Any:
        raise torch._dynamo.exc.TorchDynamoException("no compiler here")

    monkeypatch.setattr("fusionzoo.train.distill.Student.forward", broken)
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)
    with pytest.raises(InputError, match="cannot compile this training step here .*drop --compile"):
        finetune(settings(rooms(tmp_path / "d"), compile=True), tmp_path / "out")


def test_a_cache_that_has_no_room_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot keep .* GiB of images in"):
        finetune(settings(rooms(tmp_path / "d"), cache_dir=str(tmp_path / "file")), tmp_path / "out")


def test_every_step_and_epoch_is_written_down(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    finetune(settings(rooms(tmp_path / "d"), epochs=2), tmp_path / "out", step=seen.append)
    steps = [json.loads(line) for line in (tmp_path / "out" / "steps.jsonl").read_text().splitlines()]
    assert [(s["step"], s["epoch"]) for s in steps] == [(1, 1), (2, 1), (3, 2), (4, 2)]
    assert [s | {"steps": 4} for s in steps] == seen
    epochs = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    for e in (1, 2):
        of_steps = [s["loss"] for s in steps if s["epoch"] == e]
        assert epochs[e - 1]["loss"] == round(sum(of_steps) / 2, 4)
        ious = [v for v in epochs[e - 1]["iou"] if v is not None]
        assert sum(ious) / len(ious) == pytest.approx(epochs[e - 1]["miou"], abs=1e-4)


def test_what_a_model_draws_itself_changes_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order, crops, colours, corruptions, dropped modalities: equal with dropout and without, with workers and none."""
    data, forward = rooms(tmp_path / "d", n=6), Student.forward
    kept: dict[tuple[float, int], list[Tensor]] = {}
    for dropout in (0.0, 0.5):
        for workers in (0, 1):
            seen = kept[dropout, workers] = []

            def looked(self: Student, *given: Any, of: list[Tensor] = seen) -> Any:
                of += [value.clone() for value in given[:3]]
                return forward(self, *given)

            monkeypatch.setattr(Student, "forward", looked)
            options = {"decoder_args": PLAIN["decoder_args"] | {"dropout": dropout}, "epochs": 2, "workers": workers,
                       "drop_modality": 0.5, "corrupt": {"noise_x": 0.1, "holes_x": 0.3}}  # fmt: skip
            losses(data, tmp_path / f"{dropout}{workers}", **options)
    first, *others = kept.values()
    assert len(first) == 2 * 3 * 3 and not torch.equal(first[0], first[9])
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
