"""Distillation against the formulas written out in NumPy, and what a run with a teacher does to either model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fusionzoo.data import Planted
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import create_model
from fusionzoo.train import finetune
from fusionzoo.train.distill import Student, Teacher, feature_loss, logit_loss, stage_probes
from tests.train.rooms import MODEL, rooms, settings

OTHER = "hybrid_mobilenetv1-025_fpn"


def softmax(logits: np.ndarray, temperature: float) -> np.ndarray:
    e = np.exp(logits / temperature - (logits / temperature).max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def test_logits_lose_the_divergence_at_the_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    s, t = (3 * torch.randn(2, 5, 3, 4, generator=generator) for _ in range(2))
    p, q = softmax(t.double().numpy(), 2.5), softmax(s.double().numpy(), 2.5)
    wanted = 2.5**2 * (p * np.log(p / q)).sum(1).mean()
    assert float(logit_loss(s, t, 2.5)) == pytest.approx(wanted, rel=1e-5)
    assert float(logit_loss(t, t, 2.5)) == pytest.approx(0, abs=1e-6)


def test_features_lose_the_relative_error_on_the_students_grid() -> None:
    generator = torch.Generator().manual_seed(0)
    mine, theirs = torch.randn(2, 3, 4, 4, generator=generator), torch.randn(2, 3, 4, 4, generator=generator)
    wanted = ((mine - theirs).double().numpy() ** 2).sum() / (theirs.double().numpy() ** 2).sum()
    assert float(feature_loss(mine, theirs)) == pytest.approx(wanted, rel=1e-5)
    doubled = theirs.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert float(feature_loss(10 * theirs, 10 * doubled)) == pytest.approx(0, abs=1e-6)


def teacher_folder(place: Path, data: str) -> str:
    finetune(settings(data, model=OTHER, val_split="", lr=3e-3), place)
    return str(place)


def test_a_run_with_a_teacher(tmp_path: Path) -> None:
    """The teacher stays as it is; the student's checkpoint has nothing of it; both terms fall."""
    data = rooms(tmp_path / "d")
    name = teacher_folder(tmp_path / "teacher", data)
    before = (tmp_path / "teacher" / "model.safetensors").read_bytes()
    kept: dict[str, list[float]] = {}
    for what in ({"logits": 1.0}, {"features": 1.0}, {"logits": 1e-9}):
        seen: list[float] = []
        run = settings(data, epochs=6, teacher=name, distill=what, loss={"cross_entropy": 1e-6}, val_split="", ema=0.0,
                       lr=5e-3)  # fmt: skip
        finetune(run, tmp_path / str(what), step=lambda line, of=seen: of.append(line["loss"]))
        kept[str(what)] = seen
    first, second, none = kept.values()
    assert first[-1] < 0.7 * first[0] and second[-1] < 0.9 * second[0] and max(none) < 1e-4
    assert (tmp_path / "teacher" / "model.safetensors").read_bytes() == before
    model = from_pretrained(str(tmp_path / str({"features": 1.0})))
    assert not [key for key in model.state_dict() if "projection" in key or "teacher" in key]
    command = json.loads((tmp_path / str({"logits": 1.0}) / "record.json").read_text())["recipe"]["command"]
    assert "--teacher teacher --distill logits=1.0" in command and str(tmp_path) not in command


def test_projections_learn_and_the_teacher_does_not(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    teacher = Teacher(teacher_folder(tmp_path / "teacher", data), from_folder(data))
    model = create_model(MODEL, num_classes=3)
    student = Student(model, {}, teacher, temperature=2.0)
    assert set(student.probes) == set(stage_probes(model)) & set(stage_probes(teacher.model)) and student.projections
    rgb = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    x = torch.rand(2, 1, 64, 64) + 1
    shown = teacher(rgb, x)
    assert set(shown.features) == set(teacher.probes) and not shown.logits.requires_grad
    *_, found = student.train()(*model.preprocess(rgb, x), torch.zeros(2, 64, 64, dtype=torch.long), shown)
    (found["logits"] + found["features"]).backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in student.projections.parameters())
    assert all(p.grad is None for p in teacher.model.parameters()) and not teacher.model.training


def from_folder(spec: str) -> Any:
    from fusionzoo.data import parse_spec

    return parse_spec(spec, split="train")


def test_a_teacher_of_other_classes_or_inputs_is_refused(tmp_path: Path) -> None:
    name = teacher_folder(tmp_path / "teacher", rooms(tmp_path / "d"))
    with pytest.raises(InputError, match="teacher .* classes 3, the data 12"):
        Teacher(name, Planted("train", n=2, size=(32, 32)))
    with pytest.raises(UnknownNameError, match="'feature'; did you mean 'features'"):
        settings("planted", distill={"feature": 1.0})


def test_a_teacher_of_classes_of_other_names_or_order_is_refused(tmp_path: Path) -> None:
    model = create_model(MODEL, num_classes=3)
    model.save_pretrained(tmp_path / "unnamed")
    model.set_classes(["wall", "floor", "box"])
    model.save_pretrained(tmp_path / "named")
    same = from_folder(rooms(tmp_path / "same"))
    swapped = from_folder(rooms(tmp_path / "swapped", names=("wall", "box", "floor")))
    others = from_folder(rooms(tmp_path / "others", names=("wall", "floor", "lamp")))
    for name, data in (("named", same), ("unnamed", same), ("unnamed", swapped)):
        assert Teacher(str(tmp_path / name), data).model.num_classes == 3
    with pytest.raises(InputError, match="class 1 is 'floor' to teacher .* and 'box' in the data .*in another order"):
        Teacher(str(tmp_path / "named"), swapped)
    with pytest.raises(InputError, match="class 2 is 'box' to teacher .*named and 'lamp' in the data; its scores"):
        Teacher(str(tmp_path / "named"), others)


def test_resumed_with_a_teacher_it_equals_an_unbroken_run(tmp_path: Path) -> None:
    """The projections and what the optimiser knows of them are in the state."""
    data = rooms(tmp_path / "d")
    given = settings(data, epochs=2, teacher=teacher_folder(tmp_path / "teacher", data), val_split="")

    class Cut(Exception):
        pass

    calls: list[int] = []

    def stop() -> None:
        calls.append(0)
        if len(calls) == 3:
            raise Cut

    finetune(given, tmp_path / "whole")
    with pytest.raises(Cut):
        finetune(given, tmp_path / "cut", stop=stop)
    finetune(given, tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / "steps.jsonl").read_text() == (tmp_path / "whole" / "steps.jsonl").read_text()


def test_a_teacher_that_teaches_nothing_is_refused() -> None:
    for nothing in ({"features": 0.0}, {"logits": 0.0, "features": 0.0}):
        with pytest.raises(InputError, match="teaches nothing.*give logits=1, features=1 or both"):
            settings("planted", teacher="some", distill=nothing)
    assert settings("planted", teacher="some", distill={"features": 0.0, "logits": 1.0}).distill["logits"] == 1.0
