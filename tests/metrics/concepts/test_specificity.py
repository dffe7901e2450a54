"""Roles of concepts on planted IoU vectors, case by case."""

from __future__ import annotations

import math

import pytest
import torch

from fusionzoo.errors import InputError
from fusionzoo.metrics import concept_roles
from fusionzoo.metrics.concepts import fused_roles

NAN = math.nan


def test_each_rule_decides_its_case() -> None:
    #            clear rgb, clear x, alike, absent, below chance, noisy, within floor, apart but unsure
    rgb = torch.tensor([0.60, 0.20, 0.50, NAN, 0.10, 0.50, 0.40, 0.60])
    x = torch.tensor([0.20, 0.55, 0.48, NAN, 0.12, 0.50, 0.46, 0.30])
    chance = torch.full((8,), 0.15)
    se = torch.tensor([0.01, 0.01, 0.01, NAN, 0.01, 0.15, 0.01, 0.12])
    floor = torch.tensor([0.05, 0.05, 0.05, NAN, 0.05, 0.05, 0.08, 0.05])
    result = concept_roles(rgb, x, se_rgb=se, se_x=se, floor=floor, chance=chance)
    assert result.roles == ("rgb", "x", "consistent", "none", "none", "undecided", "consistent", "undecided")
    assert result.counts == {"consistent": 2, "rgb": 1, "x": 1, "none": 2, "undecided": 2}
    assert result.consistency == 0.5 and result.balance == 0.0
    assert float(result.bound[7]) == pytest.approx(1.96 * math.sqrt(2) * 0.12) and float(
        result.bound[6]
    ) == pytest.approx(0.08)


def test_a_paired_error_decides_what_independent_errors_cannot() -> None:
    rgb, x, se = torch.tensor([0.6]), torch.tensor([0.45]), torch.tensor([0.08])
    assert concept_roles(rgb, x, se_rgb=se, se_x=se).roles == ("undecided",)
    assert concept_roles(rgb, x, se_rgb=se, se_x=se, se_delta=torch.tensor([0.02])).roles == ("rgb",)


def test_swapping_modalities_swaps_roles() -> None:
    g = torch.Generator().manual_seed(0)
    rgb, x, se = torch.rand(50, generator=g), torch.rand(50, generator=g), 0.1 * torch.rand(50, generator=g)
    one, two = (
        concept_roles(*pair, se_rgb=se, se_x=se, chance=torch.full((50,), 0.2)) for pair in ((rgb, x), (x, rgb))
    )
    swap = {"rgb": "x", "x": "rgb"}
    assert tuple(swap.get(role, role) for role in one.roles) == two.roles and one.balance == -two.balance
    assert len(set(one.roles)) >= 4


def test_a_difference_within_the_floor_is_never_specific() -> None:
    g = torch.Generator().manual_seed(1)
    rgb, x = torch.rand(200, generator=g), torch.rand(200, generator=g)
    roles = concept_roles(rgb, x, floor=(rgb - x).abs().double() + 1e-6).roles
    assert not {"rgb", "x"} & set(roles)


def test_nothing_decided_has_no_shares() -> None:
    result = concept_roles(torch.tensor([NAN]), torch.tensor([NAN]))
    assert math.isnan(result.consistency) and math.isnan(result.balance)


def test_fused_roles() -> None:
    rgb = torch.tensor([0.3, 0.6, 0.5, NAN, NAN])
    x = torch.tensor([0.2, 0.1, 0.5, NAN, 0.2])
    fused = torch.tensor([0.5, 0.4, 0.55, NAN, 0.5])
    assert fused_roles(rgb, x, fused, torch.full((5,), 0.1)) == ("gained", "lost", "kept", "absent", "gained")


def test_wrong_use() -> None:
    with pytest.raises(InputError, match="one IoU per concept"):
        concept_roles(torch.rand(2), torch.rand(3))
    with pytest.raises(InputError, match="one value per concept"):
        concept_roles(torch.rand(2), torch.rand(2), floor=torch.rand(3))
    with pytest.raises(InputError, match="one IoU per concept"):
        fused_roles(torch.rand(2), torch.rand(2), torch.rand(3))
