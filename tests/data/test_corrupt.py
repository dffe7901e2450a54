"""Corruptions: sizes of what they do against closed forms and plain loops, and what they must not depend on."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.data import Planted
from fusionzoo.data.corrupt import (
    CORRUPTIONS,
    PHOTONS,
    corrupt,
    hole_mask,
    levels,
    low_light,
    noise_rgb,
    noise_x,
    quantise,
    severities,
    shift,
)
from fusionzoo.errors import InputError, UnknownNameError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sample(name="one", h=40, w=60):
    g = generator(7)
    x = 1 + 3 * torch.rand(1, h, w, generator=g)
    x[0, :4] = 0  # missing
    rgb = torch.randint(0, 256, (3, h, w), dtype=torch.uint8, generator=g)
    return {"rgb": rgb, "x": x, "label": torch.zeros(h, w, dtype=torch.int64), "id": name}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_keeps_to_its_modality_its_types_and_its_sample(name):
    before = sample()
    kept = {k: v.clone() for k, v in before.items() if k != "id"}
    unit, defaults = severities(name, "depth")
    assert defaults[0] == 0 and len(defaults) >= 5 and unit
    other = "x" if CORRUPTIONS[name].modality == "rgb" else "rgb"
    for severity in defaults[1:]:
        after = corrupt(before, name, severity)
        assert after.keys() == before.keys() and after[other] is before[other] and after["label"] is before["label"]
        changed = after[CORRUPTIONS[name].modality]
        kind = kept[CORRUPTIONS[name].modality]
        assert changed.shape == kind.shape and changed.dtype == kind.dtype and not torch.equal(changed, kind)
        assert torch.isfinite(changed).all() and changed.min() >= 0
        if name not in ("holes_x", "shift_x"):
            assert torch.equal(after["x"] == 0, kept["x"] == 0)  # what is missing stays so, and nothing else
    assert all(torch.equal(before[k], v) for k, v in kept.items())
    assert corrupt(before, name, 0) is before


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severe_is_further_from_the_truth_than_mild(name):
    data = Planted("test", n=1, size=(60, 80))
    clean = data[0]
    _, (_, *rising) = severities(name, "depth")
    part = CORRUPTIONS[name].modality
    distance = [float((corrupt(clean, name, s)[part].float() - clean[part].float()).abs().mean()) for s in rising]
    assert all(a < b for a, b in zip(distance, distance[1:], strict=False)), distance


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_random_numbers_hang_on_seed_corruption_and_id_alone(name):
    severity = severities(name, "depth")[1][2]
    once = corrupt(sample(), name, severity)
    torch.manual_seed(99)
    for noise in ("noise_x", "holes_rgb"):
        corrupt(sample("two"), noise, 0.1)
    again = corrupt(sample(), name, severity)
    assert torch.equal(once["rgb"], again["rgb"]) and torch.equal(once["x"], again["x"])
    if name in ("quantise_x", "levels_x"):  # nothing random in it
        return
    others = [corrupt(sample(i), name, severity, seed=s) for i, s in (("b", 0), ("c", 0), ("one", 1), ("one", 2))]
    part = CORRUPTIONS[name].modality
    assert any(not torch.equal(o[part], once[part]) for o in others)


def test_noise_has_the_stated_deviation():
    rgb = torch.full((3, 200, 300), 128, dtype=torch.uint8)
    error = noise_rgb(rgb, 10, generator()).float() - 128
    assert float(error.std()) == pytest.approx(math.sqrt(100 + 1 / 12), rel=0.01)  # rounding adds 1/12
    assert abs(float(error.mean())) < 0.1
    as_float = noise_rgb(rgb.float() / 255, 10, generator())
    torch.testing.assert_close(as_float * 255 - 128, error, atol=0.51, rtol=0)
    x = torch.full((1, 300, 300), 2.0)
    x[0, 0] = 0
    error = noise_x(x, 0.1, generator()) - x
    assert float(error[0, 1:].std()) == pytest.approx(0.1, rel=0.01) and float(error[0, 0].abs().max()) == 0
    near = noise_x(torch.full((1, 100, 100), 0.01), 1.0, generator())
    assert float(near.min()) == pytest.approx(0.001)  # still measured
    hha = noise_x(torch.full((3, 100, 100), 250.0), 80, generator(), depth=False)
    assert float(hha.max()) == 255 and float(hha.min()) >= 0


def test_low_light_is_darker_by_the_stops_and_noisy_as_photons_are():
    rgb = torch.full((3, 300, 400), 188, dtype=torch.uint8)
    linear = ((188 / 255 + 0.055) / 1.055) ** 2.4
    dark = low_light(rgb.float() / 255, 2, generator())
    back = torch.where(dark <= 0.04045, dark / 12.92, ((dark + 0.055) / 1.055) ** 2.4)
    assert float(back.mean()) == pytest.approx(linear / 4, rel=0.01)
    assert float(back.var()) == pytest.approx(linear / 4 / PHOTONS, rel=0.03)  # Poisson: variance = mean, in electrons
    assert low_light(rgb, 2, generator()).dtype == torch.uint8
    torch.testing.assert_close(low_light(rgb, 2, generator()).float(), (dark * 255).round())


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.77, 1.0])
def test_holes_cover_exactly_their_share_and_nest(share):
    mask = hole_mask((37, 53), share, generator(3))
    assert int(mask.sum()) == round(share * 37 * 53)
    if share < 1:
        assert not bool((mask & ~hole_mask((37, 53), share + 0.2, generator(3))).any())
    holes = corrupt(sample(), "holes_x", share)["x"]
    assert int((holes == 0).sum()) >= round(share * 40 * 60)
    mean = corrupt({**sample(), "rgb": torch.zeros(3, 40, 60, dtype=torch.uint8)}, "holes_rgb", share)["rgb"]
    assert int((mean[0] == 124).sum()) == round(share * 2400) and mean[0].unique().numel() <= 2


def test_holes_reach_every_part_of_the_image():
    total = sum(hole_mask((20, 30), 0.3, generator(i)).double() for i in range(400)) / 400
    assert float(total.mean()) == pytest.approx(0.3, abs=1e-6)
    assert float(total.min()) > 0.15 and float(total.max()) < 0.45


def test_shift_moves_by_whole_pixels():
    x = torch.arange(1.0, 13.0).view(1, 3, 4)
    for down, right in ((0, 0), (1, 0), (-1, 2), (2, -3)):
        for depth in (True, False):
            moved = shift(x, down, right, depth)
            for i in range(3):
                for j in range(4):
                    a, b = i - down, j - right
                    inside = 0 <= a < 3 and 0 <= b < 4
                    edge = x[0, min(max(a, 0), 2), min(max(b, 0), 3)]
                    assert float(moved[0, i, j]) == (float(edge) if inside or not depth else 0.0)
    ways = {corrupt(sample(str(i)), "shift_x", 3)["x"][0].tolist()[20][30] for i in range(20)}
    assert len(ways) == 4  # up, down, left and right
    with pytest.raises(InputError, match="a shift by 3 pixels leaves nothing of a 4x3 image"):
        shift(x, 3, 0)


def test_coarse_depth():
    x = torch.tensor([0.0, 0.004, 0.26, 1.249, 1.25, 9.99])
    torch.testing.assert_close(quantise(x, 0.5), torch.tensor([0.0, 0.5, 0.5, 1.0, 1.5, 10.0]))
    torch.testing.assert_close(corrupt({**sample(), "x": x.view(1, 2, 3)}, "quantise_x", 500)["x"].flatten(),
                               quantise(x, 0.5))  # millimetres  # fmt: skip
    torch.testing.assert_close(quantise(torch.tensor([0.0, 3.0, 254.0]), 64, depth=False),
                               torch.tensor([0.0, 0.0, 255.0]))  # fmt: skip
    few = levels(sample()["x"], 4)
    known = few[few > 0]
    assert known.unique().numel() == 4 and float((few - sample()["x"]).abs().max()) <= (4 - 1) / 3 / 2 + 1e-6
    assert torch.equal(levels(torch.full((2, 2), 3.0), 5), torch.full((2, 2), 3.0))
    assert torch.equal(levels(torch.zeros(2, 2), 5), torch.zeros(2, 2))
    with pytest.raises(InputError, match="1 levels"):
        levels(x, 1)


def test_what_makes_no_sense_is_refused():
    one = sample()
    with pytest.raises(UnknownNameError, match="did you mean 'noise_x'"):
        corrupt(one, "nois_x", 1)
    with pytest.raises(InputError, match="'holes_x' is for depth, not for hha"):
        corrupt(one, "holes_x", 0.5, x_kind="hha")
    with pytest.raises(InputError, match=r"holes_x: severity 1.5 is not 0 to 1 \(share of the area\)"):
        corrupt(one, "holes_x", 1.5)
    with pytest.raises(InputError, match="severity -1 is not 0 or more"):
        corrupt(one, "noise_x", -1)
    with pytest.raises(InputError, match="severity nan"):
        corrupt(one, "noise_x", math.nan)
    with pytest.raises(InputError, match="severity 1.5 is not a whole number"):
        corrupt(one, "shift_x", 1.5)
    with pytest.raises(InputError, match="leaves nothing"):
        corrupt(one, "shift_x", 60)


def test_hha_and_thermal_have_their_own_units():
    assert severities("noise_x", "thermal")[0] == "standard deviation, grey levels of 255"
    assert severities("quantise_x", "hha")[0] == "step, grey levels of 255"
    image = {**sample(), "x": torch.full((3, 40, 60), 100.0)}
    assert corrupt(image, "quantise_x", 64, x_kind="hha")["x"].unique().tolist() == [128.0]
    moved = corrupt({**image, "x": torch.arange(60.0).expand(1, 40, 60)}, "shift_x", 4, x_kind="thermal")["x"]
    assert float(moved.min()) == 0.0 and moved.unique().numel() >= 56  # no hole: the edge is repeated
