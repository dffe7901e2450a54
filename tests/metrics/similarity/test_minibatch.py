"""Minibatch CKA against the formula in double loops over the samples."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics.similarity.minibatch import MinibatchCKA, shifted_gram


def _hsic1(k: np.ndarray, m: np.ndarray) -> float:
    """Unbiased HSIC by sums over different indices (Song et al. 2012, eq. 4), O(n^4) avoided by looping over two."""
    n = len(k)
    k, m = k * (1 - np.eye(n)), m * (1 - np.eye(n))
    pairs = sum(k[i, j] * m[i, j] for i in range(n) for j in range(n))
    triples = sum(k[i, j] * (m[i].sum()) for i in range(n) for j in range(n))
    return (pairs + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * triples) / (n * (n - 3))


def _maps(offset: float = 0.0) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(24, 3, 5, 6, generator=g)
    b = torch.tanh(a[:, :2]) + 0.5 * torch.randn(24, 2, 5, 6, generator=g)
    return [a + offset, b + offset, torch.randn(24, 4, 2, 2, generator=g)]


def _want(maps: list[Tensor], sizes: list[int], kernel: str, bandwidth: float = 0.5) -> np.ndarray:
    hsic = np.zeros((3, 3))
    for batch in zip(*(m.double().flatten(1).split(sizes) for m in maps), strict=True):
        n = len(batch[0])
        if n < 4:
            continue
        kernels = []
        for x in (v.numpy() for v in batch):
            if kernel == "linear":
                kernels.append(x @ x.T)
            else:
                distances = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))[np.triu_indices(n, 1)]
                # torch's median of an even number is the lower one
                s = bandwidth * np.sort(distances)[(len(distances) - 1) // 2]
                kernels.append(rbf_kernel(x, gamma=1 / (2 * s * s)))
        hsic += n * np.array([[_hsic1(k, m) for m in kernels] for k in kernels])
    size = np.sqrt(np.diag(hsic))
    return hsic / np.outer(size, size)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("sizes", [[8, 8, 8], [10, 11, 3]])
def test_equals_the_formula(kernel: str, sizes: list[int]) -> None:
    maps = _maps()
    metric = MinibatchCKA(("a", "b", "c"), kernel)
    for batch in zip(*(m.split(sizes) for m in maps), strict=True):
        metric.update(*batch)
    scores = metric.compute()
    np.testing.assert_allclose(scores.cka.numpy(), _want(maps, sizes, kernel), atol=2e-6)
    skipped = sum(s < 4 for s in sizes)
    assert (scores.skipped, scores.batches) == (skipped, 3 - skipped)
    assert scores.n == sum(s for s in sizes if s >= 4) and scores.batch_size == max(sizes)
    assert scores.cka.min() < 0  # the unrelated set; not clamped


def test_large_means_cost_little_accuracy() -> None:
    plain, moved = _maps(), _maps(1000.0)
    metric = MinibatchCKA(3)
    metric.update(*moved)
    rounded = [m.double() - (1000.0 if i < 2 else 0) for i, m in enumerate(moved)]
    np.testing.assert_allclose(metric.compute().cka.numpy(), _want(rounded, [24], "linear"), atol=1e-5)
    np.testing.assert_allclose(metric.compute().cka.numpy(), _want(plain, [24], "linear"), atol=1e-3)


@pytest.mark.parametrize("offsets", [(0.0, 0.0), (1.4, 1.4), (2.5, 2.5), (0.0, 300.0), (300.0, 0.0)])
def test_the_error_stays_small_wherever_the_origin_lies(offsets: tuple[float, float]) -> None:
    """Maps of several slices whose parts lie near and far from zero, beside float64."""
    generator = torch.Generator().manual_seed(1)
    shared = torch.randn(16, 9000, generator=generator)
    maps = [shared + k * torch.randn(16, 9000, generator=generator) for k in (0.5, 1.0, 3.0)]
    for one in maps:
        one[:, :5000] += offsets[0]
        one[:, 5000:] += offsets[1]
    centred = [one.double() - one.double().mean(0) for one in maps]
    metric = MinibatchCKA(3)
    metric.update(*maps)
    np.testing.assert_allclose(metric.compute().cka.numpy(), _want(centred, [16], "linear"), atol=4e-6)
    moved = maps[0].double() - maps[0][:1].double()
    wanted = moved @ moved.T
    torch.testing.assert_close(shifted_gram(maps[0]), wanted, rtol=0, atol=1e-6 * float(wanted.max()))


def test_in_hooks_under_autocast_and_inference_mode() -> None:
    maps = _maps()
    want = MinibatchCKA(3)
    want.update(*maps)
    metric = MinibatchCKA(3)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        metric.add_grams(*[shifted_gram(m.clone()) for m in maps])
    torch.testing.assert_close(metric.compute().cka, want.compute().cka, rtol=0, atol=1e-12)
    resumed = MinibatchCKA(3)
    resumed.load_state_dict(metric.state_dict())
    resumed.update(*maps)
    assert resumed.compute().batches == 2
    torch.testing.assert_close(resumed.compute().cka, want.compute().cka, rtol=0, atol=1e-14)


def test_shards_merge() -> None:
    maps = _maps()
    whole, one, two = (MinibatchCKA(3) for _ in range(3))
    for i, batch in enumerate(zip(*(m.split(8) for m in maps), strict=True)):
        whole.update(*batch)
        (one if i == 1 else two).update(*batch)
    merged = two.merge(one).compute()
    torch.testing.assert_close(merged.cka, whole.compute().cka, rtol=0, atol=1e-14)
    assert (merged.n, merged.batches, merged.batch_size) == (24, 3, 8)


def test_undefined_and_wrong_use() -> None:
    metric = MinibatchCKA(1)
    metric.update(torch.randn(3, 5))
    assert math.isnan(metric.compute().cka[0, 0]) and metric.compute().skipped == 1
    metric.update(torch.full((6, 5), 3.0))
    assert math.isnan(metric.compute().cka[0, 0])
    with pytest.raises(InputError, match="same samples"):
        MinibatchCKA(2).update(torch.randn(4, 3), torch.randn(5, 3))
    with pytest.raises(InputError, match="not finite"):
        metric.update(torch.full((6, 5), float("inf")))
    with pytest.raises(InputError, match="unknown kernel"):
        MinibatchCKA(2, "poly")


class TestNull:
    @staticmethod
    def _sets(n: int = 48) -> list[Tensor]:
        g = torch.Generator().manual_seed(0)
        a = torch.randn(n, 3, 4, 4, generator=g)
        return [a, a.flip(1) + 0.3 * torch.randn(n, 3, 4, 4, generator=g), torch.randn(n, 5, 2, 2, generator=g)]

    def _feed(self, *parts: slice, kernel: str = "linear", times: int = 19) -> MinibatchCKA:
        score, sets = MinibatchCKA(3, kernel=kernel, permutations=times), self._sets()
        for part in parts:
            score.update(*(f[part] for f in sets))
        return score

    @pytest.mark.parametrize("kernel", ["linear", "rbf"])
    def test_related_sets_are_told_from_unrelated_ones(self, kernel: str) -> None:
        result = self._feed(slice(0, 16), slice(16, 32), slice(32, 48), kernel=kernel).compute()
        assert result.null is not None and result.null.shape == (19, 3, 3)
        assert float(result.p[0, 1]) == float(result.p[0, 0]) == pytest.approx(0.05) and float(result.p[0, 2]) > 0.05
        assert float(result.null[:, 0, 1].mean()) == pytest.approx(
            0, abs=0.1
        )  # unbiased: nothing is expected by chance
        plain = MinibatchCKA(3, kernel=kernel)
        for part in (slice(0, 16), slice(16, 32), slice(32, 48)):
            plain.update(*(f[part] for f in self._sets()))
        torch.testing.assert_close(plain.compute().cka, result.cka, rtol=0, atol=1e-12)
        assert bool(plain.compute().p.isnan().all())

    def test_each_permuted_value_is_the_score_of_shuffled_samples(self) -> None:
        sets, score = self._sets(12), MinibatchCKA(3, permutations=4)
        score.update(*sets)
        null = score.compute().null
        assert null is not None
        wanted = []
        for a in sets[:1]:
            for order in itertools.islice(_orders(sets), 4):
                pair = MinibatchCKA(2)
                pair.update(a, sets[1][order])
                wanted.append(float(pair.compute().cka[0, 1]))
        torch.testing.assert_close(null[:, 0, 1], torch.tensor(wanted).double(), rtol=1e-5, atol=1e-6)

    def test_does_not_depend_on_order_or_processes(self) -> None:
        cuts = [slice(0, 16), slice(16, 32), slice(32, 48)]
        want = self._feed(*cuts).compute().null
        shards = self._feed(cuts[2]).merge(self._feed(cuts[1], cuts[0])).compute().null
        assert want is not None and shards is not None
        torch.testing.assert_close(shards, want, rtol=1e-9, atol=1e-12)

    def test_wrong_use(self) -> None:
        with pytest.raises(InputError, match="permutations"):
            MinibatchCKA(2, permutations=-1)
        with pytest.raises(InputError, match="permutations is 0 here and 3 there"):
            MinibatchCKA(2).merge(MinibatchCKA(2, permutations=3))


def _orders(sets: list[Tensor]) -> Iterator[Tensor]:
    """The shuffles of a batch, from the seed that the module states: n and the checksum of its kernels."""
    kernels = torch.stack([shifted_gram(f) for f in sets])
    trace = float(sum(k.trace() for k in kernels) + sum(k[0].sum() for k in kernels))
    generator = torch.Generator().manual_seed(zlib.crc32(f"{len(sets[0])} {trace:.6e}".encode()))
    while True:
        yield torch.randperm(len(sets[0]), generator=generator)
