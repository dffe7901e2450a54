"""Stream supervision: its values against NumPy and in closed form, what it asks of which models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.models import create_model
from fusionzoo.train import finetune
from fusionzoo.train.streams import prototype_loss, stream_loss, stream_points
from fusionzoo.train.terms import losses
from tests.train.rooms import rooms, settings

K = 4


def by_hand(features: torch.Tensor, label: np.ndarray) -> float:
    """The header's equations, position by position, in NumPy."""
    k = label.ravel()
    f = np.moveaxis(features.double().numpy(), 1, -1).reshape(-1, features.shape[1])[k != 255]
    k = k[k != 255]
    f = (f - f.mean(0)) / f.std(0)
    z = [v / np.sqrt((v * v).sum()) for v in f]
    there = np.unique(k)
    means = {c: np.mean([v for v, mine in zip(z, k, strict=True) if mine == c], axis=0) for c in there}
    total = weights = 0.0
    for v, mine in zip(z, k, strict=True):
        angle = {c: v @ means[c] / np.linalg.norm(means[c]) for c in there}
        weight = (k == mine).sum() ** -0.5
        total += weight * (np.log(sum(np.exp(10 * angle[c]) for c in there)) - 10 * angle[mine])
        weights += weight
    return float(total / weights)


def example(seed: int = 0, noise: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """(features (2, 6, 5, 6), labels of them): classes 0 to 2 of 4, told by the features up to noise."""
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(K - 1, (2, 5, 6), generator=g)
    means = torch.randn(K, 6, generator=g)
    features = means[label].movedim(-1, 1) + noise * torch.randn(2, 6, 5, 6, generator=g)
    label[0, 0] = 255
    return features, label


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_equals_its_equations(seed: int) -> None:
    features, label = example(seed)
    want = by_hand(features, label.numpy())
    assert float(prototype_loss(features, label, K)) == pytest.approx(want, abs=1e-5)
    large = label.repeat_interleave(4, 1).repeat_interleave(4, 2)  # labels of the input's size: the cells' centres
    assert float(prototype_loss(features, large, K)) == pytest.approx(want, abs=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        both = stream_loss([[features, -features], [features]], label, K)
    assert both.dtype == torch.float32 and float(both) == pytest.approx(want, abs=1e-5)  # a sign changes no angle
    other, _ = example(seed + 10)  # means over the modalities of a stage first, then over stages
    mixed = (want + by_hand(other, label.numpy())) / 2
    assert float(stream_loss([[features, other], [features]], label, K)) == pytest.approx((mixed + want) / 2, abs=1e-5)


def test_two_opposite_classes_in_closed_form() -> None:
    """z_i . P_k is 1 for its own class and -1 for the other: log(1 + e^(-2 / tau)); scale and offset do nothing."""
    v = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 1, 2, 2).repeat(1, 3, 1, 1)
    label = torch.tensor([[[0, 1], [0, 1]]])
    assert float(prototype_loss(5 * v + 3, label, 2)) == pytest.approx(np.log1p(np.exp(-20)), abs=1e-7)
    wrong = torch.tensor([[[0, 0], [1, 1]]])  # each class has both kinds: no prototype tells them apart
    assert float(prototype_loss(v + 1e-3 * torch.randn(v.shape), wrong, 2)) > 0.3


def test_what_cannot_be_told_costs_nothing() -> None:
    features, label = example()
    for there in (torch.full_like(label, 255), torch.where(label == 255, 255, 1)):
        features.grad = None
        loss = prototype_loss(features.requires_grad_(), there, K)
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-6) and bool(features.grad.isfinite().all())
    flat = torch.ones(2, 6, 5, 6, requires_grad=True)  # a dead stream: no direction, finite all the same
    loss = prototype_loss(flat, label, K)
    loss.backward()
    assert loss.item() == pytest.approx(np.log(3), abs=1e-5) and bool(flat.grad.isfinite().all())


@pytest.mark.parametrize("strategy", ["concat", "hybrid", "cmx", "late"])
def test_both_encoders_are_reached_and_nothing_stays(strategy: str) -> None:
    torch.manual_seed(0)
    model = create_model(f"{strategy}_mobilenetv1-025_fpn", num_classes=K).train()
    rgb, x, label = torch.randn(2, 3, 64, 64), torch.randn(2, 1, 64, 64), torch.randint(K, (2, 64, 64))
    logits, auxiliary, _ = losses(model, rgb, x, label, {"streams": 1.0}, step=2)
    assert set(auxiliary) == set(losses(model, rgb, x, label, {})[1]) | {"streams"} and logits.shape[:2] == (2, K)
    auxiliary["streams"].backward()
    for stream in ("rgb", "x"):
        names = [n for n, p in model.named_parameters() if p.grad is not None and float(p.grad.abs().max()) > 0]
        assert any(stream in name.partition("_encoder")[0] for name in names if "_encoder" in name) or any(
            f"{stream}_stream" in name for name in names
        ), (stream, names[:3])
    assert all(point.tap is None for point in model.probe_points().values())


def test_which_features_are_asked() -> None:
    """Those before the fusion of their stage, of the last three; one modality alone has them too."""
    made = {name: create_model(f"{name}_mobilenetv1-025_fpn", num_classes=K) for name in ("concat", "x_only", "early")}
    assert stream_points(made["concat"]) == [[f"stage{i}.rgb", f"stage{i}.x"] for i in (3, 4, 5)]
    assert stream_points(made["x_only"]) == [[f"x_stream.stage{i}.x"] for i in (3, 4, 5)]
    with pytest.raises(InputError, match="no stream of one modality"):
        stream_points(made["early"])
    several = stream_points(create_model("cmnext_mit_b0", num_classes=K, auxiliaries=2))[-1]
    assert len(several) == 3 and "stage5.x" not in several, "not what the others become together"


@pytest.mark.parametrize("name", ["rule", "streams"])
def test_cells_have_the_classes_of_the_padded_image(name: str) -> None:
    """Of 40 rows padded to 64, the cells of a stage cover all 64, and those in the padding have no class."""
    torch.manual_seed(0)
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=K).eval()
    rgb, x, label = torch.randn(2, 3, 40, 64), torch.randn(2, 1, 40, 64), torch.randint(K, (2, 40, 64))
    found = losses(model, rgb, x, label, {name: 1.0})[1][name]
    down = lambda v: torch.nn.functional.pad(v, (0, 0, 0, 24), mode="replicate")  # noqa: E731
    whole = torch.cat([label, torch.full((2, 24, 64), 255)], 1)
    want = losses(model, down(rgb), down(x), whole, {name: 1.0})[1][name]
    assert found.item() == pytest.approx(want.item(), rel=1e-6)


def test_frozen_encoders_have_no_term(tmp_path: Path) -> None:
    data = rooms(tmp_path / "d")
    for name in ("rule", "streams"):
        run = settings(data, val_split="", auxiliary={name: 1.0}, freeze="encoder")
        with pytest.raises(InputError, match=f"{name} does nothing here: all encoders"):
            finetune(run, tmp_path / name, note=lambda text: None)


def test_both_terms_come_of_one_pass() -> None:
    torch.manual_seed(0)
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=K).eval()
    batch = torch.randn(2, 3, 64, 64), torch.randn(2, 1, 64, 64), torch.randint(K, (2, 64, 64))
    apart = {name: losses(model, *batch, {name: 1.0})[1][name] for name in ("rule", "streams")}
    together = losses(model, *batch, {"rule": 1.0, "streams": 1.0})[1]
    assert {n: v.item() for n, v in together.items()} == pytest.approx({n: v.item() for n, v in apart.items()})


def test_a_training_with_it_and_one_that_cannot(tmp_path: Path) -> None:
    data, first = rooms(tmp_path / "d"), []
    for factor in (0.0, 1.0, 2.0):  # the first step's loss is that of the same weights and images
        run, lines = settings(data, val_split="", auxiliary={"streams": factor}), []
        finetune(run, tmp_path / str(factor), step=lines.append, note=lambda text: None)
        first.append(lines[0]["loss"])
    assert first[1] - first[0] > 0.01 and first[2] - first[1] == pytest.approx(first[1] - first[0], rel=1e-3)
    early = settings(data, model="early_mobilenetv1-025_fpn", val_split="", auxiliary={"streams": 1.0})
    with pytest.raises(InputError, match="no stream of one modality"):
        finetune(early, tmp_path / "1", note=lambda text: None)
    assert not (tmp_path / "1").exists()  # said before anything is looked at or written
