"""Eigenvalues of covariances in which channels may be dead: LAPACK as torch calls it gives up on some such matrices."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = []


def symmetric_eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (C,), rising, and eigenvectors (C, C) in columns of a symmetric (C, C) matrix in float64.

    A channel whose row is zero is an eigenvector with eigenvalue 0; only the others are decomposed. MKL's divide and
    conquer does not converge for a quarter of the covariances of 384 channels of which 12 are alive.

    >>> symmetric_eigen(torch.diag(torch.tensor([2.0, 0.0, 1.0])).double())[0].tolist()
    [0.0, 1.0, 2.0]
    """
    alive = (matrix != 0).any(dim=1)
    if bool(alive.all()):
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    values, vectors = matrix.new_zeros(len(matrix)), torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    if bool(alive.any()):
        where = alive.nonzero().flatten()
        values[where], inner = torch.linalg.eigh(matrix[where][:, where])
        vectors[where[:, None], where] = inner
    values, order = values.sort(stable=True)
    return values, vectors[:, order]
