"""Linear CKA against O(n^2) float64 Gram matrices."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics import LinearCKA


def _rows(x: Tensor, view: str) -> Tensor:
    return x.double().mean((2, 3)) if view == "gap" else x.double().movedim(1, -1).flatten(0, -2)


def _hsic1(k: Tensor, m: Tensor) -> float:
    """Song et al. 2012, eq. 5, from zero-diagonal Grams."""
    n = len(k)
    k, m = k.clone().fill_diagonal_(0), m.clone().fill_diagonal_(0)
    one = torch.ones(n, 1, dtype=torch.float64)
    terms = torch.trace(k @ m)
    terms += (one.T @ k @ one).squeeze() * (one.T @ m @ one).squeeze() / ((n - 1) * (n - 2))
    terms -= 2 / (n - 2) * (one.T @ k @ m @ one).squeeze()
    return float(terms / (n * (n - 3)))


def _hsic0(k: Tensor, m: Tensor) -> float:
    n = len(k)
    h = torch.eye(n, dtype=torch.float64) - 1 / n
    return float(torch.trace(k @ h @ m @ h) / (n - 1) ** 2)


def _gram_cka(x: Tensor, y: Tensor) -> tuple[float, float]:
    """Unbiased and biased, by definition."""
    k, m = x @ x.T, y @ y.T
    return tuple(h(k, m) / math.sqrt(h(k, k) * h(m, m)) for h in (_hsic1, _hsic0))  # type: ignore[return-value]


def _stream(a: Tensor, b: Tensor, view: str, *sizes: int) -> LinearCKA:
    metric = LinearCKA(view)
    for x, y in zip(a.split(list(sizes)), b.split(list(sizes)), strict=True):
        metric.update(x, y)
    return metric


def _maps(n: int = 20, c1: int = 6, c2: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(n, c1, 3, 4, generator=g)
    b = 0.5 * torch.einsum("nchw,cd->ndhw", a, torch.randn(c1, c2, generator=g)) + torch.randn(n, c2, 3, 4, generator=g)
    return a, b


@pytest.mark.parametrize("view", ["gap", "pix"])
def test_equals_the_gram_computation(view: str) -> None:
    a, b = _maps()
    want = _gram_cka(_rows(a, view), _rows(b, view))
    score = _stream(a, b, view, 7, 1, 2, 10).compute()
    assert (score.unbiased, score.biased) == pytest.approx(want, abs=1e-10)
    assert score.n == (20 if view == "gap" else 240) and score.view == view
    assert abs(score.unbiased - score.biased) > 1e-3


@pytest.mark.parametrize("view", ["gap", "pix"])
@pytest.mark.parametrize("offset", [1e3, 1e5])
def test_a_mean_of_a_thousand_spreads_costs_no_accuracy(view: str, offset: float) -> None:
    g = torch.Generator().manual_seed(3)
    a, b = (v.double() for v in _maps())
    if view == "gap":  # the spread of image means, not of positions
        a, b = a + torch.randn(20, 6, 1, 1, generator=g), b + torch.randn(20, 9, 1, 1, generator=g)
    want = _gram_cka(_rows(a, view), _rows(b, view))
    shift = offset * torch.randn(1, 6, 1, 1, generator=g).sign()
    score = _stream(a + shift, b + offset, view, 5, 5, 10).compute()
    assert (score.unbiased, score.biased) == pytest.approx(want, abs=1e-9)
    # the same in float32 input, as networks give it: its own rounding is what remains
    rounded_a, rounded_b = (a + shift).float(), (b + 1e3).float()
    want = _gram_cka(_rows(rounded_a.double() - shift, view), _rows(rounded_b.double() - 1e3, view))
    score = _stream(rounded_a, rounded_b, view, 5, 5, 10).compute()
    assert (score.unbiased, score.biased) == pytest.approx(want, abs=1e-5)


def test_shards_with_far_apart_shifts_merge_exactly() -> None:
    a, b = (v.double() for v in _maps(n=30))
    a, b = a + torch.linspace(0, 50, 30)[:, None, None, None], b - torch.linspace(0, 90, 30)[:, None, None, None] ** 2
    want = _stream(a, b, "gap", 30).compute()
    one, two, three = (_stream(a[i::3], b[i::3], "gap", 4, 6) for i in range(3))
    late = _stream(a[25:], b[25:], "gap", 5)
    early = _stream(a[:25], b[:25], "gap", 1, 24)
    for merged in (one.merge(two).merge(three), late.merge(early)):
        score = merged.compute()
        assert (score.unbiased, score.biased) == pytest.approx((want.unbiased, want.biased), abs=1e-12)
        assert score.n == 30


def test_negative_values_are_reported() -> None:
    g = torch.Generator().manual_seed(1)
    values = []
    for _ in range(20):
        x, y = torch.randn(8, 64, generator=g), torch.randn(8, 64, generator=g)
        score = _stream(x, y, "gap", 8).compute()
        assert score.unbiased == pytest.approx(_gram_cka(x.double(), y.double())[0], abs=1e-10)
        values.append(score.unbiased)
        assert score.biased > 0.7  # the bias: unrelated features look alike
    assert min(values) < -0.01 and abs(sum(values) / 20) < 0.1


def test_invariances() -> None:
    a, b = _maps()
    base = _stream(a, b, "pix", 20).compute()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2))).Q
    turned = torch.einsum("nchw,cd->ndhw", a, turn) * 7 - 3
    score = _stream(turned, b, "pix", 20).compute()
    assert (score.unbiased, score.biased) == pytest.approx((base.unbiased, base.biased), abs=1e-6)
    assert _stream(a, a, "pix", 20).compute().unbiased == pytest.approx(1, abs=1e-12)


def test_undefined_is_nan() -> None:
    x, y = torch.randn(3, 4), torch.randn(3, 5)
    score = _stream(x, y, "gap", 3).compute()
    assert math.isnan(score.unbiased) and not math.isnan(score.biased) and score.n == 3
    assert math.isnan(LinearCKA().compute().biased)
    constant = _stream(torch.full((9, 4), 0.1), torch.randn(9, 5), "gap", 2, 7).compute()
    assert math.isnan(constant.unbiased) and math.isnan(constant.biased)


def test_gap_takes_maps_of_different_sizes_and_pix_does_not() -> None:
    a, b = torch.randn(5, 3, 4, 4), torch.randn(5, 2, 8, 8)
    metric = LinearCKA("gap")
    metric.update(a, b)
    assert metric.n == 5
    with pytest.raises(InputError, match="maps of one size.*resize them, or use view 'gap'"):
        LinearCKA("pix").update(a, b)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (torch.randn(4, 3), torch.randn(5, 3), "same samples"),
        (torch.randn(4, 3, 2), torch.randn(4, 3), r"\(B, C, H, W\)"),
        (torch.ones(4, 3, dtype=torch.int64), torch.randn(4, 3), "floating point"),
        (torch.full((4, 3), float("nan")), torch.randn(4, 3), "not finite"),
        (torch.empty(2, 0), torch.empty(2, 3), "empty"),
    ],
)
def test_wrong_input(a: Tensor, b: Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        LinearCKA().update(a, b)


def test_unknown_view_and_changed_channels() -> None:
    with pytest.raises(InputError, match="unknown view 'flat'"):
        LinearCKA("flat")
    metric = LinearCKA()
    metric.update(torch.randn(4, 3), torch.randn(4, 3))
    with pytest.raises(InputError, match="channels changed"):
        metric.update(torch.randn(4, 2), torch.randn(4, 3))
