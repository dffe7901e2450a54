"""Where `Preprocess.unlike` begins to speak: a little below and above each of its limits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fusionzoo.preprocess import Preprocess

SAW = Preprocess(x_quantiles=(0.8, 1.8, 2.5, 3.4, 7.5), x_missing=(0.05, 0.2))


def image(*parts: tuple[float, int]) -> Tensor:
    """(1, 10, 100): values, each in so many of the 1000 pixels."""
    return torch.cat([torch.full((count,), value) for value, count in parts]).view(1, 10, 100)


@pytest.mark.parametrize(
    ("silent", "spoken"),
    [
        (image((7.8, 1000)), image((7.95, 1000))),  # the median: 5 % above 7.5 m
        (image((0.77, 1000)), image((0.75, 1000))),  # ... and below 0.8 m
        (image((2.5, 960), (31.0, 40)), image((2.5, 940), (31.0, 60))),  # 5 % of it beyond four times 7.5 m
        (image((2.5, 940), (29.0, 60)), image((2.5, 940), (31.0, 60))),
    ],
    ids=["far", "near", "share of what is too far", "how far"],
)
def test_range(silent: Tensor, spoken: Tensor) -> None:
    assert SAW.unlike(silent) is None
    said = SAW.unlike(spoken)
    assert said is not None and "far from what the weights saw, 0.8 to 7.5" in said


def test_holes_from_a_quarter_of_what_was_never_missing() -> None:
    """At most 20 % was missing of a training image; a quarter of the other 80 % more is 40 %."""
    assert SAW.unlike(image((2.5, 610), (0.0, 390))) is None
    said = SAW.unlike(image((2.5, 590), (0.0, 410)))
    assert said is not None and "41 % of the depth is missing" in said
