"""Similarity of representations: CKA, CCA, Procrustes, predictivity, RSA, mutual k-NN, and their null."""

from __future__ import annotations

from fusionzoo.metrics.similarity.cka import CKAScores, LinearCKA, cka_from_hsic, hsic
from fusionzoo.metrics.similarity.matrices import (
    cca,
    cca_matrices,
    cka_matrices,
    procrustes_matrices,
    r2_matrix,
    ridge_explained,
    ridge_r2,
    similarity_matrices,
)
from fusionzoo.metrics.similarity.minibatch import (
    MinibatchCKA,
    MinibatchScores,
    batch_hsic,
    rbf_kernel,
    shifted_gram,
    u_centred,
)
from fusionzoo.metrics.similarity.moments import CentredMoments, Moments
from fusionzoo.metrics.similarity.null import MEASURES, NullTest, moments_of, null_test, row_similarity
from fusionzoo.metrics.similarity.samples import (
    RowSample,
    knn_matrix,
    mutual_knn,
    rbf_cka,
    rbf_cka_matrix,
    rsa,
    rsa_matrix,
)

__all__ = [
    "CKAScores",
    "CentredMoments",
    "LinearCKA",
    "MEASURES",
    "MinibatchCKA",
    "MinibatchScores",
    "Moments",
    "NullTest",
    "RowSample",
    "batch_hsic",
    "cca",
    "cca_matrices",
    "cka_from_hsic",
    "cka_matrices",
    "hsic",
    "knn_matrix",
    "moments_of",
    "mutual_knn",
    "null_test",
    "procrustes_matrices",
    "r2_matrix",
    "rbf_cka",
    "rbf_cka_matrix",
    "rbf_kernel",
    "ridge_explained",
    "ridge_r2",
    "row_similarity",
    "rsa",
    "rsa_matrix",
    "shifted_gram",
    "similarity_matrices",
    "u_centred",
]
