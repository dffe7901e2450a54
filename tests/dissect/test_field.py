"""Receptive fields against closed forms: stacks of convolutions, box filters, two streams that exchange."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusionzoo import create_model, receptive_field
from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.probes import Probe


class Streams(nn.Module):
    """Two streams of any modules with a probe behind each; rgb gets x's value before its last module."""

    modalities = ("rgb", "depth")
    x_channels = 1

    def __init__(self, rgb: nn.Module, x: nn.Module, last: nn.Module | None = None) -> None:
        super().__init__()
        self.rgb, self.x, self.last = rgb, x, last or nn.Identity()
        self.at, self.x_at, self.end, self.code = Probe(1), Probe(1), Probe(1), Probe(1)

    @property
    def levels(self) -> dict[int, dict[str, str]]:
        return {1: {"rgb": "at", "x": "x_at", "fused": "end"}}

    def forward(self, rgb: Tensor, x: Tensor) -> Tensor:
        rgb, x = self.at(self.rgb(rgb)), self.x_at(self.x(x))
        fused = self.end(self.last(rgb + x))
        self.code(fused.mean((2, 3)))
        return fused


def box(k: int, channels: int = 1, stride: int = 1) -> nn.Conv2d:
    """The mean over a window, of the first channel."""
    conv = nn.Conv2d(channels, 1, k, stride, k // 2, bias=False)
    nn.init.zeros_(conv.weight)
    conv.weight.data[:, :1] = 1 / k**2
    return conv


def seen(rgb: nn.Module, point: str = "at", modality: str = "rgb", **more):
    return receptive_field(Streams(rgb, nn.AdaptiveAvgPool2d(1)), point, **more)[point][modality]


@pytest.mark.parametrize(
    "layers",
    [
        [(3, 1, 1)],
        [(3, 2, 1), (3, 2, 1), (3, 1, 1)],
        [(7, 2, 1), (3, 2, 1), (3, 1, 2), (1, 1, 1), (5, 3, 1)],
        [(4, 2, 1), (2, 2, 1), (3, 1, 4)],
    ],
)
def test_of_a_stack_of_convolutions_it_is_the_closed_form(layers) -> None:
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    want, jump, channels = 1, 1, 3
    for k, s, d in layers:
        parts += [nn.Conv2d(channels, 4, k, s, d * (k - 1) // 2, d), nn.BatchNorm2d(4), nn.ReLU6()]
        want, jump, channels = want + d * (k - 1) * jump, jump * s, 4
    found = seen(nn.Sequential(*parts, nn.Conv2d(4, 1, 1)), size=(96, 80), images=1)
    assert found.theoretical == (want, want) and found.whole == ()
    assert found.radius is not None and found.radius <= want / 2**0.5


def test_pooling_padding_and_resampling() -> None:
    assert seen(nn.Sequential(box(3, 3), nn.MaxPool2d(3, 2, 1)), images=1).theoretical == (5, 5)
    assert seen(nn.Sequential(nn.ZeroPad2d((0, 2, 0, 1)), nn.Conv2d(3, 1, (2, 3))), images=1).theoretical == (2, 3)
    assert seen(nn.Sequential(nn.AvgPool2d(4), box(1, 3), nn.Upsample(scale_factor=2)), images=1).theoretical == (4, 4)
    up = nn.Upsample(scale_factor=2, mode="bilinear")
    assert seen(nn.Sequential(nn.AvgPool2d(4), box(1, 3), up), images=1).theoretical == (8, 8)  # of two of the pool
    transposed = nn.ConvTranspose2d(3, 1, 4, 2, 1)  # each row from two
    assert seen(nn.Sequential(nn.AvgPool2d(2), transposed), images=1).theoretical == (4, 4)


class Gated(nn.Module):
    """A value times a gate that is made of the whole map."""

    def forward(self, value: Tensor) -> Tensor:
        return value * value.mean((2, 3), keepdim=True)


def test_a_gate_of_the_whole_map_sees_all_of_it_and_is_named() -> None:
    found = seen(nn.Sequential(box(3, 3), Gated()), size=(32, 48), images=1)
    assert found.theoretical is None and found.whole == ("Mean",)
    assert found.radius is not None, "the effective one is measured all the same"


def test_box_filters_have_the_radius_of_a_sum_of_uniforms() -> None:
    """The gradient of a linear stack of box filters is the density of a sum of uniforms, along each axis."""
    sizes = (3, 5, 3, 7)
    density = np.ones(1)
    for k in sizes:
        density = np.convolve(density, np.ones(k) / k)
    place = np.arange(len(density)) - len(density) // 2
    assert (density * place**2).sum() == pytest.approx(sum((k**2 - 1) / 12 for k in sizes)), "variances add up"
    found = seen(nn.Sequential(*(box(k, 3 if i == 0 else 1) for i, k in enumerate(sizes))), size=(64, 64), images=1)
    energy = density**2 / (density**2).sum()
    assert found.theoretical == (15, 15)
    assert found.spread == pytest.approx([(energy * place**2).sum() ** 0.5] * 2, rel=1e-5)
    flat = np.outer(energy, energy).ravel()
    far = np.hypot(place[:, None], place[None]).ravel()
    within = [r for r in np.unique(far) if flat[far <= r + 1e-9].sum() >= 0.95]
    assert found.radius == pytest.approx(within[0], abs=1e-4)


def test_depth_differs_from_rgb_after_an_exchange_and_is_unseen_before() -> None:
    rgb = nn.Sequential(box(3, 3), nn.Conv2d(1, 1, 3, padding=1))
    fields = receptive_field(Streams(rgb, box(7), box(3)), size=(48, 48), images=2)
    assert fields["at"]["rgb"].theoretical == (5, 5)
    before = fields["at"]["depth"]
    assert before.theoretical == (0, 0) and before.radius is None and before.spread is None
    after = fields["end"]
    assert (after["rgb"].theoretical, after["depth"].theoretical) == ((7, 7), (9, 9))
    assert after["depth"].radius > after["rgb"].radius > 0


def test_of_a_real_model_and_of_images_that_are_given() -> None:
    torch.manual_seed(0)
    model = create_model("concat_mobilenetv1-025_fpn", num_classes=3).train()
    given = [torch.randn(1, c, 64, 64, requires_grad=True) for c in (3, 1)]
    fields = receptive_field(model, ["stage2.*", "stage3.fusion.fused"], inputs=given)
    assert fields["stage2.rgb"]["depth"].theoretical == (0, 0) and fields["stage2.x"]["rgb"].radius is None
    at = fields["stage3.fusion.fused"]
    assert at["rgb"].theoretical == at["depth"].theoretical and at["rgb"].theoretical[0] > 15
    assert model.training and all(p.grad is None for p in model.parameters()) and given[0].grad is None
    again = receptive_field(model, "stage2.rgb", inputs=given)["stage2.rgb"]["rgb"]
    assert again.radius == pytest.approx(fields["stage2.rgb"]["rgb"].radius, rel=0.5)


def test_wrong_use() -> None:
    model = Streams(box(3, 3), box(3))
    with pytest.raises(InputError, match="code passes .* a map"):
        receptive_field(model, "code", images=1)
    with pytest.raises(UnknownNameError, match="did you mean"):
        receptive_field(model, "x_et", images=1)
    with pytest.raises(InputError, match="rgb, depth: give one tensor each, not 1"):
        receptive_field(model, "at", inputs=[torch.zeros(1, 3, 8, 8)])
