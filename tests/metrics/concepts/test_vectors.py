"""Concept vectors: agreement of scores against NumPy, and its meaning on planted codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from fusionzoo.errors import InputError
from fusionzoo.metrics import ConceptAgreement, ConceptStatistics


@pytest.mark.parametrize("size", [None, (6, 7)])
def test_agreement_equals_the_correlation_over_positions(size: tuple[int, int] | None) -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 3, 8, 9, generator=g), torch.randn(6, 3, 4, 5, generator=g)
    b += functional.adaptive_avg_pool2d(a, (4, 5))
    b[:, 2] = 0  # a concept without a detector
    grid = size or (8, 9)
    valid = torch.rand(6, *grid, generator=g) < 0.8
    agreement = ConceptAgreement(("a", "b"), 3)
    for part in (slice(0, 2), slice(2, 6)):
        agreement.update(a[part], b[part], valid=valid[part], size=size)
    result = agreement.compute()
    maps = [
        functional.interpolate(m.double(), size=grid, mode="bilinear", align_corners=False).transpose(0, 1)[:, valid]
        for m in (a, b)
    ]
    for k in range(2):
        want = np.corrcoef(maps[0][k].numpy(), maps[1][k].numpy())
        np.testing.assert_allclose(result.correlation[k].numpy(), want, atol=1e-9)
    assert math.isnan(result.correlation[2, 0, 1]) and result.n == int(valid.sum())


def test_two_mixings_of_one_code_agree_though_their_vectors_do_not() -> None:
    g = torch.Generator().manual_seed(5)
    masks = torch.rand(20, 2, 6, 6, generator=g) < 0.3
    maps = torch.randn(20, 6, 6, 6, generator=g)
    maps[:, 0] += 4 * masks[:, 0]
    maps[:, 1] += 4 * masks[:, 1]
    turn = torch.linalg.qr(torch.randn(6, 6, generator=g)).Q
    other = torch.einsum("nchw,cd->ndhw", maps, turn)
    weights = []
    for m in (maps, other):
        statistics = ConceptStatistics(6, 2)
        statistics.update(m, masks)
        weights.append(statistics.solve(1e-9))
    agreement = ConceptAgreement(2, 2)
    agreement.update(weights[0].score(maps), weights[1].score(other))
    assert bool((agreement.compute().correlation > 0.999).all())
    assert bool((functional.cosine_similarity(weights[0].weight, weights[1].weight).abs() < 0.9).all())


def test_wrong_use() -> None:
    agreement = ConceptAgreement(2, 3)
    with pytest.raises(InputError, match="expected 2 score maps"):
        agreement.update(torch.zeros(1, 3, 4, 4))
    with pytest.raises(InputError, match="of the same images"):
        agreement.update(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4))
    with pytest.raises(InputError, match="not finite"):
        agreement.update(torch.full((1, 3, 4, 4), math.nan), torch.zeros(1, 3, 4, 4))
    with pytest.raises(InputError, match="valid must be"):
        agreement.update(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4), valid=torch.ones(1, 3, 3))
    assert math.isnan(agreement.compute().correlation[0, 0, 1])
