"""Where the findings change their mind: values a little below and above each limit that their words claim."""

from __future__ import annotations

import pytest

from tests.dissect import made as r
from tests.dissect.test_findings import drop, level, scored, texts


def said_without_x(miou: float, error: float) -> str:
    """The first finding, on a model that uses rgb beyond doubt."""
    return texts(scored([0.5] * 4, drop(0.2, 0.001), drop(miou, error)))[0]


@pytest.mark.parametrize(("above", "below", "error"), [(0.031, 0.029, 0.01), (0.0055, 0.0045, 0.0001)])
def test_a_modality_is_used_from_three_errors_and_half_a_point(above: float, below: float, error: float) -> None:
    assert said_without_x(above, error).startswith("The model uses both modalities")
    assert said_without_x(below, error).startswith("The model uses rgb; ")


@pytest.mark.parametrize(("miou", "told"), [(0.0049, True), (0.0061, False), (-0.0049, True), (-0.0061, False)])
def test_no_use_is_claimed_where_three_points_would_have_been_seen(miou: float, told: bool) -> None:
    said = said_without_x(miou, 0.0082)  # three errors are 2.46 points
    assert ("does not measurably use depth" in said) == told
    assert ("whether it uses depth cannot be told" in said) != told


@pytest.mark.parametrize(
    ("iou", "value", "error", "lost"),
    [
        (0.50, 0.405, 0.001, True),
        (0.50, 0.395, 0.001, False),  # keeps more than a fifth without rgb
        (0.41, 0.405, 0.001, True),
        (0.39, 0.385, 0.001, False),  # hardly recognised at all
        (0.50, 0.450, 0.066, True),
        (0.50, 0.450, 0.068, False),  # less than half of it is beyond three errors
    ],
)
def test_a_class_that_is_lost_without_rgb(iou: float, value: float, error: float, lost: bool) -> None:
    no_rgb = drop(0.2, 0.01, [value, 0.0, 0.0, 0.0], [error] * 4)
    found = texts(scored([iou, 0.5, 0.5, 0.5], no_rgb, drop(0.1, 0.01)))
    assert any(t.startswith("Without rgb 'window' is lost") for t in found) == lost
    assert any(t.startswith("Without rgb 'window' (") for t in found) != lost


@pytest.mark.parametrize(("value", "differ"), [(0.041, True), (0.039, False)])
def test_streams_clearly_differ_from_twice_the_floor(value: float, differ: bool) -> None:
    found = texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=[level(2, value, 0.02)]))
    assert any("at stage 2 the streams encode concepts differently" in t for t in found) == differ
    assert any("at stage 2 the streams differ little" in t for t in found) != differ


@pytest.mark.parametrize(("value", "found"), [(0.0201, True), (0.0199, False)])
def test_a_difference_is_measurable_above_the_floor(value: float, found: bool) -> None:
    said = texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=[level(2, value, 0.02)]))
    assert any("no difference between the streams is measurable" in t for t in said) != found


@pytest.mark.parametrize(
    ("rgb", "x", "only"), [(0.31, 0.10, True), (0.29, 0.10, False), (0.105, 0.01, True), (0.095, 0.01, False)]
)
def test_only_one_stream_encodes_a_concept(rgb: float, x: float, only: bool) -> None:
    """Three times the other's IoU, and at least a tenth."""
    rows = [level(2, 0.07, 0.01, [rgb, 0.2, 0.2, 0.2], [x, 0.2, 0.2, 0.2], error=0.001)]
    found = texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=rows))
    assert any("only the rgb stream encodes 'window'" in t for t in found) == only
    swapped = [level(2, 0.07, 0.01, [x, 0.2, 0.2, 0.2], [rgb, 0.2, 0.2, 0.2], error=0.001)]
    found = texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), levels=swapped))
    assert any("only the depth stream encodes 'window'" in t for t in found) == only


@pytest.mark.parametrize(("share", "full"), [(0.51, True), (0.49, False)])
def test_a_probe_is_saturated_from_half_of_its_values(share: float, full: bool) -> None:
    health = [r.ProbeHealth("gate", 8, 0, 0.5, 0.1, 2.0, share)]
    found = texts(scored([0.5] * 4, drop(0.2, 0.01), drop(0.1, 0.01), health=health), "warn")
    assert any(t.startswith("saturated: gate") for t in found) == full
