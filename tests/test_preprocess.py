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
        out = Preprocess(x_kind=kind, x_mean=(123.0,), x_std=(7.0,)).x(torch.tensor([[[0, 5, math.nan, math.inf]]]))
        assert out[0, 0, [0, 2, 3]].tolist() == [0, 0, 0] and out[0, 0, 1] != 0


def test_nan_is_missing_in_every_kind():
    for kind in ("grey", "thermal", "hha"):
        out = Preprocess(x_kind=kind, x_mean=(0.5,), x_std=(2.0,)).x(torch.tensor([[[0.0, math.nan, -math.inf]]]))
        assert out.flatten().tolist() == [-0.25, 0, 0]


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int32, torch.int64, torch.uint8])
def test_integers_where_metres_are_meant(dtype):
    x = torch.full((1, 2, 2), 250).to(dtype)
    for kind in ("depth", "inverse_depth"):
        with pytest.raises(InputError, match=r"depth is u?int\d+; give float metres .*x.float\(\) / 1000"):
            Preprocess(x_kind=kind).x(x)
    millimetres = Preprocess(x_scale=0.001, x_mean=(0.0,), x_std=(1.0,)).x(x)
    torch.testing.assert_close(millimetres, torch.full((1, 2, 2), 0.25))
    thermal = Preprocess(x_kind="thermal", x_mean=(0.0,), x_std=(1.0,)).x(x)  # pictures are 0..255 in any type
    torch.testing.assert_close(thermal, torch.full((1, 2, 2), 250.0))


@pytest.mark.parametrize(
    ("rgb", "says"),
    [
        (torch.full((3, 2, 2), 255.0), "float rgb reaches up to 255 where 0..1 is meant; divide by 255"),
        (torch.full((1, 3, 2, 2), 200.0, dtype=torch.float16), "divide by 255"),
        (torch.full((3, 2, 2), 200), "rgb is int64; give uint8"),
        (torch.ones(3, 2, 2, dtype=torch.bool), "rgb is bool; give uint8"),
        (torch.full((3, 2, 2), -2.1), "reaches down to -2.1; give raw colour"),
        (torch.tensor([0.0, math.nan, 1.0]).view(3, 1, 1), "NaN"),
        (torch.tensor([0.0, math.inf, 1.0]).view(3, 1, 1), "infinite"),
    ],
)
def test_colour_that_cannot_be(rgb, says):
    with pytest.raises(InputError, match=says):
        Preprocess().rgb(rgb)


# What the weights saw.

ROOMS = Preprocess(x_quantiles=(0.9, 2.0, 2.8, 3.8, 8.2), x_missing=(0.05, 0.1))


def room(holes=0.0, seed=0):
    """(1, 48, 64) metres: a wall at 4 m, a floor that comes to 1.6 m, a box at 2.2 m; `holes` of it missing."""
    row = torch.arange(48.0).view(1, 48, 1)
    x = (4 * 20 / row.clamp(min=20)).expand(1, 48, 64).clone()
    x[:, 18:36, 8:30] = 2.2
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < holes] = 0
    return x


@pytest.mark.parametrize("factor", [5, 256 / 1000 * 15.2, 8, 0.2, 1000, 0.001, 65])
@pytest.mark.parametrize("holes", [0.0, 0.1])
def test_another_unit_is_named_with_both_ranges(factor, holes):
    said = ROOMS.unlike(room(holes) * factor)
    assert "median" in said and "0.9 to 8.2 (median 2.8) metres" in said and "unit" in said
    assert f"{float(room()[room() > 0].quantile(0.99)) * factor:.4g}" in said
    assert "\n" not in said
    assert ROOMS.unlike(torch.stack([room(), room(holes) * factor])) == said  # the far one of a batch


@pytest.mark.parametrize("x", [room(), room(0.1), room() * 1.7, room() / 1.7, torch.full((1, 9, 9), 6.9)])
def test_rooms_like_the_training_data_are_silent(x):
    assert ROOMS.unlike(x) is None and ROOMS.unlike(x[None].expand(3, -1, -1, -1)) is None
    assert ROOMS.unlike(torch.where(x > 0, x, math.nan)) is None  # NaN is missing as 0 is


def test_more_holes_than_the_weights_saw():
    for missing in (0.0, math.nan, math.inf):
        x = room(0.9)
        said = ROOMS.unlike(torch.where(x > 0, x, missing))
        assert "90 % of the depth is missing" in said and "5 % on average, 10 % at most" in said
    assert ROOMS.unlike(torch.zeros(1, 4, 4)).startswith("100 % of the depth is missing")
    seen = Preprocess(x_quantiles=ROOMS.x_quantiles, x_missing=(0.4, 0.9))
    assert seen.unlike(room(0.9)) is None


def test_a_sentinel_among_right_values():
    x = room()
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.2] = 65.535
    assert "65.5" in (said := ROOMS.unlike(x)) and "mean missing" in said


def test_pictures_of_0_to_255():
    p = Preprocess(x_kind="thermal", x_quantiles=(0.0, 60.0, 110.0, 160.0, 255.0), x_missing=(0.0, 0.0))
    picture = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0)) * 255
    assert p.unlike(picture) is None and p.unlike(picture / 3) is None
    assert "thermal of" in p.unlike(picture / 255) and "unit" in p.unlike(picture * 100)


def test_a_record_that_does_not_say_what_the_weights_saw():
    assert Preprocess().unlike(room() * 1000) is None
    assert "x_quantiles" not in Preprocess().to_dict() and "x_missing" not in Preprocess().to_dict()
    again = Preprocess.from_dict(json.loads(json.dumps(ROOMS.to_dict())))
    assert again == ROOMS and again.x_missing == (0.05, 0.1)


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
    with pytest.raises(InputError, match="preprocess: unknown field 'x_men'; did you mean 'x_mean'"):
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
        {"x_std": (math.nan,)},
        {"x_quantiles": (1.0, 2.0, 3.0)},
        {"x_quantiles": (5.0, 4.0, 3.0, 2.0, 1.0)},
        {"x_missing": (0.2, 0.1)},
        {"x_missing": (0.2, 1.1)},
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


@pytest.mark.parametrize("factor", [1000.0, 100.0 * 5, 1e-3])
def test_depth_in_another_unit_is_refused_in_a_loop_of_ones_own(factor):
    generator = torch.Generator().manual_seed(0)
    rgb, depth = torch.zeros(2, 3, 60, 80), 1.5 + 5 * torch.rand(2, 1, 60, 80, generator=generator)
    depth[:, :, :20] = 0
    p = Preprocess()
    assert torch.isfinite(p(rgb, depth)[1]).all() and not p(rgb, torch.zeros_like(depth))[1].any()
    with pytest.raises(
        InputError, match=r"depth has the median .*, which cannot be metres; give metres \(of millimetres"
    ):
        p(rgb, depth * factor)
    both = Preprocess.of("depth+thermal")
    both.x(torch.cat([depth, 200 * depth], 1))  # thermal has no unit
    with pytest.raises(InputError, match="cannot be metres"):
        both.x(torch.cat([depth * factor, depth], 1))
    Preprocess(x_scale=1 / factor)(rgb, depth * factor)
    assert torch.compile(p, backend="eager")(rgb, depth)[1].shape == depth.shape


@pytest.mark.parametrize(("rgb", "x", "says"), [
    (torch.zeros(3, 4, 5), torch.ones(1, 1, 4, 5), r"rgb is \(3, 4, 5\) and x \(1, 1, 4, 5\); give both as"),
    (torch.zeros(4, 5, 3), torch.ones(1, 4, 5), r"rgb is \(4, 5, 3\); give \(\.\.\., 3, H, W\)"),
    (torch.zeros(3, 4, 5), torch.ones(4, 5, 1), r"x is \(4, 5, 1\); give \(\.\.\., 1, H, W\)"),
    (torch.zeros(3, 4, 5).numpy(), torch.ones(1, 4, 5), r"rgb is a ndarray; give a tensor"),
    (torch.zeros(3, 4, 5), torch.ones(1, 4, 5).numpy(), r"x is a ndarray; give a tensor"),
])  # fmt: skip
def test_what_has_no_shape_of_an_image(rgb, x, says):
    with pytest.raises(InputError, match=says):
        Preprocess()(rgb, x)


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


@pytest.mark.parametrize("kind", X_KINDS)
def test_nan_and_infinity_in_x_are_missing(kind):
    rgb, x = pair()
    x[0, 1, 2], x[0, 2, 2] = math.nan, math.inf
    validate_pair(rgb, x, kind)
    with pytest.raises(InputError, match="no pixel was measured"):
        validate_pair(rgb, torch.full_like(x, math.nan), kind)


@pytest.mark.parametrize("metres", [2800.0, 0.0028, 650.0])
def test_depth_that_cannot_be_metres(metres):
    rgb, x = pair()
    x[:] = metres
    x[0, 0, 0] = 0
    for kind in ("depth", "inverse_depth"):
        with pytest.raises(InputError, match=f"room: depth has the median {metres:.4g}, which cannot be metres"):
            validate_pair(rgb, x, kind, "room")
    validate_pair(rgb, x, "thermal")
    validate_pair(rgb, x.clamp(0.02, 400))


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
    for bad in (-1, -math.inf):
        x[0, 0, 0] = bad
        with pytest.raises(InputError, match="negative"):
            validate_pair(rgb, x)
    validate_pair(rgb, x, "hha")
