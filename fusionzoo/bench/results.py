"""What one run of a benchmark leaves: a typed result, one JSON file each, checked when it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionzoo.bench.protocol import BenchProtocol
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write, dump_json, read_json
from fusionzoo.schema import encode, versioned

__all__ = ["RunResult", "Score", "read_results"]

VERSION = 1


@dataclass(frozen=True)
class Score:
    """Segmentation under one condition: mean IoU, pixel accuracy (fractions), IoU of each class (None: not there)."""

    miou: float
    pixel_accuracy: float
    class_iou: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class RunResult:
    """One trained and tested model.

    Attributes:
        protocol: what it shares with the other rows. strategy, options: what is its own (`fusion_args`, `rule`, ...).
        phase: "select" (scores on `select_on`) or "final" (scores on `test_split`).
        seed, learning_rate: of the run.
        scores: condition -> score; "both" always, further ones in final runs only.
        num_params: learnable numbers. gmacs: 10^9 multiply-accumulates of one image at the test size.
        peak_mb, latency_ms, latency_ratio: as of `fusionzoo.bench.cost.Cost`, beside `concat`; final runs only.
        figures: of the dissection, see `fusionzoo.bench.figures`; final runs only.
        seconds: training time. best: validation mIoU, None in final runs. class_names: order of `class_iou`.
        data, images: name of the data and number of scored images. command, versions, machine: how it was made.
    """

    protocol: BenchProtocol
    strategy: str
    phase: str
    seed: int
    learning_rate: float
    scores: dict[str, Score]
    num_params: int
    gmacs: float
    seconds: float
    data: str
    images: int
    class_names: list[str]
    concepts: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    peak_mb: float | None = None
    latency_ms: float | None = None
    latency_ratio: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    format_version: int = VERSION

    def save(self, path: Path) -> None:
        """Writes the file, all or nothing."""
        atomic_write(path, dump_json(encode(self, nan_to_none=True), indent=1))

    @classmethod
    def load(cls, path: Path) -> RunResult:
        """Reads and checks the file; InputError names what is wrong."""
        return versioned(cls, read_json(path), str(path), VERSION)


def read_results(folder: Path, protocol: BenchProtocol | None = None) -> list[RunResult]:
    """All results in `folder`, ordered by file name.

    Raises:
        InputError: a file that cannot be read, or results of another protocol than `protocol`, or of several.
    """
    found = [RunResult.load(path) for path in sorted(folder.glob("*.json"))]
    keys = {r.protocol.key for r in found} | ({protocol.key} if protocol is not None else set())
    if len(keys) > 1:
        raise InputError(f"{folder} holds results of another protocol; give a new --out folder for each protocol")
    return found
