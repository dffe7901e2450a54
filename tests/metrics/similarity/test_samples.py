"""RSA, mutual neighbours and permutation null against SciPy and scikit-learn; the sample against sorting all hashes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from fusionzoo.errors import InputError
from fusionzoo.metrics import spearman
from fusionzoo.metrics.similarity.minibatch import MinibatchCKA
from fusionzoo.metrics.similarity.samples import (
    RowSample,
    knn_matrix,
    mutual_knn,
    rbf_cka,
    rbf_cka_matrix,
    rsa,
    rsa_matrix,
)


def _pair(n: int = 40, noise: float = 0.7) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(n, 6, generator=g)
    return a, a @ torch.randn(6, 9, generator=g) + noise * torch.randn(n, 9, generator=g)


def test_rsa_equals_scipy() -> None:
    a, b = _pair()
    want = spearmanr(pdist(a.numpy(), "correlation"), pdist(b.numpy(), "correlation")).statistic
    assert rsa(a, b) == pytest.approx(want, abs=1e-9)
    coarse_a, coarse_b = (a > 0).float(), (b > 0).float()  # many ties
    keep = (coarse_a.std(1) > 0) & (coarse_b.std(1) > 0)
    coarse_a, coarse_b = coarse_a[keep], coarse_b[keep]
    want = spearmanr(pdist(coarse_a.numpy(), "correlation").round(9), pdist(coarse_b.numpy(), "correlation").round(9))
    assert rsa(coarse_a, coarse_b) == pytest.approx(want.statistic, abs=0.02)


def test_spearman_equals_scipy_with_ties_and_gaps() -> None:
    g = torch.Generator().manual_seed(2)
    a, b = torch.randint(0, 6, (80,), generator=g).float(), torch.randint(0, 4, (80,), generator=g).float()
    b = b + a // 2
    assert spearman(a, b) == pytest.approx(spearmanr(a.numpy(), b.numpy()).statistic, abs=1e-12)
    a[::7], b[::11] = torch.nan, torch.nan
    keep = ~(a.isnan() | b.isnan())
    assert spearman(a, b) == pytest.approx(spearmanr(a[keep].numpy(), b[keep].numpy()).statistic, abs=1e-12)
    assert math.isnan(spearman(torch.ones(4), torch.arange(4.0)))


def test_mutual_neighbours_equal_scikit_learn() -> None:
    a, b = _pair()
    for k in (1, 5, 20):
        near = []
        for rows in (a, b):
            fit = NearestNeighbors(n_neighbors=k, metric="cosine").fit(rows.numpy())
            near.append(fit.kneighbors(return_distance=False))  # the sample itself is left out
        want = np.mean([len(set(near[0][i]) & set(near[1][i])) / k for i in range(len(a))])
        assert mutual_knn(a, b, k) == pytest.approx(want, abs=1e-12)


def test_unrelated_rows_agree_by_chance() -> None:
    g = torch.Generator().manual_seed(1)
    a, b = torch.randn(300, 5, generator=g), torch.randn(300, 5, generator=g)
    assert mutual_knn(a, b, 10) == pytest.approx(10 / 299, abs=0.01) and abs(rsa(a, b)) < 0.05


def test_undefined_and_wrong_use() -> None:
    assert math.isnan(rsa(torch.randn(2, 3), torch.randn(2, 3)))
    assert math.isnan(rsa(torch.ones(5, 3), torch.randn(5, 3)))
    with pytest.raises(InputError, match="k must lie between 1 and n - 1 = 4"):
        mutual_knn(torch.randn(5, 3), torch.randn(5, 3), 5)
    with pytest.raises(InputError, match="same samples"):
        rsa(torch.randn(5, 3), torch.randn(6, 3))


def test_all_pairs_are_the_single_ones() -> None:
    a, b = _pair()
    rows = [a, b, a.flip(0), torch.ones(40, 3)]
    matrices = {"rsa": rsa_matrix(rows), "knn": knn_matrix(rows[:3], 5), "rbf": rbf_cka_matrix(rows)}
    for p in range(3):
        for q in range(3):
            assert float(matrices["rsa"][p, q]) == pytest.approx(rsa(rows[p], rows[q]), abs=1e-12)
            assert float(matrices["knn"][p, q]) == pytest.approx(mutual_knn(rows[p], rows[q], 5), abs=1e-12)
            assert float(matrices["rbf"][p, q]) == pytest.approx(rbf_cka(rows[p], rows[q]), abs=1e-12)
    for name in ("rsa", "rbf"):
        assert bool(matrices[name][3].isnan().all()) and not bool(matrices[name][:3, :3].isnan().any())


@pytest.mark.parametrize("bandwidth", [0.3, 1.0])
def test_rbf_cka_equals_scikit_learn_kernels_in_the_loop_formula(bandwidth: float) -> None:
    a, b = _pair(25)

    def kernel(rows: Tensor) -> np.ndarray:
        sigma = bandwidth * torch.from_numpy(pdist(rows.double().numpy())).median().item()  # the lower median
        k = rbf_kernel(rows.double().numpy(), gamma=1 / (2 * sigma**2))
        np.fill_diagonal(k, 0)
        return k

    def hsic(k: np.ndarray, m: np.ndarray) -> float:
        n, one = len(k), np.ones(len(k))
        middle = (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        return (np.trace(k @ m) + middle - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3))

    k, m = kernel(a), kernel(b)
    want = hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))
    assert rbf_cka(a, b, bandwidth) == pytest.approx(want, abs=1e-9)
    batch = MinibatchCKA(2, kernel="rbf", bandwidth=bandwidth)  # the whole data set as one batch
    batch.update(a, b)
    assert float(batch.compute().cka[0, 1]) == pytest.approx(want, abs=1e-6)
    assert batch.compute().bandwidth == bandwidth and math.isnan(rbf_cka(a[:3], b[:3]))


def test_equals_rsatoolbox() -> None:
    rdm = pytest.importorskip("rsatoolbox.rdm", reason="rsatoolbox is not installed")
    dataset = pytest.importorskip("rsatoolbox.data")
    a, b = _pair()
    rdms = [rdm.calc_rdm(dataset.Dataset(r.double().numpy()), method="correlation") for r in (a, b)]
    assert rsa(a, b) == pytest.approx(float(rdm.compare(*rdms, method="spearman")[0, 0]), abs=1e-9)


class TestRowSample:
    def _feed(self, order: Tensor, size: int, limit: int = 15) -> RowSample:
        sample = RowSample(("a", "b"), limit)
        for keys in order.split(size):
            sample.update(keys, keys[:, None].float(), torch.stack([keys, -keys], 1).float())
        return sample

    def test_the_kept_samples_depend_on_the_keys_alone(self) -> None:
        forward, backward = self._feed(torch.arange(100), 7), self._feed(torch.arange(100).flip(0), 30)
        shards = self._feed(torch.arange(0, 100, 2), 9).merge(self._feed(torch.arange(1, 100, 2), 50))
        want = forward.compute()
        assert len(want["a"]) == 15 and want["a"].unique().numel() == 15
        for other in (backward, shards):
            for name, rows in other.compute().items():
                assert torch.equal(rows, want[name])
        assert torch.equal(want["b"], torch.cat([want["a"], -want["a"]], 1))  # rows stay together

    def test_is_a_fair_sample(self) -> None:
        kept = self._feed(torch.arange(20000), 5000, limit=2000).compute()["a"]
        counts = torch.histc(kept.float(), 10, 0, 20000)
        assert counts.min() > 150 and counts.max() < 250

    def test_size_is_fixed_and_state_goes_round(self) -> None:
        sample = self._feed(torch.arange(100), 10)
        size = sample.nbytes()
        sample.update(torch.arange(100, 200), torch.randn(100, 1), torch.randn(100, 2))
        assert sample.nbytes() == size
        copy = RowSample(("a", "b"), 15)
        copy.load_state_dict(sample.state_dict())
        assert torch.equal(copy.compute()["a"], sample.compute()["a"])

    def test_maps_are_pooled_and_wrong_input_refused(self) -> None:
        sample = RowSample(1)
        maps = torch.randn(4, 3, 2, 2)
        sample.update(torch.arange(4), maps)
        assert torch.equal(sample.compute()["0"].sort(0).values, maps.double().mean((2, 3)).sort(0).values)
        with pytest.raises(InputError, match="one key per sample"):
            sample.update(torch.arange(3), maps)
