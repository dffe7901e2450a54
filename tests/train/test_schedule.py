"""Learning-rate schedules against closed forms and against torch's own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from fusionzoo.train import finetune
from fusionzoo.train.schedule import schedule, set_rates
from tests.train.rooms import rooms, settings


def test_cosine_warms_up_and_ends_at_zero() -> None:
    factor = schedule("cosine", 100)
    assert factor(0) == pytest.approx(0.2) and factor(5) == pytest.approx(1.0) and factor(100) == pytest.approx(0.0)
    assert factor(52) == pytest.approx(0.5 * (1 + math.cos(math.pi * 47 / 95)))


def test_poly_and_constant_after_a_given_warm_up() -> None:
    poly, constant = schedule("poly", 110, 10), schedule("constant", 110, 10)
    assert [poly(i) for i in (0, 4, 9)] == [constant(i) for i in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert poly(10) == 1 and poly(35) == pytest.approx(0.75**0.9) and poly(110) == 0
    assert constant(10) == constant(110) == 1


@pytest.mark.parametrize("name", ["cosine", "poly"])
def test_rates_equal_torchs_schedulers(name: str) -> None:
    mine, theirs = (torch.optim.SGD([{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.5, 0.02)])
                    for _ in range(2))  # fmt: skip
    if name == "cosine":
        torchs: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 20)
    else:
        torchs = torch.optim.lr_scheduler.PolynomialLR(theirs, 20, power=0.9)
    factor = schedule(name, 20, 0)
    for step in range(20):
        set_rates(mine, factor(step))
        assert [g["lr"] for g in mine.param_groups] == pytest.approx([g["lr"] for g in theirs.param_groups], rel=1e-6)
        theirs.step()
        torchs.step()


def test_a_run_learns_at_the_rates_of_its_schedule(tmp_path: Path) -> None:
    seen: list[float] = []
    run = settings(rooms(tmp_path / "d"), epochs=3, lr=0.01, schedule="poly", warmup=2, val_split="")
    finetune(run, tmp_path / "out", step=lambda line: seen.append(line["lr"][0]))
    assert seen == pytest.approx([0.005, 0.01, 0.01, 0.01 * 0.75**0.9, 0.01 * 0.5**0.9, 0.01 * 0.25**0.9])
