from __future__ import annotations

import numpy as np
import pytest

from fusionzoo.errors import InputError
from fusionzoo.report.overlay import areas, overlay, palette


def test_palette_is_stable_and_distinct() -> None:
    colours = palette(40).astype(int)
    assert (palette(13) == colours[:13]).all()
    apart = np.abs(colours[:, None] - colours[None]).sum(-1)
    np.fill_diagonal(apart, 999)
    assert apart.min() >= 60
    assert palette(1).tolist() == [palette(2)[0].tolist()] and len(palette(0)) == 0


def test_blend_legend_and_ignored_pixels() -> None:
    rgb = np.full((60, 80, 3), 100, dtype=np.uint8)
    classes = np.zeros((60, 80), dtype=np.uint8)
    classes[:, 40:] = 2
    classes[:15, :20] = 255
    picture = np.asarray(overlay(rgb, classes, ["wall", "never", "floor"], alpha=0.3))
    colours = palette(3).astype(float)
    assert picture.shape[0] == 60 and picture.shape[1] > 80
    np.testing.assert_allclose(picture[30, 10], 70 + 0.3 * colours[0], atol=1)
    np.testing.assert_allclose(picture[30, 60], 70 + 0.3 * colours[2], atol=1)
    assert picture[5, 5].tolist() == [100, 100, 100], "ignored pixels stay bare"
    assert picture[30, 40].max() < picture[30, 41].max(), "a dark line parts the classes"
    legend = picture[:, 80:].reshape(-1, 3)
    there = [bool((np.abs(legend - c).sum(1) <= 3).any()) for c in colours]
    assert there == [True, False, True], "only classes that occur are in the legend"


def test_areas_leave_ignored_pixels_out() -> None:
    classes = np.array([[0, 0, 2, 255]])
    assert areas(classes, ["a", "b", "c"]) == [(0, "a", 2 / 3), (2, "c", 1 / 3)]
    with pytest.raises(InputError, match="class map holds 2"):
        areas(classes, ["a", "b"])


def test_legend_taller_than_the_image() -> None:
    classes = np.arange(40).reshape(4, 10)
    picture = overlay(np.zeros((4, 10, 3), np.uint8), classes, [str(i) for i in range(40)])
    assert picture.height >= 40 * 20
    with pytest.raises(InputError, match="overlay"):
        overlay(np.zeros((4, 9, 3), np.uint8), classes, ["a"] * 40)
