"""Fair benchmark of fusion strategies: one protocol, only the fusion changes; ranked with paired intervals."""

from __future__ import annotations

from fusionzoo.bench.protocol import PROTOCOLS, BenchProtocol, read_protocol
from fusionzoo.bench.rank import Row, rank
from fusionzoo.bench.results import RunResult, Score, read_results
from fusionzoo.bench.run import bench

__all__ = ["PROTOCOLS", "BenchProtocol", "Row", "RunResult", "Score", "bench", "rank", "read_protocol", "read_results"]
