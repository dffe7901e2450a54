"""Fair benchmark of fusion strategies: one protocol, only the fusion changes; ranked with paired intervals."""

from __future__ import annotations

from fusionzoo.bench.protocol import PROTOCOLS, BenchProtocol, protocol_for, read_protocol
from fusionzoo.bench.rank import Row, rank
from fusionzoo.bench.results import RunResult, Score, failed_rows, final_results, read_results
from fusionzoo.bench.run import bench
from fusionzoo.packages import callable_as

__all__ = [
    "PROTOCOLS", "BenchProtocol", "Row", "RunResult", "Score", "bench", "failed_rows", "final_results", "protocol_for",
    "rank", "read_protocol", "read_results",
]  # fmt: skip

callable_as(__name__, bench)
