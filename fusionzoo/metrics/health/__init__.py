"""Health of channels, gates, mixtures and exchanges: dead or constant channels, saturation, effective rank."""

from __future__ import annotations

from fusionzoo.metrics.health.channels import (
    ChannelHealth,
    ChannelMean,
    HealthScores,
    effective_rank,
    participation_ratio,
)
from fusionzoo.metrics.health.gates import (
    ExchangeRatio,
    ExchangeScores,
    GateScores,
    GateStatistics,
    MixtureScores,
    MixtureStatistics,
)

__all__ = [
    "ChannelHealth",
    "ChannelMean",
    "ExchangeRatio",
    "ExchangeScores",
    "GateScores",
    "GateStatistics",
    "HealthScores",
    "MixtureScores",
    "MixtureStatistics",
    "effective_rank",
    "participation_ratio",
]
