"""What counts as an end of the range: one percent of it, a little below and above."""

from __future__ import annotations

import torch

from fusionzoo.metrics import ChannelHealth, GateStatistics

NEAR = torch.tensor([[[[0.009, 0.011, 0.5, 0.989, 0.991]]]])  # one channel of five positions


def test_within_one_percent_of_a_bound_is_at_it() -> None:
    for scale in (1.0, 4.0):
        health = ChannelHealth(1, low=-scale, high=scale)
        health.update(scale * (2 * NEAR - 1))
        assert health.compute().saturated == 2 / 5
    open_ended = ChannelHealth(1, low=0.0)  # no range: only what lies at the bound
    open_ended.update(torch.cat([torch.zeros(1, 1, 1, 1), NEAR], dim=3))
    assert open_ended.compute().saturated == 1 / 6


def test_a_gate_is_shut_or_open_within_one_percent() -> None:
    gate = GateStatistics(1, low=-2.0, high=2.0)
    gate.update(4 * NEAR - 2)
    assert (gate.compute().shut, gate.compute().open) == (1 / 5, 1 / 5)
