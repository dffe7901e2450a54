"""Covariances of stages that are nearly dead: many zero channels, the others tiny."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionzoo.metrics.health.channels import effective_rank
from fusionzoo.metrics.stats.eigen import symmetric_eigen


def dying(channels: int, alive: int, size: float, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    values = torch.zeros(200, channels).double()
    places = torch.randperm(channels, generator=draw)[:alive]
    values[:, places] = torch.randn(200, alive, generator=draw).double() * size
    values -= values.mean(0)
    return values.T @ values


@pytest.mark.parametrize("size", [1.0, 1e-9, 1e-10, 1e-30])
def test_eigenvalues_of_a_dying_stage_equal_those_of_its_living_channels(size: float) -> None:
    """torch.linalg.eigh alone gives up on some of these at every size."""
    for channels, alive in ((256, 7), (512, 16)):
        for seed in range(4):
            matrix = dying(channels, alive, size, seed)
            values, vectors = symmetric_eigen(matrix)
            living = matrix.diagonal() > 0
            wanted = np.linalg.svd(matrix[living][:, living].numpy() / size**2)[1] * size**2
            assert values[-alive:].flip(0).numpy() == pytest.approx(wanted, rel=1e-9)
            assert float(values[:-alive].abs().max()) < 1e-12 * wanted[0]
            back = vectors @ (values[:, None] * vectors.T)
            assert float((back - matrix).abs().max()) < 1e-12 * wanted[0]


def test_the_effective_rank_has_no_unit() -> None:
    matrix = dying(512, 16, 1e-10, 0)
    assert effective_rank(matrix) == pytest.approx(effective_rank(matrix * 2.0**60), rel=1e-9)
    assert 12 < effective_rank(matrix) < 16


def test_nothing_is_nothing() -> None:
    values, _ = symmetric_eigen(torch.zeros(3, 3).double())
    assert values.tolist() == [0, 0, 0]
