"""Side heads of published models are trained: the segmentation loss at each one's own resolution, of the same pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.errors import UnknownNameError
from fusionzoo.hub.load import from_pretrained
from fusionzoo.models import FusionModel, create_model
from fusionzoo.models.base import SIDE, SIDE_FACTOR
from fusionzoo.train import Settings, finetune
from fusionzoo.train.distill import Student
from tests.train.rooms import rooms, settings
from tests.train.test_processes import fork, train

NAME = "esanet_r18"
"""Three side heads, no dropout."""
SIDED = {"esanet_r18": (8, 16, 32), "rednet_resnet34": (2, 4, 8, 16), "acnet_resnet50": (2, 4, 8, 16),
         "sagate_resnet50": (16,), "emsaformer_emsanet": (8, 16, 32)}  # fmt: skip
SLOW = [NAME, *(pytest.param(n, marks=pytest.mark.slow) for n in SIDED if n != NAME)]


def small(data: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {"model": NAME, "size": (64, 64), "base": (64, 96), "val_split": "", "ema": 0.0}
    return settings(data, **(values | changes))


def cross_entropy(scores: Tensor, label: Tensor) -> float:
    """In NumPy, of logits (B, K, h, w) with the labels (B, H, W) at the centres of their cells; 255 counts not."""
    (h, w), (full_h, full_w) = scores.shape[2:], label.shape[1:]
    rows, cols = ((np.arange(n) * 2 + 1) * full // (2 * n) for n, full in ((h, full_h), (w, full_w)))
    classes = label.numpy()[:, rows][:, :, cols].ravel()
    z = np.moveaxis(scores.detach().double().numpy(), 1, -1).reshape(-1, scores.shape[1])
    z = z - z.max(1, keepdims=True)
    losses = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), classes.clip(max=z.shape[1] - 1)]
    return float(losses[classes != 255].mean())


@pytest.mark.parametrize("factor", [None, 0.0, 0.4])
def test_a_step_loses_the_main_loss_and_the_mean_of_the_sides_by_the_factor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float | None
) -> None:
    given: list[tuple[Tensor, list[Tensor], Tensor]] = []
    ran: list[int] = []
    forward, losses = Student.forward, []

    def looked(self: Student, rgb: Tensor, x: Tensor, label: Tensor, *more: Any) -> Any:
        hook = self.model.get_submodule("rgb_encoder.layer4").register_forward_hook(lambda *_: ran.append(0))
        out = forward(self, rgb, x, label, *more)
        hook.remove()
        given.append((label.clone(), [v.detach().clone() for v in out[2]], out[0].detach().clone()))
        return out

    monkeypatch.setattr(Student, "forward", looked)
    auxiliary = {} if factor is None else {SIDE: factor}
    run = small(rooms(tmp_path / "d", unlabelled=(1,)), auxiliary=auxiliary, batch_size=4)
    finetune(run, tmp_path / "out", step=lambda line: losses.append(line["loss"]))
    (label, sides, logits), (loss,) = given[0], losses
    assert ran == [0]
    assert [tuple(v.shape[2:]) for v in sides] == ([] if factor == 0 else [(8, 8), (4, 4), (2, 2)])
    wanted = cross_entropy(logits, label)
    if sides:
        extra = float(np.mean([cross_entropy(v, label) for v in sides]))
        assert extra > 0.1
        wanted += (SIDE_FACTOR if factor is None else factor) * extra
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert ("--auxiliary side" in json.loads((tmp_path / "out" / "record.json").read_text())["recipe"]["command"]) == (
        factor is not None
    )


@pytest.mark.parametrize("name", SLOW)
def test_a_step_changes_the_side_heads_and_without_the_factor_it_does_not(tmp_path: Path, name: str) -> None:
    for factor in (1.0, 0.0):
        run = small(rooms(tmp_path / "d"), model=name, auxiliary={SIDE: factor}, weight_decay=0.0, warmup=0)
        torch.manual_seed(run.seed)
        before = create_model(name, num_classes=3, x_channels=1)
        finetune(run, tmp_path / str(factor))
        after = from_pretrained(str(tmp_path / str(factor)))
        changed = {k: not torch.equal(v, dict(before.named_parameters())[k]) for k, v in after.named_parameters()}
        heads = {k: moved for k, moved in changed.items() if ".side" in k}
        assert heads and set(heads.values()) == {factor > 0}, heads
        assert all(moved for k, moved in changed.items() if k.startswith("decoder.classify.weight"))


@pytest.mark.parametrize("name", SLOW)
def test_side_scores_are_of_any_size_and_inference_runs_no_side_head(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, num_classes=3).eval()
    assert model.loss_factors == {SIDE: SIDE_FACTOR}
    generator = torch.Generator().manual_seed(1)
    rgb = torch.randn(2, 3, 40, 64, generator=generator)
    x = torch.randn(2, model.x_channels, 40, 64, generator=generator)
    ran: list[str] = []
    for key, module in model.named_modules():
        if ".side" in key:
            module.register_forward_hook(lambda *_, key=key: ran.append(key))
    with torch.inference_mode():
        plain, (logits, auxiliary) = model(rgb, x), model.losses(rgb, x, step=2)
        assert ran == [] and auxiliary == {}
        main, *sides = model.side_scores(rgb, x)
        half = model.side_scores(rgb, x, step=2)[0]
    assert len(ran) >= len(sides)
    torch.testing.assert_close(main, plain)
    torch.testing.assert_close(half, logits)
    assert [tuple(v.shape) for v in sides] == [(2, 3, 64 // s, 64 // s) for s in SIDED[name]]  # 40 rows lie in 64


def test_a_model_without_side_heads() -> None:
    model = create_model("sum_mobilenetv1-025_fpn", num_classes=3).eval()
    rgb, x = torch.randn(1, 3, 32, 32), torch.randn(1, 1, 32, 32)
    (only,) = model.side_scores(rgb, x)
    torch.testing.assert_close(only, model(rgb, x))
    assert SIDE not in model.loss_factors and isinstance(model, FusionModel)


def test_a_factor_for_sides_that_a_model_lacks(tmp_path: Path) -> None:
    run = settings(rooms(tmp_path / "d"), auxiliary={SIDE: 1.0})
    with pytest.raises(UnknownNameError, match="unknown auxiliary loss of .* 'side'"):
        finetune(run, tmp_path / "out")


def test_parts_and_processes_lose_what_a_batch_loses(tmp_path: Path, still: None) -> None:
    """Of unequal shares of labels."""
    data = rooms(tmp_path / "d", n=4, unlabelled=(1, 2))
    found = {}
    for name, changes in (("whole", {}), ("parts", {"accumulate": 2})):
        train(small(data, batch_size=4, **changes), tmp_path / name)
    fork(2, lambda rank: train(small(data, batch_size=4), tmp_path / "many"))
    for name in ("whole", "parts", "many"):
        line = json.loads((tmp_path / name / "steps.jsonl").read_text().splitlines()[0])
        found[name] = (line["loss"], line["norm"])
    assert found["parts"] == pytest.approx(found["whole"], rel=1e-4)
    assert found["many"] == pytest.approx(found["whole"], rel=1e-4)
