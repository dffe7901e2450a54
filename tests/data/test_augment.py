"""Augmentation as a function of its random numbers: geometry first, then corruptions of stated severity."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusionzoo.data.augment import Augment
from fusionzoo.data.corrupt import shift
from fusionzoo.data.transforms import DRAWS, TrainTransform
from fusionzoo.errors import InputError, UnknownNameError

SIZE = (24, 32)


def sample() -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {
        "rgb": torch.randint(0, 256, (3, *SIZE), generator=generator).to(torch.uint8),
        "x": 1 + torch.rand(1, *SIZE, generator=generator),
        "label": torch.randint(0, 3, SIZE, generator=generator),
        "id": "a",
    }


def plain(**options: Any) -> TrainTransform:
    return TrainTransform(SIZE, SIZE, (1.0, 1.0), flip=0.0, jitter=0.0, **options)


def test_the_same_numbers_give_the_same_sample_and_torchs_are_not_touched() -> None:
    augment = Augment(TrainTransform((16, 16), SIZE), {"noise_x": 0.1, "low_light": 2})
    assert augment.draws == DRAWS + 4
    draw = torch.rand(augment.draws).tolist()
    before = torch.get_rng_state()
    one, two = augment(sample(), draw), augment(sample(), draw)
    assert torch.equal(before, torch.get_rng_state())
    other = augment(sample(), [*draw[:-1], draw[-1] / 2])
    for key in ("rgb", "x", "label"):
        assert torch.equal(one[key], two[key])
    assert torch.equal(one["x"], other["x"]) and not torch.equal(one["rgb"], other["rgb"])


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_holes_take_the_drawn_share_of_the_greatest(share: float) -> None:
    out = Augment(plain(), {"holes_x": 0.4})(sample(), [0.0] * DRAWS + [share, 0.3])
    assert int((out["x"] == 0).sum()) == round(0.4 * share * SIZE[0] * SIZE[1])
    assert torch.equal(out["rgb"], sample()["rgb"]) and torch.equal(out["label"], sample()["label"])


@pytest.mark.parametrize("share", [0.0, 0.49, 0.999])
def test_misalignment_is_a_whole_number_up_to_the_greatest(share: float) -> None:
    out = Augment(plain(), {"shift_x": 3})(sample(), [0.0] * DRAWS + [share, 0.3])
    x, k = sample()["x"], int(4 * share)
    assert any(torch.equal(out["x"], shift(x, *way)) for way in ((k, 0), (-k, 0), (0, k), (0, -k)))


def test_noise_has_the_drawn_deviation() -> None:
    big = {**sample(), "x": torch.full((1, *SIZE), 3.0)}
    out = Augment(plain(), {"noise_x": 0.2})(big, [0.0] * DRAWS + [0.5, 0.3])
    assert float(out["x"].std()) == pytest.approx(0.1, rel=0.1)


def test_depth_is_divided_by_the_zoom() -> None:
    transform = TrainTransform(SIZE, SIZE, (1.0, 4.0), flip=0.0, jitter=0.0, depth_scale=True)
    flat = {**sample(), "x": torch.full((1, *SIZE), 3.0)}
    out = Augment(transform)(flat, [0.5] + [0.0] * (DRAWS - 1))  # halfway in the logarithm: zoom 2
    torch.testing.assert_close(out["x"], torch.full((1, *SIZE), 1.5))


def test_refusals() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'holes_x'"):
        Augment(plain(), {"hole_x": 0.1})
    with pytest.raises(InputError, match="0 to 1"):
        Augment(plain(), {"holes_x": 1.5})
    with pytest.raises(InputError, match="is for depth, not for thermal"):
        Augment(plain(), {"holes_x": 0.5}, "thermal")
    with pytest.raises(InputError, match="depth_scale is for depth in metres, not for hha"):
        Augment(plain(depth_scale=True), {}, "hha")
    with pytest.raises(InputError, match="no severity that grows from 0"):
        Augment(plain(), {"levels_x": 8})
