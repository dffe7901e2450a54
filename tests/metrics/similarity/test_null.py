"""The permutation null of every measure against recomputing it on shuffled rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import Moments, RowSample, mutual_knn, null_test, rsa
from fusionzoo.metrics.similarity import MEASURES, row_similarity
from fusionzoo.metrics.similarity.null import moments_of


def _sets(n: int = 30) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(n, 4, generator=g).double() + 2
    b = a @ torch.randn(4, 6, generator=g).double() + 0.5 * torch.randn(n, 6, generator=g).double()
    return [a, b, torch.randn(n, 5, generator=g).double()]


def test_moments_of_rows_are_those_of_the_accumulator() -> None:
    rows = _sets()
    streamed = Moments(3)
    for part in zip(*(r.split(7) for r in rows), strict=True):
        streamed.update(*part)
    for name in ("mean", "gram", "norm", "cross", "quad"):
        want = getattr(streamed.centred(), name)
        torch.testing.assert_close(getattr(moments_of(rows), name), want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_permuted_value_is_the_measure_of_shuffled_rows(measure: str) -> None:
    rows, times = _sets(), 12
    options = {"k": 5} if measure == "mutual_knn" else {}
    result = null_test(measure, rows, times=times, seed=3, **options)
    g = torch.Generator().manual_seed(3)
    null = []
    for _ in range(times):
        order = torch.randperm(30, generator=g)
        row = [row_similarity(measure, [rows[p], rows[q][order]], **options)[0, 1] for p in range(3) for q in range(3)]
        null.append(torch.stack(row).view(3, 3))
    stacked = torch.stack(null)
    torch.testing.assert_close(result.mean, stacked.mean(0), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(result.std, stacked.std(0, unbiased=False), rtol=1e-5, atol=1e-9)
    sign = -1 if MEASURES[measure].larger_is == "more different" else 1
    p = (1 + (sign * stacked >= sign * result.value - 1e-12).sum(0)).double() / (1 + times)
    torch.testing.assert_close(result.p, p, rtol=0, atol=1e-12)
    torch.testing.assert_close(result.bound, sign * (sign * stacked).quantile(0.95, dim=0), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_related_sets_are_told_from_unrelated_ones(measure: str) -> None:
    result = null_test(measure, _sets(60), times=39)
    assert float(result.p[0, 1]) == pytest.approx(1 / 40) and bool(result.similar[0, 1])
    assert float(result.p[0, 2]) > 1 / 40 and float(result.p[1, 2]) > 1 / 40
    assert result.n == 60 and result.times == 39


def test_p_is_uniform_where_nothing_is_related() -> None:
    g = torch.Generator().manual_seed(5)
    p = []
    for _ in range(60):
        a, b = torch.randn(12, 3, generator=g), torch.randn(12, 3, generator=g)
        p.append(float(null_test("cka", [a, b], times=19).p[0, 1]))
    values = torch.tensor(p)
    assert 0.3 < float(values.mean()) < 0.7 and float((values <= 0.25).float().mean()) == pytest.approx(0.25, abs=0.15)


def test_agrees_with_the_test_of_one_pair() -> None:
    a, b, _ = _sets()

    def one_by_one(statistic, seed):
        """p, and the values for shuffled samples of b, one after the other."""
        generator = torch.Generator().manual_seed(seed)
        null = [statistic(a, b[torch.randperm(len(b), generator=generator)]) for _ in range(20)]
        return (1 + sum(value >= statistic(a, b) for value in null)) / 21, sum(null) / 20

    p, mean = one_by_one(rsa, 1)
    result = null_test("rsa", [a, b], times=20, seed=1)
    assert float(result.p[0, 1]) == p and float(result.mean[0, 1]) == pytest.approx(mean, abs=1e-9)
    p, _ = one_by_one(lambda u, v: mutual_knn(u, v, 4), 0)
    assert float(null_test("mutual_knn", [a, b], times=20, k=4).p[0, 1]) == p


def test_from_a_sample_of_rows() -> None:
    sample = RowSample(("rgb", "x"), limit=20)
    rows = _sets()
    sample.update(torch.arange(30), rows[0], rows[1])
    result = null_test("cka", list(sample.compute().values()), times=9)
    assert result.n == 20 and float(result.p[0, 1]) == pytest.approx(0.1)


@pytest.mark.parametrize("measure", ["cka", "rbf_cka", "procrustes", "rsa"])
def test_a_constant_set_has_no_value_and_no_p(measure: str) -> None:
    a, b, _ = _sets()
    result = null_test(measure, [a, torch.full_like(b, 0.1)], times=5)
    assert bool(result.p[1].isnan().all()) and not bool(result.similar[0, 1]) and not bool(result.p[0, 0].isnan())


def test_wrong_use() -> None:
    a, b, _ = _sets()
    with pytest.raises(UnknownNameError, match="did you mean 'rsa'"):
        null_test("rsaa", [a, b])
    with pytest.raises(InputError, match="times must be at least 1"):
        null_test("rsa", [a, b], times=0)
    with pytest.raises(InputError, match="same samples"):
        null_test("rsa", [a, b[:5]])
