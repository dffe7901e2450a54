"""Fair benchmark of fusion strategies: one protocol, only the fusion changes; ranked with paired intervals."""

from __future__ import annotations

import inspect
import sys
from types import ModuleType

from fusionzoo.bench.protocol import PROTOCOLS, BenchProtocol, protocol_for, read_protocol
from fusionzoo.bench.rank import Row, rank
from fusionzoo.bench.results import RunResult, Score, final_results, read_results
from fusionzoo.bench.run import bench

__all__ = [
    "PROTOCOLS", "BenchProtocol", "Row", "RunResult", "Score", "bench", "final_results", "protocol_for", "rank",
    "read_protocol", "read_results",
]  # fmt: skip


class _Package(ModuleType):
    """`fusionzoo.bench(...)` calls the function, as `fusionzoo.dissect` does: the package has its name."""

    __call__ = staticmethod(bench)
    __signature__ = property(lambda self: inspect.signature(bench))


sys.modules[__name__].__class__ = _Package
