"""HSIC as the average over samples that it estimates, one tuple of samples at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from fusionzoo.metrics.similarity.cka import hsic
from fusionzoo.metrics.similarity.moments import Moments


def test_hsic_equals_averages_over_tuples_of_samples() -> None:
    """E kl + E k E l - 2 E_i (E_j k_ij) (E_q l_iq): over four different samples (unbiased), or centred (biased)."""
    rows = [torch.randn(7, width, generator=torch.Generator().manual_seed(width)) for width in (2, 3)]
    moments = Moments(("a", "b"))
    moments.update(*rows)
    unbiased, biased = hsic(moments.centred())
    grams = [(r.double() @ r.double().T).numpy() for r in rows]
    for i, k in enumerate(grams):
        for j, m in enumerate(grams):
            terms = [
                k[s, t] * m[s, t] + k[s, t] * m[u, v] - 2 * k[s, t] * m[s, u]
                for s, t, u, v in itertools.permutations(range(7), 4)
            ]
            assert float(unbiased[i, j]) == pytest.approx(float(np.mean(terms)), rel=1e-9)
            centre = np.eye(7) - 1 / 7
            assert float(biased[i, j]) == pytest.approx(np.trace(k @ centre @ m @ centre) / 36, rel=1e-9)
