"""Where the rule for consistent and specific concepts changes its mind: gains and errors a little below and above.

Every image is one row of 1000 positions, 200 of them inside the concept. A stream that marks `hits` of the 200 and
nothing else has a set IoU of hits / 200; marking everything scores 0.2, so its gain is hits / 200 - 0.2. With as many
positions in each of 8 groups the jackknife error of the IoU is the usual error of a mean of 8 values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fusionzoo.metrics import ConceptCurve, concept_roles
from fusionzoo.metrics.concepts import fused_roles

GROUPS, INSIDE, POSITIONS = 8, 200, 1000
ALIKE = [0.0] * GROUPS
HALF_UP = [1.0, -1.0] * (GROUPS // 2)
"""Mean 0; the error of the mean is sqrt(1 / 7)."""


def curve(*concepts: tuple[float, Sequence[float]]) -> ConceptCurve:
    """One stream: for each concept the set IoU (mean, deviation of each group), marked without a false position."""
    found = ConceptCurve(len(concepts), groups=GROUPS)
    masks = torch.zeros(1, len(concepts), 1, POSITIONS, dtype=torch.bool)
    masks[..., :INSIDE] = True
    for group in range(-1, GROUPS):  # -1: the training image, which fixes the threshold
        scores = torch.zeros(1, len(concepts), 1, POSITIONS)
        for k, (mean, deviations) in enumerate(concepts):
            iou = mean + (0 if group < 0 else deviations[group])
            assert 0 <= iou <= 1 and round(iou * INSIDE, 6).is_integer(), f"{iou} of {INSIDE} positions"
            scores[0, k, 0, : round(iou * INSIDE)] = 1.0
        found.update(scores, masks, train=group < 0, group=max(group, 0))
    return found


def spread(size: float) -> list[float]:
    return [size * v for v in HALF_UP]


def floors(*values: float) -> list[Tensor]:
    return [torch.tensor([v], dtype=torch.float64) for v in values]


def kind(
    rgb: tuple[float, Sequence[float]], x: tuple[float, Sequence[float]], noise: tuple[float, float] = (0.0, 0.0)
) -> str:
    """The role of the concept."""
    (role,) = concept_roles(curve(rgb), curve(x), floors(*noise)).roles
    return role


def test_the_construction_gives_the_values_it_states() -> None:
    found = concept_roles(curve((0.6, spread(0.1))), curve((0.35, ALIKE)), floors(0, 0))
    assert found.difference.tolist() == [pytest.approx(0.25)]
    assert found.error.tolist() == [pytest.approx(0.1 / math.sqrt(7))] and found.chance.tolist() == [pytest.approx(0.2)]


@pytest.mark.parametrize(("gain", "wanted"), [(0.045, "unencoded"), (0.055, "rgb")])
def test_a_stream_encodes_from_five_points_above_chance(gain: float, wanted: str) -> None:
    assert kind((0.2 + gain, ALIKE), (0.2, ALIKE)) == wanted
    assert kind((0.2, ALIKE), (0.2 + gain, ALIKE)) == {"rgb": "x"}.get(wanted, wanted)


@pytest.mark.parametrize(("size", "wanted"), [(0.125, "consistent"), (0.14, "unencoded")])
def test_a_stream_encodes_from_two_standard_errors(size: float, wanted: str) -> None:
    """A gain of 0.1 beside errors of 0.0472 (2.1 of them) and 0.0529 (1.9)."""
    assert kind((0.3, spread(size)), (0.3, spread(size))) == wanted


@pytest.mark.parametrize(("size", "wanted"), [(0.31, "rgb"), (0.35, "undecided")])
def test_a_difference_is_real_from_two_standard_errors(size: float, wanted: str) -> None:
    """Gains 0.4 and 0.15 differ by 0.25, which is 2.13 or 1.89 errors; the gain itself is above three of them."""
    assert kind((0.6, spread(size)), (0.35, ALIKE)) == wanted


def test_the_error_of_a_difference_is_of_the_same_images() -> None:
    """What moves both streams alike, image by image, does not hide their difference; what moves them apart does."""
    assert kind((0.6, spread(0.25)), (0.35, spread(0.25))) == "rgb"
    assert kind((0.6, spread(0.25)), (0.35, spread(-0.25))) == "undecided"


@pytest.mark.parametrize(("gain", "wanted"), [(0.195, "rgb"), (0.205, "consistent")])
def test_specific_is_less_than_half_of_the_gain(gain: float, wanted: str) -> None:
    assert kind((0.6, ALIKE), (0.2 + gain, ALIKE)) == wanted
    assert kind((0.2 + gain, ALIKE), (0.6, ALIKE)) == {"rgb": "x"}.get(wanted, wanted)


def test_noise_counts_in_place_of_the_error_where_it_is_larger() -> None:
    for sign in (1, -1):  # a difference of two halves has either sign
        assert kind((0.4, ALIKE), (0.4, ALIKE), (sign * 0.195, 0.195)) == "consistent"
        assert kind((0.4, ALIKE), (0.4, ALIKE), (sign * 0.205, 0.205)) == "unencoded"
        # a difference of 0.25 and the noise of either stream
        for noise, wanted in ((0.245, "rgb"), (0.255, "undecided")):
            assert kind((0.6, ALIKE), (0.35, ALIKE), (sign * noise, 0.0)) == wanted
            assert kind((0.6, ALIKE), (0.35, ALIKE), (0.0, sign * noise)) == wanted


def test_the_mean_noise_of_all_concepts_counts_where_it_is_larger() -> None:
    one = curve((0.4, ALIKE), (0.4, ALIKE))
    for other, wanted in ((0.39, True), (0.41, False)):  # the mean with the first's own 0 is 0.195 or 0.205; gain 0.2
        noise = [torch.tensor([0.0, other], dtype=torch.float64)] * 2
        first, second = concept_roles(one, one, noise).roles
        assert (first == "consistent") == wanted and second == "unencoded"


def fused(
    rgb: float, x: float, of: tuple[float, Sequence[float]], noise: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> tuple[bool, bool]:
    """Whether the fused representation gains the concept, and whether it loses it."""
    curves = [curve((rgb, ALIKE)), curve((x, ALIKE)), curve(of)]
    (change,) = fused_roles(*curves, floors(*noise))
    return change == "gained", change == "lost"


def test_the_fusion_gains_and_loses_from_five_points_against_the_better_stream() -> None:
    for rgb, x in ((0.5, 0.3), (0.3, 0.5)):
        assert fused(rgb, x, (0.555, ALIKE)) == (True, False)
        assert fused(rgb, x, (0.545, ALIKE)) == (False, False)
        assert fused(rgb, x, (0.455, ALIKE)) == (False, False)
        assert fused(rgb, x, (0.445, ALIKE)) == (False, True)


@pytest.mark.parametrize(("size", "wanted"), [(0.25, True), (0.28, False)])
def test_the_fusion_gains_from_two_standard_errors(size: float, wanted: bool) -> None:
    """0.2 is 2.12 or 1.89 errors."""
    assert fused(0.4, 0.3, (0.6, spread(size))) == (wanted, False)
    assert fused(0.8, 0.3, (0.6, spread(size))) == (False, wanted)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_fusion_gains_from_the_noise_of_each_of_the_three(place: int) -> None:
    for noise, wanted in ((0.195, True), (0.205, False)):
        given = [0.0, 0.0, 0.0]
        given[place] = noise
        assert fused(0.4, 0.3, (0.6, ALIKE), (given[0], given[1], given[2])) == (wanted, False)
