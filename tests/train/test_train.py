"""Training: losses against closed forms, a run that learns, resume equal to an unbroken run, refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fusionzoo.errors import InputError
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import create_model, list_fusions
from fusionzoo.train import Settings, evaluate, finetune
from fusionzoo.train.losses import Criterion, class_weights, on_grid, total


def tiny(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "model": "concat_mobilenetv1-025_fpn", "data": "planted", "epochs": 2, "batch_size": 4, "limit": 8,
        "size": (64, 64),
        "base": (60, 80), "test_size": (60, 80), "decoder_args": {"pyramid_channels": 16, "segmentation_channels": 32},
    }  # fmt: skip
    return Settings(**(values | changes))


def test_loss_is_the_weighted_mean_over_labelled_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, generator=generator)
    label = torch.randint(0, 3, (2, 8, 8), generator=generator)
    label[0, :4] = 255
    weight = torch.tensor([1.0, 2.0, 0.5])
    small = label[:, 1::2, 1::2]
    torch.testing.assert_close(
        Criterion(weight=weight)(logits, on_grid(label, (4, 4))),
        F.cross_entropy(logits, small, weight, ignore_index=255),
    )
    total_loss, count = 0.0, 0
    for b in range(2):
        for i in range(4):
            for j in range(4):
                if (k := int(small[b, i, j])) != 255:
                    total_loss -= math.log(float(logits[b, :, i, j].softmax(0)[k]))
                    count += 1
    assert abs(float(Criterion()(logits, on_grid(label, (4, 4)))) - total_loss / count) < 1e-5


def test_loss_without_labels_is_zero_and_finite() -> None:
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    loss = Criterion()(logits, on_grid(torch.full((1, 4, 4), 255), (2, 2)))
    loss.backward()
    assert float(loss.detach()) == 0 and bool(torch.isfinite(logits.grad).all())


def test_class_weights() -> None:
    assert class_weights(torch.tensor([400, 100, 25]), 1.0).tolist() == [0.25, 1.0, 4.0]
    assert class_weights(torch.tensor([10**9, 100, 1]), 1.0).tolist() == pytest.approx([0.2, 1.0, 5.0])
    assert class_weights(torch.tensor([5, 6, 7]), 0.0).tolist() == [1.0, 1.0, 1.0]


def test_total_takes_only_named_auxiliary_losses() -> None:
    parts = {"a": torch.tensor(2.0), "b": torch.tensor(4.0)}
    assert float(total(torch.tensor(1.0), parts, {"a": 0.5})) == 2.0


@pytest.mark.parametrize(
    ("strategy", "name", "factor"),
    [("channel_exchange", "sparsity", 1.0), ("cddfuse", "decomposition", 0.1), ("shaspec", "specific", 1.0)],
)
def test_a_strategy_trains_with_its_own_losses(tmp_path: Path, strategy: str, name: str, factor: float) -> None:
    """By default at their own factor; a factor that is given is the loss's, and the first loss is linear in it."""
    first = {}
    for given in ({}, {name: 0.0}, {name: 50.0}):
        run = replace(tiny(auxiliary=given, limit=4, epochs=1), model=f"{strategy}_mobilenetv1-025_fpn")
        finetune(run, tmp_path / str(len(first)))
        first[given.get(name)] = json.loads((tmp_path / str(len(first)) / "steps.jsonl").read_text().splitlines()[0])
    default, none, large = (first[key]["loss"] for key in (None, 0.0, 50.0))
    assert large - none > 0.005
    assert default - none == pytest.approx((large - none) / 50 * factor, abs=2e-6)


def test_every_loss_of_a_strategy_has_a_factor() -> None:
    for name in list_fusions():
        model = create_model(f"{name}_mobilenetv1-025_fpn")
        _, losses = model.losses(torch.randn(2, 3, 32, 32), torch.randn(2, 1, 32, 32))
        assert set(losses) == set(model.loss_factors), name


def test_evaluate_equals_a_plain_count() -> None:
    """Against sklearn's Jaccard score on the model's own predictions at label size."""
    from sklearn.metrics import jaccard_score

    from fusionzoo.data import Planted

    data = Planted("test", n=3, size=(64, 96))
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=data.num_classes)
    scores = evaluate(model.train(), data, batch_size=2)
    assert model.training
    model.eval()
    truth, guess = [], []
    for i in range(3):
        sample = data[i]
        with torch.no_grad():
            logits = model(*model.preprocess(sample["rgb"][None], sample["x"][None]))
        guess.append(logits[0].argmax(0).flatten())
        truth.append(sample["label"].flatten())
    labels = sorted(set(torch.cat(truth).tolist()) | set(torch.cat(guess).tolist()))
    wanted = jaccard_score(torch.cat(truth).numpy(), torch.cat(guess).numpy(), labels=labels, average=None)
    got = [float(scores.iou[k]) for k in labels]
    assert got == pytest.approx(wanted.tolist(), abs=1e-9)


def test_a_run_learns_and_its_checkpoint_loads(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    looked: list[tuple[str, int, int]] = []
    last = finetune(tiny(epochs=4, limit=4, lr=3e-3, jitter=0.0, scale=(1.0, 1.0), ema=0.0), tmp_path / "run",
                    progress=lines.append, look=lambda *at: looked.append(at))  # fmt: skip
    assert looked[3] == ("training", 4, 4) and looked[4][:2] == ("validation", 1)
    assert lines[-1]["loss"] < lines[0]["loss"] * 0.95
    assert last["best_miou"] == max(line["miou"] for line in lines)
    assert not (tmp_path / "run" / "state.pt").exists() and (tmp_path / "run" / "finished.pt").is_file()
    model = from_pretrained(str(tmp_path / "run"))
    assert model.num_classes == 12 and model.class_names[0] == "floor"
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["recipe"]["command"].startswith(
        "fusionzoo finetune concat_mobilenetv1-025_fpn --data planted --out run"
    )


def test_resume_equals_an_unbroken_run(tmp_path: Path) -> None:
    settings = tiny(epochs=3, val_split="")
    finetune(settings, tmp_path / "whole")

    class Cut(Exception):
        pass

    def cut(line: dict[str, Any]) -> None:
        if line["epoch"] == 2:
            raise Cut

    with pytest.raises(Cut):
        finetune(settings, tmp_path / "cut", progress=cut)
    assert (tmp_path / "cut" / "state.pt").is_file()
    with pytest.raises(InputError, match="--resume"):
        finetune(settings, tmp_path / "cut")
    with pytest.raises(InputError, match="seed"):
        finetune(tiny(epochs=3, val_split="", seed=1), tmp_path / "cut", resume=True)
    finetune(settings, tmp_path / "cut", resume=True)
    one, two = (from_pretrained(str(tmp_path / n)).state_dict() for n in ("whole", "cut"))
    for key, value in one.items():
        torch.testing.assert_close(value, two[key], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"model": "concat_mobilenetv1-025_fnp"}, "fpn"), ({"data": "plantde"}, "planted"), ({"epochs": 0}, "epochs"),
     ({"init": "nowhere"}, "nowhere"), ({"decoder_args": {"pyramid": 3}}, "pyramid")],
)  # fmt: skip
def test_refusals_leave_nothing_behind(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said) as caught:
        finetune(tiny(**change), tmp_path / "run")
    assert getattr(caught.value, "exit_status", 0) == 2
    assert not (tmp_path / "run").exists()


def test_settings_round_trip_and_unknown_keys() -> None:
    settings = tiny()
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        Settings.from_dict(settings.to_dict() | {"epoch": 3})


def test_corrupt_state_is_one_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "state.pt").write_bytes(b"not a state")
    with pytest.raises(InputError, match="state.pt cannot be read"):
        finetune(tiny(), run, resume=True)
