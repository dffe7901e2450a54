"""Jackknife and bootstrap of grouped accumulators against textbook errors and leaving out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics import ChannelHealth, LinearCKA, bootstrap, jackknife
from fusionzoo.metrics.stats.resample import Grouped


def _mean(health: ChannelHealth) -> Tensor:
    return health.compute().channel_mean


def _grouped(rows: Tensor, groups: int) -> Grouped[ChannelHealth]:
    grouped = Grouped(lambda: ChannelHealth(rows.shape[1]), groups)
    for i, row in enumerate(rows):
        grouped.update(row[None], group=i * groups // len(rows))
    return grouped


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    rows = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).double()
    error = _grouped(rows, 50).jackknife(_mean)
    want = rows.std(0) / math.sqrt(50)
    torch.testing.assert_close(error.se, want, rtol=1e-9, atol=0)
    torch.testing.assert_close(error.value, rows.mean(0), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(error.high - error.low, 2 * 1.959964 * want, rtol=1e-6, atol=0)
    value, se = jackknife(lambda s: s / 50, [rows])
    torch.testing.assert_close(value, rows.mean(0), rtol=1e-12, atol=1e-12)


def test_jackknife_of_cka_is_that_of_leaving_out_by_hand() -> None:
    g = torch.Generator().manual_seed(1)
    a = torch.randn(30, 4, generator=g).double()
    b = a @ torch.randn(4, 3, generator=g).double() + torch.randn(30, 3, generator=g).double()
    grouped = Grouped(LinearCKA, 8)  # two groups stay empty
    for i in range(6):
        grouped.update(a[5 * i : 5 * i + 5], b[5 * i : 5 * i + 5], group=i)
    error = grouped.jackknife(lambda merged: merged.compute().unbiased)
    without = []
    for i in range(6):
        keep = [j for j in range(30) if j // 5 != i]
        rest = LinearCKA()
        rest.update(a[keep], b[keep])
        without.append(rest.compute().unbiased)
    want = math.sqrt(5 / 6 * sum((v - sum(without) / 6) ** 2 for v in without))
    assert float(error.se) == pytest.approx(want, rel=1e-9) and error.groups == 6
    whole = LinearCKA()
    whole.update(a, b)
    assert float(error.value) == pytest.approx(whole.compute().unbiased, abs=1e-12)


def test_bootstrap_of_a_mean_is_close_to_its_standard_error() -> None:
    rows = torch.randn(30, 1, generator=torch.Generator().manual_seed(2)).double()
    grouped = _grouped(rows, 30)
    error = grouped.bootstrap(_mean, times=150)
    assert float(error.se) == pytest.approx(float(rows.std() / math.sqrt(30)), rel=0.2)
    assert float(error.low) < float(rows.mean()) < float(error.high)
    assert float(error.high - error.low) == pytest.approx(2 * 1.96 * float(error.se), rel=0.2)
    torch.testing.assert_close(grouped.bootstrap(_mean, times=150).low, error.low, rtol=1e-9, atol=0)
    assert not torch.allclose(grouped.bootstrap(_mean, times=150, seed=1).low, error.low, rtol=1e-6)


def test_groups_merge_and_go_round() -> None:
    rows = torch.randn(40, 2, generator=torch.Generator().manual_seed(3)).double()
    whole = _grouped(rows, 8)
    one, two = (Grouped(lambda: ChannelHealth(2), 8) for _ in range(2))
    for i, row in enumerate(rows):
        (one if i % 3 else two).update(row[None], group=i // 5)
    merged = Grouped(lambda: ChannelHealth(2), 8)
    merged.load_state_dict(one.merge(two).state_dict())
    torch.testing.assert_close(merged.jackknife(_mean).se, whole.jackknife(_mean).se, rtol=1e-9, atol=0)


def test_one_group_has_no_error_and_wrong_use_is_refused() -> None:
    rows = torch.randn(5, 1)
    assert bool(_grouped(rows, 1).jackknife(_mean).se.isnan().all())
    assert bool(_grouped(rows, 1).bootstrap(_mean).se.isnan().all())
    with pytest.raises(InputError, match="out of range 0 .. 1"):
        _grouped(rows, 2).update(rows, group=2)
    with pytest.raises(InputError, match="cannot merge: 2 groups here, 3 there"):
        _grouped(rows, 2).merge(_grouped(rows, 3))


def test_bootstrap_of_sums_is_that_of_redrawing_by_hand() -> None:
    g = torch.Generator().manual_seed(4)
    both, either = torch.rand(7, 3, generator=g).double(), 1 + torch.rand(7, 3, generator=g).double()
    both[:, 2], either[:, 2] = 0, 0  # a class that never occurs
    both[1:, 1], either[1:, 1] = 0, 0  # a class in one group alone
    both[5], either[5] = 0, 0  # an empty group
    got = bootstrap(lambda a, b: a / b, [both, either], times=50, level=0.9, seed=3)
    used = [0, 1, 2, 3, 4, 6]
    draws = torch.randint(6, (50, 6), generator=torch.Generator().manual_seed(3)).tolist()
    values = torch.stack([both[[used[i] for i in d]].sum(0) / either[[used[i] for i in d]].sum(0) for d in draws])
    torch.testing.assert_close(got.value, both.sum(0) / either.sum(0), equal_nan=True)
    assert float(got.se[0]) == pytest.approx(float(values[:, 0].std())) and got.groups == 6
    some = values[~values[:, 1].isnan(), 1]
    assert 0 < len(some) < 50 and float(got.se[1]) == pytest.approx(float(some.std()), abs=1e-12)
    assert math.isnan(got.se[2]) and math.isnan(got.low[2])
    assert float(got.low[0]) == pytest.approx(float(values[:, 0].quantile(0.05)))
    assert float(got.high[0]) == pytest.approx(float(values[:, 0].quantile(0.95)))
    assert math.isnan(bootstrap(lambda a, b: (a / b)[0], [both[:1], either[:1]]).se)
    with pytest.raises(InputError, match="times"):
        bootstrap(lambda a: a, [both], times=1)


def test_bootstrap_and_jackknife_agree_on_a_ratio_of_means() -> None:
    g = torch.Generator().manual_seed(5)
    either = 5 + torch.rand(60, generator=g).double()
    both = 0.5 * either + 0.3 * torch.randn(60, generator=g).double()
    ratio = lambda a, b: a / b  # noqa: E731
    _, se = jackknife(ratio, [both, either])
    assert float(bootstrap(ratio, [both, either], times=600).se) == pytest.approx(float(se), rel=0.1)
