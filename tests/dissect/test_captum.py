"""Attribution to both inputs against captum's, where it is installed; closed forms are in test_attribution.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fusionzoo import create_model
from fusionzoo.dissect.attribution import attribute, occlude
from fusionzoo.dissect.attribution.gradients import baselines, class_score

H, W, CLASS = 32, 48, 1
WHERE = torch.arange(H * W).view(H, W) % 3 == 0


@pytest.fixture(scope="module")
def captum() -> Any:
    return pytest.importorskip("captum.attr")


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    return create_model("gate_mobilenetv1-025_fpn", num_classes=3).double().eval()


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    return tuple(torch.randn(1, c, H, W, generator=g, dtype=torch.float64) for c in (3, 1))  # type: ignore[return-value]


def score(model: Any, inputs: tuple[Tensor, Tensor]) -> Any:
    of = class_score(model, *inputs, CLASS, WHERE)
    return lambda rgb, x: of(model(rgb, x))


def near(got: Tensor, want: Tensor) -> None:
    """To 1e-5 of the largest value, which is not 0."""
    size = float(want.abs().max())
    assert size > 0 and float((got.double() - want).abs().max()) < 1e-5 * size


@pytest.mark.parametrize("absence", ["mean", "zero"])
def test_integrated_gradients_by_the_midpoint_rule(captum: Any, model: Any, inputs: Any, absence: str) -> None:
    got = attribute(model, *inputs, CLASS, steps=6, absence=absence, where=WHERE, batch_size=4)
    want = captum.IntegratedGradients(score(model, inputs)).attribute(
        inputs, baselines=baselines(model, *inputs, absence), n_steps=6, method="riemann_middle"
    )
    near(got.rgb, want[0][0])
    near(got.x, want[1][0])


def test_gradient_x_input(captum: Any, model: Any, inputs: Any) -> None:
    got = attribute(model, *inputs, CLASS, method="gradient_x_input", where=WHERE)
    want = captum.InputXGradient(score(model, inputs)).attribute(tuple(v.clone().requires_grad_() for v in inputs))
    near(got.rgb, want[0][0].detach())
    near(got.x, want[1][0].detach())


def test_occlusion_of_either_input_and_of_both_at_once(captum: Any, model: Any, inputs: Any) -> None:
    got = occlude(model, *inputs, CLASS, window=16, stride=8, where=WHERE)
    of = score(model, inputs)
    want = captum.Occlusion(of).attribute(
        inputs, sliding_window_shapes=((3, 16, 16), (1, 16, 16)), strides=((3, 8, 8), (1, 8, 8)), baselines=(0, 0)
    )
    near(got.map("rgb"), want[0][0, 0])
    near(got.map("x"), want[1][0, 0])
    joined = captum.Occlusion(lambda both: of(both[:, :3], both[:, 3:])).attribute(
        torch.cat(inputs, 1), sliding_window_shapes=(4, 16, 16), strides=(4, 8, 8), baselines=0
    )
    near(got.map("both"), joined[0, 0])
