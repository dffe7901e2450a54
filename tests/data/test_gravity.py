"""Gravity from normals: what leans is taken for floor at first, and left out at last."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.data.hha import gravity


def leaning(degrees: float, count: int) -> torch.Tensor:
    """(3, count) normals of a ramp that leans that far from level."""
    angle = math.radians(degrees)
    return torch.tensor([[math.sin(angle)], [math.cos(angle)], [0.0]]).expand(3, count)


@pytest.mark.parametrize("tilt", [0.0, 10.0])
def test_a_ramp_does_not_tilt_the_floor(tilt: float) -> None:
    """A third as many pixels of a 30 degree ramp as of floor: the last rounds see only what is within 15 degrees."""
    walls = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])[:, torch.arange(60) % 2]
    room = torch.cat([leaning(0, 60), walls, leaning(30, 20)], dim=1).double()
    angle = math.radians(tilt)  # about the axis of view
    turn = torch.tensor([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    found = gravity(turn.double() @ room)
    wanted = turn.double() @ torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    assert math.degrees(math.acos(min(1.0, float(found @ wanted)))) < 0.1
