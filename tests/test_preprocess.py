"""Preprocess against hand computation and torchvision; validate_pair against every input it must refuse."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from fusionzoo.errors import InputError
from fusionzoo.preprocess import X_KINDS, Preprocess, validate_pair


def test_rgb_equals_torchvision():
    rgb = torch.randint(0, 256, (2, 3, 5, 7), dtype=torch.uint8)
    wanted = tv.normalize(tv.to_dtype(rgb, torch.float32, scale=True), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    out = Preprocess().rgb(rgb)
    torch.testing.assert_close(out, wanted)
    assert out.dtype == torch.float32
    torch.testing.assert_close(Preprocess().rgb(rgb.double() / 255), wanted)  # floats are 0..1 already
    torch.testing.assert_close(Preprocess().rgb(rgb[0]), wanted[0])  # one image without a batch


def test_depth_by_hand():
    p = Preprocess(x_mean=(2.0,), x_std=(0.5,), x_scale=0.001)  # millimetres
    out = p.x(torch.tensor([[[3000.0, 0.0, 2000.0, 1.0]]]))
    assert out.flatten().tolist() == pytest.approx([2.0, 0.0, 0.0, (0.001 - 2) / 0.5])


def test_inverse_depth_by_hand():
    p = Preprocess(x_kind="inverse_depth", x_mean=(0.25,), x_std=(0.125,))
    assert p.x(torch.tensor([[[4.0, 2.0, 0.0, 0.5]]])).flatten().tolist() == pytest.approx([0.0, 2.0, 0.0, 14.0])


@pytest.mark.parametrize("kind", ["hha", "thermal"])
def test_in_hha_and_thermal_zero_is_a_value(kind):
    p = Preprocess(x_kind=kind, x_scale=1 / 255, x_mean=(0.5, 0.25, 0.0), x_std=(0.25, 0.5, 1.0))
    out = p.x(torch.tensor([0.0, 0.0, 255.0]).view(3, 1, 1))
    assert out.flatten().tolist() == pytest.approx([-2.0, -0.5, 1.0])


def test_missing_depth_becomes_the_mean_whatever_mean_and_kind():
    for kind in ("depth", "inverse_depth"):
        out = Preprocess(x_kind=kind, x_mean=(123.0,), x_std=(7.0,)).x(torch.tensor([[[0, 5]]], dtype=torch.int32))
        assert out[0, 0, 0] == 0 and out[0, 0, 1] != 0


def test_the_call_does_both_and_leaves_its_input():
    rgb, x = torch.randint(0, 256, (3, 2, 2), dtype=torch.uint8), torch.rand(1, 2, 2)
    before = rgb.clone(), x.clone()
    p = Preprocess()
    a, b = p(rgb, x)
    assert torch.equal(a, p.rgb(rgb)) and torch.equal(b, p.x(x))
    assert torch.equal(rgb, before[0]) and torch.equal(x, before[1])


def test_json_round_trip():
    p = Preprocess(x_kind="hha", x_scale=1 / 255, x_mean=(0.1, 0.2, 0.3), x_std=(1.0, 2.0, 3.0))
    again = Preprocess.from_dict(json.loads(json.dumps(p.to_dict())))
    assert again == p and again.x_channels == 3 and hash(again) == hash(p)


def test_an_unknown_key_names_the_closest():
    with pytest.raises(InputError, match="unknown preprocess key 'x_men'; did you mean 'x_mean'"):
        Preprocess.from_dict({"x_men": [1.0]})


@pytest.mark.parametrize(
    "values",
    [
        {"x_kind": "sonar"},
        {"rgb_mean": (0.5,)},
        {"rgb_std": (0.1, 0.1)},
        {"x_mean": (1.0, 2.0)},
        {"x_std": (0.0,)},
        {"rgb_std": (1.0, -1.0, 1.0)},
    ],
)
def test_a_preprocessing_that_cannot_be(values):
    with pytest.raises(InputError):
        Preprocess(**values)


# Pairs.


def pair(h=4, w=6, batch=()):
    return torch.zeros(*batch, 3, h, w, dtype=torch.uint8), torch.ones(*batch, 1, h, w)


@pytest.mark.parametrize("kind", X_KINDS)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_a_good_pair_passes(kind, batch):
    rgb, x = pair(batch=batch)
    x[..., 0, 0] = 0  # some pixels missing
    validate_pair(rgb, x, kind)


def test_depth_of_another_size():
    with pytest.raises(InputError, match="scene.png: x is 6x8 but rgb is 6x4"):
        validate_pair(pair()[0], pair(8, 6)[1], where="scene.png")
    with pytest.raises(InputError):
        validate_pair(pair(batch=(2,))[0], pair(batch=(3,))[1])


def test_wrong_dimensions_and_channels():
    rgb, x = pair()
    for bad in (rgb[:2], rgb[0], rgb[None, None]):
        with pytest.raises(InputError, match="rgb has shape"):
            validate_pair(bad, x)
    with pytest.raises(InputError, match="x has shape"):
        validate_pair(rgb, x[None])
    with pytest.raises(InputError, match="x has shape"):
        validate_pair(rgb, x[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", X_KINDS)
def test_nan_and_infinity_in_x(bad, kind):
    rgb, x = pair()
    x[0, 1, 2] = bad
    with pytest.raises(InputError, match="x has 1 NaN or infinite"):
        validate_pair(rgb, x, kind)


def test_nan_in_rgb():
    rgb, x = pair()
    with pytest.raises(InputError, match="rgb has 72 NaN"):
        validate_pair(torch.full_like(rgb, math.nan, dtype=torch.float32), x)


def test_depth_that_is_zero_everywhere():
    rgb, x = pair(batch=(2,))
    x[1] = 0  # one image of the batch
    with pytest.raises(InputError, match="zero everywhere"):
        validate_pair(rgb, x)
    validate_pair(rgb, x, "thermal")  # for other kinds zero is a value


def test_negative_depth():
    rgb, x = pair()
    x[0, 0, 0] = -1
    with pytest.raises(InputError, match="negative"):
        validate_pair(rgb, x)
    validate_pair(rgb, x, "hha")
