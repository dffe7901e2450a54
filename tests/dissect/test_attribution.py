"""Attribution to both inputs against closed forms of models whose score is known by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fusionzoo import create_model
from fusionzoo.dissect.attribution import attribute, occlude
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.preprocess import Preprocess

H, W = 8, 12
WEIGHTS = torch.tensor([0.5, -1.0, 2.0])


class PerPixel(nn.Module):
    """Two classes: 0 has the logit `formula(rgb, x)` at each pixel, 1 has the logit -100."""

    modalities = ("rgb", "depth")
    class_names = ("sum", "other")

    def __init__(self, formula) -> None:
        super().__init__()
        self.formula, self.preprocess = formula, Preprocess(x_mean=(2.0,), x_std=(4.0,))

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        score = self.formula(rgb, x)
        return torch.stack([score, torch.full_like(score, -100.0)], 1)


def linear(rgb: Tensor, x: Tensor) -> Tensor:
    return (rgb * WEIGHTS.view(3, 1, 1)).sum(1) + 3 * x[:, 0] + 7


def product(rgb: Tensor, x: Tensor) -> Tensor:
    return rgb[:, 0] * x[:, 0]


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(3, H, W, generator=g), torch.randn(1, H, W, generator=g)


def part() -> Tensor:
    """Pixels that count: a third of them."""
    where = torch.zeros(H, W).bool()
    where[:, :4] = True
    return where


@pytest.mark.parametrize("method", ["integrated", "gradient_x_input"])
def test_of_a_linear_model_it_is_weight_times_value(method: str) -> None:
    rgb, x = images()
    found = attribute(PerPixel(linear), rgb, x, "sum", method=method, steps=3, where=part())
    share = part() / 32
    assert torch.allclose(found.rgb, rgb * WEIGHTS.view(3, 1, 1) * share, atol=1e-6)
    assert torch.allclose(found.x, 3 * x * share, atol=1e-6)
    assert torch.allclose(found.map("rgb"), found.rgb.sum(0))
    assert found.baseline == pytest.approx(7) and found.residual == pytest.approx(0, abs=1e-5)
    assert sum(found.totals) == pytest.approx(found.score - 7, abs=1e-5)


def test_the_baseline_is_that_of_the_absence_policy() -> None:
    rgb, x = images()
    model = PerPixel(linear)
    found = attribute(model, rgb, x, "sum", absence="zero", where=part(), steps=2)
    zero = model.preprocess.x(torch.zeros(1, 1, 1, 1))  # 0 metres: missing
    assert torch.allclose(found.x, 3 * (x - zero[0]) * part() / 32, atol=1e-5)
    assert found.residual == pytest.approx(0, abs=1e-4) and found.baseline != pytest.approx(7)


def test_of_a_product_each_factor_gets_half() -> None:
    rgb, x = images()
    found = attribute(PerPixel(product), rgb, x, 0, where=part(), steps=1)  # the slope is linear on the path
    half = rgb[0] * x[0] / 2 * part() / 32
    assert torch.allclose(found.map("rgb"), half, atol=1e-6) and torch.allclose(found.map("x"), half, atol=1e-6)
    both = attribute(PerPixel(product), rgb, x, 0, where=part(), method="gradient_x_input")
    assert torch.allclose(both.map("rgb"), 2 * half, atol=1e-6)
    assert both.residual == pytest.approx(both.score, rel=1e-4), "gradient x input is not complete, and says so"


def test_the_midpoint_rule_errs_with_the_square_of_the_step() -> None:
    """F = rgb^2 x: along the path the slopes are t^2, they give 2/3 and 1/3 of F; n midpoints miss 1 / (4 n^2)."""
    rgb, x = images()
    model = PerPixel(lambda rgb, x: rgb[:, 0] ** 2 * x[:, 0])
    for steps in (2, 4, 40):
        found = attribute(model, rgb, x, 0, where=part(), steps=steps, batch_size=3)
        assert found.residual == pytest.approx(-found.score / (4 * steps**2), rel=1e-3, abs=1e-6)
    assert torch.allclose(found.map("rgb"), 2 / 3 * (rgb[0] ** 2 * x[0]) * part() / 32, atol=1e-4)


def test_of_a_real_model_it_adds_up() -> None:
    torch.manual_seed(0)
    model = create_model("gate_mobilenetv1-025_fpn", num_classes=3).train()
    rgb, x = torch.randn(3, 64, 64), torch.randn(1, 64, 64)
    k = int(model.eval()(rgb[None], x[None])[0].argmax(0)[0, 0])
    model.train()
    coarse, fine = (attribute(model, rgb, x, k, steps=n) for n in (4, 128))
    assert abs(fine.residual) < 0.02 * abs(fine.score - fine.baseline) + 1e-4
    assert abs(fine.residual) <= abs(coarse.residual) + 1e-5
    assert model.training and all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("formula", [linear, product])
def test_occlusion_of_overlapping_windows_by_hand(formula) -> None:
    rgb, x = images(1)
    where = torch.ones(H, W).bool()
    found = occlude(PerPixel(formula), rgb, x, 0, window=4, stride=3, where=where, batch_size=5)
    assert found.tops == (0, 3, 4) and found.lefts == (0, 3, 6, 8)
    for i, top in enumerate(found.tops):
        for j, left in enumerate(found.lefts):
            hole = (slice(top, top + 4), slice(left, left + 4))
            one, two = rgb[:, hole[0], hole[1]], x[0][hole]
            if formula is linear:
                want = [float((one * WEIGHTS.view(3, 1, 1)).sum()) / 96, float(3 * two.sum()) / 96]
                want += [want[0] + want[1], 0.0]
            else:
                want = [float((one[0] * two).sum()) / 96] * 4  # any loss of either factor is the loss of both
            got = [float(v[i, j]) for v in (found.rgb, found.x, found.both, found.interaction)]
            assert got == pytest.approx(want, abs=1e-5)
    covered = found.map("x")
    assert float(covered[0, 0]) == pytest.approx(float(found.x[0, 0]))
    assert float(covered[3, 3]) == pytest.approx(float(found.x[:2, :2].mean()), abs=1e-6)


def test_wrong_use() -> None:
    rgb, x = images()
    model = PerPixel(linear)
    for call, said in (
        (lambda: attribute(model, rgb, x, "sun"), "did you mean 'sum'"),
        (lambda: attribute(model, rgb, x, 0, method="integral"), "did you mean 'integrated'"),
        (lambda: occlude(model, rgb, x, 0, window=4).map("depth"), "unknown map"),
    ):
        with pytest.raises(UnknownNameError, match=said):
            call()
    for call, said in (
        (lambda: attribute(model, rgb, x, 1), "no pixel is predicted as 'other' \\(but as sum\\)"),
        (lambda: attribute(model, rgb, x, 5), "the model has 0 to 1"),
        (lambda: attribute(model, rgb, x, 0, absence="permute"), "takes another image"),
        (lambda: attribute(model, rgb, x[:, 1:], 0), "one image"),
        (lambda: attribute(model, rgb, x, 0, where=torch.zeros(H, W).bool()), "a pixel that counts"),
        (lambda: occlude(model, rgb, x, 0, window=9), "must fit into 8 x 12"),
        (lambda: occlude(model, rgb, x, 0, window=4, stride=5), "no pixel is left out"),
    ):
        with pytest.raises(InputError, match=said):
            call()


def test_where_is_by_default_what_is_predicted_as_the_class() -> None:
    rgb, x = images()
    model = PerPixel(lambda rgb, x: torch.where(rgb[:, 0] > 0, 1.0, -200.0) + 0 * x[:, 0] + rgb[:, 1])
    there = rgb[0] > 0
    assert attribute(model, rgb, x, 0, steps=1).score == pytest.approx(float((1 + rgb[1])[there].mean()), abs=1e-5)
    assert float(occlude(model, rgb, x, 0, window=8).x.abs().max()) < 1e-5, "x changes nothing"
