"""Quantile sketch against exact order statistics, and its merging against one pass, count for count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics import Quantiles


def _exact(maps: Tensor, tau: float) -> Tensor:
    rows = maps.double().transpose(0, 1).flatten(1)
    return torch.quantile(rows, 1 - tau, dim=1)


def _feed(parts: list[Tensor], tau: float, bins: int = 2048) -> Quantiles:
    sketch = Quantiles(parts[0].shape[1], tau, bins)
    for part in parts:
        sketch.update(part)
    return sketch


def _maps(kind: str) -> Tensor:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, 10, 10, generator=g) * torch.tensor([1e-3, 1.0, 30.0, 1e4])[:, None, None]
    if kind == "relu":
        return x.relu()
    if kind == "negative":
        return -x.abs() - 5
    if kind == "offset":
        return x + 1000 * x.std((0, 2, 3), keepdim=True)
    return x


@pytest.mark.parametrize("kind", ["normal", "relu", "negative", "offset"])
@pytest.mark.parametrize("tau", [0.005, 0.3])
def test_error_is_at_most_a_bin(kind: str, tau: float) -> None:
    maps = _maps(kind)
    got, want = _feed(list(maps.split(7)), tau).compute(), _exact(maps, tau)
    rows = maps.transpose(0, 1).flatten(1).double()
    width = 2 * (rows.amax(1) - rows.amin(1)) / 2048
    gap = torch.quantile(rows, 1 - tau + 0.0005, dim=1) - torch.quantile(rows, 1 - tau - 0.0005, dim=1)
    assert bool(((got - want).abs() <= width + gap).all()), (got, want)
    share = (rows > got[:, None]).double().mean(1)
    assert bool(((share - tau).abs() < 0.0015).all()), share


def test_counts_do_not_depend_on_order_or_merging() -> None:
    maps = _maps("normal") * torch.linspace(0.001, 5, 40)[:, None, None, None]  # the range keeps growing
    whole = _feed([maps], 0.01, 128).state_dict()
    forward = _feed(list(maps.split(1)), 0.01, 128)
    backward = _feed(list(maps.flip(0).split(3)), 0.01, 128)
    shards = _feed(list(maps[::2].split(5)), 0.01, 128).merge(_feed(list(maps[1::2].split(4)), 0.01, 128))
    assert int(whole["counts"].sum()) == maps.numel()
    for other in (forward, backward, shards):
        for name, value in other.state_dict().items():
            assert torch.equal(value, whole[name]), name


def test_constant_and_dead_channels_have_nothing_above() -> None:
    maps = torch.stack([torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.37), torch.full((3, 8, 8), -2.5)], 1)
    threshold = _feed(list(maps.split(1)), 0.005).compute().float()
    assert threshold.tolist() == pytest.approx([0.0, 0.37, -2.5], rel=1e-6)
    assert not bool((maps > threshold[:, None, None]).any())


def test_half_precision_and_rows() -> None:
    rows = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    want = _exact(rows, 0.1)
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        got = _feed([rows.to(kind)], 0.1).compute()
        torch.testing.assert_close(got, want, rtol=0, atol=5e-3)


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="tau must lie between"):
        Quantiles(3, tau=1.0)
    with pytest.raises(InputError, match=r"\(B, 3, h, w\)"):
        Quantiles(3).update(torch.randn(1, 4, 2, 2))
    with pytest.raises(InputError, match="not finite"):
        Quantiles(1).update(torch.tensor([[float("nan")]]))
    with pytest.raises(InputError, match="no samples"):
        Quantiles(1).compute()


def test_extreme_scales() -> None:
    base = torch.rand(10, 1, 10, 10, generator=torch.Generator().manual_seed(0)) - 0.3
    for scale in (1e-44, 1e-30, 1e30):
        maps = base * scale
        sketch = _feed([torch.zeros_like(maps), maps], 0.1)
        got, want = float(sketch.compute()), float(_exact(torch.cat([torch.zeros_like(maps), maps]), 0.1))
        assert got == pytest.approx(want, abs=max(scale / 500, 2.0**-126))
        assert int(sketch.state_dict()["counts"].sum()) == 2000


@pytest.mark.parametrize("order", ["mixed", "rising", "falling"])
@pytest.mark.parametrize("tau", [0.005, 0.05])
def test_a_known_total_passes_over_values_and_changes_nothing(order: str, tau: float) -> None:
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(200, 6, 10, 10, generator=g) * torch.tensor([0.1, 1, 5, 1, 1, 1])[:, None, None]
    maps[:, 3] = (maps[:, 3] - 2.9).relu()  # almost never active: the quantile is 0 or next to it
    maps[:, 4] = 0
    maps[:, 5] += torch.rand(200, 1, 1, generator=g) * 3
    if order != "mixed":
        maps = maps[maps.sum((1, 2, 3)).argsort(descending=order == "falling")]
    sketch, whole = Quantiles(6, tau, expected=20000), Quantiles(6, tau)
    shards = [Quantiles(6, tau, expected=20000) for _ in range(2)]
    for i, part in enumerate(maps.split(5)):
        sketch.update(part)
        whole.update(part)
        shards[i % 2].update(part)
    want = whole.compute()
    width = torch.exp2(whole.state_dict()["exponent"].double())
    for other in (sketch, shards[0].merge(shards[1])):
        assert bool(((other.compute() - want).abs() <= width).all()), (other.compute(), want)
        assert int(other.state_dict()["counts"].sum()) < 0.9 * maps.numel()  # it did pass over some
        assert int(other.state_dict()["n"]) == 20000
    share = (maps > sketch.compute().float()[:, None, None]).double().mean((0, 2, 3))
    assert bool((share[[0, 1, 2, 5]] - tau).abs().max() < 5e-4) and share[4] == 0


def test_more_than_the_stated_total_is_refused() -> None:
    sketch = Quantiles(1, expected=150)
    sketch.update(torch.rand(100, 1))
    with pytest.raises(InputError, match="200 values per channel, but 150 were expected"):
        sketch.update(torch.rand(100, 1))
    with pytest.raises(InputError, match="200 values per channel"):
        sketch.merge(_expecting(150, torch.rand(100, 1)))
    with pytest.raises(InputError, match="not finite"):
        many = _expecting(100_000, torch.rand(60_000, 1))
        many.update(torch.full((10, 1), float("nan")))


def _expecting(total: int, rows: Tensor) -> Quantiles:
    sketch = Quantiles(rows.shape[1], expected=total)
    sketch.update(rows)
    return sketch
