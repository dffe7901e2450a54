"""Metrics: pure functions and mergeable fixed-size accumulators over tensors; no model, no data, no file.

The names below are the face. Everything else lies in the domain that it belongs to: `fusionzoo.metrics.stats`,
`.segmentation`, `.saliency`, `.similarity`, `.concepts`, `.cooperation`, `.health`; `catalogue()` describes every
metric. Names and modules of former releases still import from here, with a warning that says where they live now.
"""

from __future__ import annotations

import sys
from typing import Any

from fusionzoo.metrics._moved import MODULES, MovedModule, domain_of, moved
from fusionzoo.metrics.base import Accumulator, MetricInfo
from fusionzoo.metrics.catalogue import catalogue
from fusionzoo.metrics.concepts import (
    ConceptAgreement,
    ConceptCurve,
    ConceptStatistics,
    LogisticStep,
    UnitDissection,
    concept_masks,
    concept_roles,
    fit_concepts,
    net2vec_2018,
    semantic_variance,
)
from fusionzoo.metrics.cooperation import (
    commonality,
    contribution,
    interactions,
    modality_map,
    perceptual_scores,
    shapley,
)
from fusionzoo.metrics.health import (
    ChannelHealth,
    ExchangeRatio,
    GateStatistics,
    MixtureStatistics,
    effective_rank,
    participation_ratio,
)
from fusionzoo.metrics.saliency import SaliencyMeasures
from fusionzoo.metrics.segmentation import ConfusionMatrix
from fusionzoo.metrics.similarity import (
    LinearCKA,
    MinibatchCKA,
    Moments,
    RowSample,
    cca,
    mutual_knn,
    null_test,
    rbf_cka,
    rsa,
    similarity_matrices,
)
from fusionzoo.metrics.stats import Grouped, Quantiles, bootstrap, jackknife, spearman

__all__ = [
    "Accumulator",
    "ChannelHealth",
    "ConceptAgreement",
    "ConceptCurve",
    "ConceptStatistics",
    "ConfusionMatrix",
    "ExchangeRatio",
    "GateStatistics",
    "Grouped",
    "LinearCKA",
    "LogisticStep",
    "MetricInfo",
    "MinibatchCKA",
    "MixtureStatistics",
    "Moments",
    "Quantiles",
    "RowSample",
    "SaliencyMeasures",
    "UnitDissection",
    "bootstrap",
    "catalogue",
    "cca",
    "commonality",
    "concept_masks",
    "concept_roles",
    "contribution",
    "effective_rank",
    "fit_concepts",
    "interactions",
    "jackknife",
    "modality_map",
    "mutual_knn",
    "net2vec_2018",
    "null_test",
    "participation_ratio",
    "perceptual_scores",
    "rbf_cka",
    "rsa",
    "semantic_variance",
    "shapley",
    "similarity_matrices",
    "spearman",
]

for _old in MODULES:
    sys.modules.setdefault(f"{__name__}.{_old}", MovedModule(_old))


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return sys.modules[f"{__name__}.{name}"]
    domain = None if name.startswith("_") else domain_of(name)
    if domain is not None:
        return moved(f"fusionzoo.metrics.{name}", domain, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
