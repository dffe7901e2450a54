"""Former import paths of the metrics: they still give the same thing, and say where it lives now."""

from __future__ import annotations

import importlib

import pytest

from fusionzoo import metrics
from fusionzoo.metrics import _moved as moved
from fusionzoo.metrics import stats

FORMER = {
    "concepts": (
        "AgreementScores ConceptFit ConceptRoles ConceptScores ConceptWeights LogisticFit RECIPES REDUCERS "
        "UnitScores VarianceScore area_masks compare_curves fit_logistic "
        "fused_roles grid_masks minimum_channels stack_weights"
    ),
    "similarity": (
        "CKAScores CentredMoments MEASURES MinibatchScores NullTest cca_matrices cka_matrices knn_matrix "
        "moments_of procrustes_matrices r2_matrix rbf_cka_matrix row_similarity rsa_matrix"
    ),
    "cooperation": ("Commonality Contribution Estimate perceptual_score retention"),
    "health": ("ExchangeScores GateScores HealthScores MixtureScores"),
    "stats": ("Interval"),
    "segmentation": ("SegmentationScores"),
}
"""Domain -> names of it on the face of release 0.1."""


@pytest.mark.parametrize(("domain", "name"), [(domain, n) for domain, names in FORMER.items() for n in names.split()])
def test_a_name_of_the_former_face(domain: str, name: str) -> None:
    place = importlib.import_module(f"fusionzoo.metrics.{domain}")
    with pytest.warns(FutureWarning, match=f"import it from fusionzoo.metrics.{domain}$"):
        found = getattr(metrics, name)
    assert found is getattr(place, name) and name in place.__all__ and name not in metrics.__all__


@pytest.mark.parametrize("old", moved.MODULES)
def test_a_former_module(old: str) -> None:
    now = importlib.import_module(f"fusionzoo.metrics.{moved.MODULES[old]}")
    former = importlib.import_module(f"fusionzoo.metrics.{old}")
    for name in now.__all__:
        with pytest.warns(FutureWarning, match=f"fusionzoo.metrics.{moved.MODULES[old]}$"):
            assert getattr(former, name) is getattr(now, name)
    with pytest.raises(AttributeError), pytest.warns(FutureWarning):
        _ = former.no_such_name


def test_spearman_moved_to_another_file_than_its_neighbours() -> None:
    with pytest.warns(FutureWarning, match="fusionzoo.metrics.stats$"):
        from fusionzoo.metrics.rows import spearman
    assert spearman is stats.spearman


def test_the_face_is_small_and_every_domain_names_what_it_defines() -> None:
    assert len(metrics.__all__) <= 45
    for domain in moved.DOMAINS:
        face = importlib.import_module(f"fusionzoo.metrics.{domain}")
        assert all(getattr(face, name).__module__.startswith(face.__name__) for name in face.__all__
                   if hasattr(getattr(face, name), "__module__"))  # fmt: skip
