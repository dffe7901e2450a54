"""Similarities from moments against SciPy, scikit-learn and QR decompositions of the data itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score
from torch import Tensor

from fusionzoo.errors import InputError, UnknownNameError
from fusionzoo.metrics import LinearCKA
from fusionzoo.metrics.similarity.matrices import (
    INFO,
    cca,
    cca_matrices,
    cka_matrices,
    procrustes_matrices,
    r2_matrix,
    ridge_r2,
    similarity_matrices,
)
from fusionzoo.metrics.similarity.moments import CentredMoments, Moments

NAMES = ("a", "b", "c")


def _rows(n: int = 90) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    a = torch.randn(n, 6, generator=g).double() * torch.tensor([9, 5, 3, 1, 0.5, 0.1]) + 7
    b = a[:, :3] @ torch.randn(3, 4, generator=g).double() + torch.randn(n, 4, generator=g).double()
    return [a, b, torch.randn(n, 5, generator=g).double() - 2]


def _moments(rows: list[Tensor]) -> CentredMoments:
    moments = Moments(NAMES)
    for part in zip(*(r.split(17) for r in rows), strict=True):
        moments.update(*part)
    return moments.centred()


def _centred(x: Tensor) -> np.ndarray:
    return (x - x.mean(0)).numpy()


def test_all_pairs_of_cka_are_the_single_ones() -> None:
    rows = _rows()
    unbiased, biased = cka_matrices(_moments(rows))
    for p in range(3):
        for q in range(3):
            pair = LinearCKA()
            pair.update(rows[p], rows[q])
            score = pair.compute()
            assert float(unbiased[p, q]) == pytest.approx(score.unbiased, abs=1e-12)
            assert float(biased[p, q]) == pytest.approx(score.biased, abs=1e-12)


def test_procrustes_equals_scipy() -> None:
    rows = _rows()
    plain, normalised, angular = procrustes_matrices(_moments(rows))
    for p in range(3):
        for q in range(3):
            x, y = _centred(rows[p]), _centred(rows[q])
            width = max(x.shape[1], y.shape[1])
            x, y = (np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (x, y))
            turn, _ = orthogonal_procrustes(x, y)
            assert float(plain[p, q]) == pytest.approx(((x @ turn - y) ** 2).sum() / len(x), abs=1e-9)
            x, y = x / np.linalg.norm(x), y / np.linalg.norm(y)
            turn, nuclear = orthogonal_procrustes(x, y)
            assert float(normalised[p, q]) == pytest.approx(((x @ turn - y) ** 2).sum(), abs=1e-9)
            assert float(angular[p, q]) == pytest.approx(math.acos(min(nuclear, 1)), abs=1e-6)


def _canonical(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations, and unit canonical variates of x, by QR of the data."""
    qx, qy = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    u, rho, _ = np.linalg.svd(qx.T @ qy, full_matrices=False)
    return rho, qx @ u


def _truncated(x: np.ndarray, keep: float) -> np.ndarray:
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    share = np.cumsum(s**2) / (s**2).sum()
    number = int(np.argmax(share >= keep)) + 1
    return u[:, :number] * s[:number]


@pytest.mark.parametrize("keep", [1.0, 0.99, 0.8])
def test_cca_svcca_and_pwcca_equal_computations_on_the_data(keep: float) -> None:
    rows = _rows()
    moments = _moments(rows)
    matrices = cca_matrices(moments, keep=keep)
    for p in range(3):
        for q in range(3):
            x, y = _centred(rows[p]), _centred(rows[q])
            kept_x, kept_y = (_truncated(v, keep) if keep < 1 else v for v in (x, y))
            rho, variates = _canonical(kept_x, kept_y)
            got, _ = cca(moments, NAMES[p], NAMES[q], keep)
            np.testing.assert_allclose(got.numpy(), np.clip(rho, 0, 1), atol=1e-8)
            assert float(matrices["svcca"][p, q]) == pytest.approx(rho.mean(), abs=1e-8)
            alpha = np.abs(variates.T @ x).sum(1)
            want = (alpha * rho).sum() / alpha.sum()
            if p != q:  # with itself all rho are 1 and the variates are arbitrary
                assert float(matrices["pwcca"][p, q]) == pytest.approx(want, abs=1e-7)
            else:
                assert float(matrices["pwcca"][p, q]) == pytest.approx(1, abs=1e-7)


def test_regularised_cca_equals_the_whitened_cross_covariance() -> None:
    rows = _rows()
    got = cca_matrices(_moments(rows), ridge=0.3)["rcca"]

    def inverse_root(s: np.ndarray) -> np.ndarray:
        values, vectors = np.linalg.eigh(s + 0.3 * np.trace(s) / len(s) * np.eye(len(s)))
        return vectors @ np.diag(values**-0.5) @ vectors.T

    x, y = _centred(rows[0]), _centred(rows[1])
    rho = np.linalg.svd(inverse_root(x.T @ x) @ x.T @ y @ inverse_root(y.T @ y), compute_uv=False)
    assert float(got[0, 1]) == pytest.approx(rho.mean(), abs=1e-9)


def test_predictivity_equals_scikit_learn() -> None:
    rows = _rows()
    moments = _moments(rows)
    for p, q in ((0, 1), (1, 0), (0, 2), (1, 1)):
        x, y = rows[p].numpy(), rows[q].numpy()
        z = (x - x.mean(0)) / x.std(0)
        for ridge, fit in ((1e-9, LinearRegression().fit(z, y)), (0.1, Ridge(alpha=0.1 * len(z)).fit(z, y))):
            # variance-weighted over outputs: explained share of the total variance
            want = r2_score(y, fit.predict(z), multioutput="variance_weighted")
            assert float(r2_matrix(moments, ridge)[p, q]) == pytest.approx(want, abs=1e-8)


def test_too_few_samples_and_constant_sets_are_nan_not_one() -> None:
    few = _moments([r[:9] for r in _rows()])
    assert math.isnan(cca_matrices(few, keep=1.0)["svcca"][0, 1]) and not math.isnan(cca_matrices(few)["rcca"][0, 1])
    assert math.isnan(r2_matrix(_moments([r[:5] for r in _rows()]))[0, 1])
    rows = _rows()
    rows[1] = torch.full_like(rows[1], 0.1)
    moments = _moments(rows)
    for matrix in (*cka_matrices(moments), *procrustes_matrices(moments)[1:], *cca_matrices(moments).values()):
        assert bool(matrix[1].isnan().all()) and not bool(matrix[0, 2].isnan())
    assert math.isnan(r2_matrix(moments)[0, 1]) and math.isnan(r2_matrix(moments)[1, 0])


def test_chosen_measures_are_those_of_their_own_functions() -> None:
    moments = _moments(_rows())
    all_of = similarity_matrices(moments, keep=0.9, ridge=0.2)
    unbiased, biased = cka_matrices(moments)
    _, normalised, angular = procrustes_matrices(moments)
    want = {"cka": unbiased, "cka_biased": biased, "procrustes": normalised, "angular": angular}
    want |= cca_matrices(moments, 0.9, 0.2) | {"r2": r2_matrix(moments)}
    assert set(all_of) == set(want) == set(INFO)
    for name, value in want.items():
        alone = similarity_matrices(moments, [name], keep=0.9, ridge=0.2)[name]
        torch.testing.assert_close(alone, value, rtol=0, atol=1e-10)
        torch.testing.assert_close(all_of[name], value, rtol=0, atol=1e-10)
    with pytest.raises(UnknownNameError, match="did you mean 'cka'"):
        similarity_matrices(moments, ["ckaa"])


def test_all_pairs_of_cca_and_r2_are_the_single_ones() -> None:
    rows = _rows()
    rows[2][:, 1] = 3.0  # a constant feature within a set
    moments = _moments(rows)
    matrices = cca_matrices(moments, 0.95, 0.1)
    for p in range(3):
        for q in range(3):
            rho, weights = cca(moments, p, q, 0.95)
            assert float(matrices["svcca"][p, q]) == pytest.approx(float(rho.mean()), abs=1e-9)
            assert float(matrices["pwcca"][p, q]) == pytest.approx(float((rho * weights).sum()), abs=1e-9)
            regular = float(cca(moments, p, q, 1.0, 0.1)[0].mean())
            assert float(matrices["rcca"][p, q]) == pytest.approx(regular, abs=1e-9)
            single = ridge_r2(moments.block(p, p), moments.block(p, q), moments.norm[q])
            assert float(r2_matrix(moments)[p, q]) == pytest.approx(float(single), abs=1e-12)


def test_unbiased_cka_is_a_cosine_and_stays_within_one() -> None:
    g = torch.Generator().manual_seed(6)
    for n in (4, 5, 8):
        for _ in range(20):
            unbiased, _ = cka_matrices(_moments([torch.randn(n, 3, generator=g).double() for _ in range(3)]))
            assert bool((unbiased.abs() <= 1 + 1e-9).all())


def test_declared_invariances_hold() -> None:
    rows = _rows()
    turn = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(3)).double()).Q
    moved = _moments([rows[0], 5 * rows[1] @ turn - 3, rows[2]])
    base = _moments(rows)

    def all_of(m: CentredMoments) -> dict[str, Tensor]:
        # ridge works on standardised features, so only without it is R2 free of rotation
        return similarity_matrices(m) | {"r2": r2_matrix(m, 0)}

    before, after = all_of(base), all_of(moved)
    assert set(before) == set(INFO)
    for name, value in before.items():
        if name == "pwcca":  # its weights hold the axes of the first set
            assert (after[name][1, 0] - value[1, 0]).abs() > 1e-4
            after[name][1], value[1] = 0, 0
        torch.testing.assert_close(after[name], value, rtol=0, atol=1e-6, msg=name)
        low, high = INFO[name].low, INFO[name].high
        assert (low is None or value.min() >= low - 1e-9) and (high is None or value.max() <= high + 1e-9)


def test_wrong_use() -> None:
    moments = _moments(_rows())
    with pytest.raises(InputError, match="unknown point 'z'"):
        moments.block("z", "a")
    with pytest.raises(InputError, match="keep must lie"):
        cca(moments, 0, 1, keep=0)
