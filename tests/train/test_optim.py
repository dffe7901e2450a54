"""What the optimiser does to a model, seen on the weights after a run: learning rates, decay, clipping, dropout."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fusionzoo.hub import convert
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import FusionModel, MobileNetV1, TwoStream, create_model
from fusionzoo.train import Settings, finetune
from fusionzoo.train.average import update_average
from fusionzoo.train.dropout import drop_modality
from fusionzoo.train.optim import clip_gradients, optimiser_of, parameter_groups
from tests.train.rooms import MODEL, rooms, settings


@pytest.fixture
def seen() -> Iterator[list[dict[str, Any]]]:
    """At each step of any optimiser: norm of the gradient, and the parameters as they were before it."""
    steps: list[dict[str, Any]] = []

    def before(optimiser: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        params = [p for group in optimiser.param_groups for p in group["params"]]
        norm = math.sqrt(sum(float(p.grad.double().square().sum()) for p in params if p.grad is not None))
        steps.append({"norm": norm, "before": [p.detach().clone() for p in params]})

    hook = register_optimizer_step_pre_hook(before)
    yield steps
    hook.remove()


def encoder_folder(place: Path) -> str:
    """A converted encoder with random weights, as `fusionzoo convert` writes it."""
    torch.manual_seed(5)
    data = save(MobileNetV1(0.25).state_dict())
    config = {"format": convert.ENCODER_FORMAT, "format_version": 1, "sha256": hashlib.sha256(data).hexdigest()}
    place.mkdir()
    (place / "model.safetensors").write_bytes(data)
    (place / "config.json").write_text(json.dumps(config))
    return str(place)


def test_each_parameter_is_in_one_group_with_its_rate_and_decay() -> None:
    model = create_model(MODEL)
    assert isinstance(model, TwoStream)
    groups = parameter_groups(model, [model.rgb_encoder, model.x_encoder], lr=0.5, encoder_lr=0.25)
    found = {id(p): (g["lr"], g.get("weight_decay")) for g in groups for p in g["params"]}
    assert sum(len(g["params"]) for g in groups) == len(found) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        is_vector = name.endswith(".bias") or p.ndim == 1
        wanted = (0.25 if "encoder" in name else 0.5, 0.0 if is_vector else None)
        assert found[id(p)] == wanted, name
    model.head.weight.requires_grad_(False)
    rest = parameter_groups(model, [], lr=0.5, encoder_lr=0.25)
    assert sum(len(g["params"]) for g in rest) == len(found) - 1 and {g["lr"] for g in rest} == {0.5}


def test_decay_shrinks_matrices_and_leaves_vectors(tmp_path: Path, seen: list[dict[str, Any]]) -> None:
    """With lr x decay = 0.3 a step, decayed weights lose 30 % at the peak; Adam's own step is at most about lr."""
    finetune(settings(rooms(tmp_path / "d"), lr=1e-4, weight_decay=3000.0, epochs=2, ema=0.0), tmp_path / "out")
    first, last = seen[0], seen[-1]
    for old, new in zip(first["before"], last["before"], strict=True):
        ratio = float(new.norm() / old.norm().clamp(min=1e-12))
        if old.ndim > 1:
            assert ratio < 0.75
        elif float(old.norm()) > 0:  # scales of norms; biases begin at 0
            assert 0.98 < ratio < 1.02


def test_gradients_are_clipped_before_every_step(tmp_path: Path, seen: list[dict[str, Any]]) -> None:
    """Norms of 5 at most, where the loss is scaled so that they would be far larger."""
    data = rooms(tmp_path / "d")
    run = settings(data, model="hybrid_mobilenetv1-025_fpn", auxiliary={"consistency": 1e5, "decorrelation": 1e5})
    finetune(run, tmp_path / "out")
    assert len(seen) == 2
    assert all(4.9 < step["norm"] < 5.001 for step in seen)


def test_clipping_keeps_the_direction_and_reports_the_norm() -> None:
    layer = nn.Linear(1, 2, bias=False)
    layer.weight.grad = torch.tensor([[6.0], [8.0]])
    assert clip_gradients(layer) == pytest.approx(10.0)
    assert layer.weight.grad.flatten().tolist() == pytest.approx([3.0, 4.0], rel=1e-5)
    layer.weight.grad = torch.tensor([[0.6], [0.8]])
    assert clip_gradients(layer) == pytest.approx(1.0)
    assert layer.weight.grad.flatten().tolist() == pytest.approx([0.6, 0.8])
    layer.weight.grad = torch.tensor([[math.inf], [0.8]])
    assert not math.isfinite(clip_gradients(layer))


def test_encoders_from_given_weights_learn_at_their_own_rate(tmp_path: Path) -> None:
    """At rate 0 they keep the weights of `init`, which the rest does not."""
    init = encoder_folder(tmp_path / "encoder")
    run = settings(rooms(tmp_path / "d"), init=init, encoder_lr=0.0, ema=0.0, epochs=2)
    finetune(run, tmp_path / "out")
    model = from_pretrained(str(tmp_path / "out"))
    assert isinstance(model, TwoStream)
    wanted = convert.encoder_state(init)[0]
    for name, p in model.rgb_encoder.named_parameters():
        torch.testing.assert_close(p.detach(), wanted[name], rtol=0, atol=0)
    assert float(model.head.bias.detach().abs().max()) > 0  # begins at 0
    stem = next(name for name, p in model.x_encoder.named_parameters() if p.ndim == 4 and p.shape[1] == 1)
    torch.testing.assert_close(model.x_encoder.get_parameter(stem).detach(), wanted[stem].sum(1, keepdim=True))


@pytest.mark.parametrize(
    ("given", "encoder", "rest"),
    [({}, 1e-3, 1e-3), ({"lr": 0.01}, 0.01, 0.01), ({"init": "imagenet"}, 3e-4, 1e-3),
     ({"init": "imagenet", "lr": 0.01}, 0.003, 0.01), ({"encoder_lr": 1e-4}, 1e-4, 1e-3),
     ({"encoder_lr": 0.0}, 0.0, 1e-3), ({"init": "imagenet", "encoder_lr": 1e-3}, 1e-3, 1e-3)],
)  # fmt: skip
def test_rates_of_encoders_and_of_the_rest(given: dict[str, Any], encoder: float, rest: float) -> None:
    """Which parameters share a group is the same at any rates: a state fits runs of other ones."""
    model = create_model(MODEL)
    groups = optimiser_of(model, Settings(MODEL, "planted", **given)).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert {rates[id(p)] for name, p in model.named_parameters() if "encoder" in name} == {encoder}
    assert {rates[id(p)] for name, p in model.named_parameters() if "encoder" not in name} == {rest}
    plain = optimiser_of(model, Settings(MODEL, "planted")).param_groups
    assert [[id(p) for p in group["params"]] for group in groups] == [[id(p) for p in g["params"]] for g in plain]


def test_encoders_of_a_checkpoint_learn_at_a_given_rate(tmp_path: Path) -> None:
    create_model(MODEL, num_classes=3).save_pretrained(tmp_path / "start")
    run = settings(rooms(tmp_path / "d"), model=str(tmp_path / "start"), encoder_lr=0.0, ema=0.0)
    finetune(run, tmp_path / "out", note=lambda text: None)
    before, after = (dict(from_pretrained(str(tmp_path / n)).named_parameters()) for n in ("start", "out"))
    for name, p in after.items():
        if "encoder" in name:
            torch.testing.assert_close(p, before[name], rtol=0, atol=0)
    assert not torch.equal(after["head.bias"], before["head.bias"])


def test_average_follows() -> None:
    model, average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.zeros_(average.weight)
    nn.init.ones_(model.weight)
    update_average(average, model, 0.9, step=10_000)
    update_average(average, model, 0.9, step=10_000)
    assert float(average.weight.detach()) == pytest.approx(1 - 0.9**2)
    update_average(average, model, 0.9, step=0)  # a short memory at the start: 0.1
    assert float(average.weight.detach()) == pytest.approx(1 - 0.9**2 * 0.1)


def test_average_takes_statistics_and_counters_along() -> None:
    model, average = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    model.train()(torch.full((4, 2), 10.0))
    update_average(average, model, 0.5, step=10_000)
    assert average.running_mean.tolist() == pytest.approx([0.5, 0.5])  # half of 0 and of 0.1 x 10
    assert int(average.num_batches_tracked) == 1


def test_dropout_takes_either_modality_as_often_and_never_both() -> None:
    torch.manual_seed(0)
    rgb, x = drop_modality(torch.ones(4000, 3, 2, 2), torch.ones(4000, 1, 2, 2), 0.4)
    without_rgb, without_x = (v.flatten(1).amax(1) == 0 for v in (rgb, x))
    assert not bool((without_rgb & without_x).any())
    assert float(without_rgb.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert float(without_x.float().mean()) == pytest.approx(0.2, abs=0.03)
    # an image is dropped whole or not at all
    assert bool(((rgb.flatten(1).amin(1) == 1) | without_rgb).all() and ((x.flatten(1).amin(1) == 1) | without_x).all())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_run_drops_modalities_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    given: list[tuple[bool, bool]] = []
    original = FusionModel.inputs

    def inputs(self: FusionModel, rgb: Tensor | None, x: Tensor | None) -> tuple[Tensor, Tensor]:
        rgb, x = original(self, rgb, x)
        if self.training:
            given.extend(zip(*((v.flatten(1).abs().amax(1) == 0).tolist() for v in (rgb, x)), strict=True))
        return rgb, x

    monkeypatch.setattr(FusionModel, "inputs", inputs)
    finetune(settings(rooms(tmp_path / "d", n=8), drop_modality=share, epochs=2, val_split=""), tmp_path / "out")
    assert len(given) == 16
    assert set(given) == ({(False, False)} if share == 0 else {(True, False), (False, True)})


def test_the_command_line_of_a_run_is_in_its_record(tmp_path: Path) -> None:
    finetune(settings(rooms(tmp_path / "d"), val_split=""), tmp_path / "out")
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert "--data folder:d --out out" in record["recipe"]["command"] and str(tmp_path) not in json.dumps(record)
