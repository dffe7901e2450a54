"""What one run of a benchmark leaves: a typed result, one JSON file each, checked when it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusionzoo.bench.protocol import BenchProtocol
from fusionzoo.errors import InputError
from fusionzoo.files import atomic_write, dump_json, read_json
from fusionzoo.schema import encode, versioned
from fusionzoo.tasks import SEGMENTATION

__all__ = ["RunResult", "Score", "best_rate", "failed_rows", "final_results", "read_results", "select_scores"]

VERSION = 1


@dataclass(frozen=True)
class Score:
    """Scores under one condition: mean IoU, pixel accuracy (fractions), IoU of each class (None: not there).

    Of scene types balanced accuracy, accuracy and recalls stand under the same names (`fusionzoo.tasks`).
    """

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
        seconds: training time. class_names: order of `class_iou`. failed: why there are no scores; "" where there are.
        task: of the data.
        data, images: name of the data and number of scored images. labels: digest of the names of the images trained
            and tested on and of the labels of some, "" of drawn scenes and where an older version wrote the file.
        weights: digest of what the encoders started from; "" of random ones, and of an older version.
        command, versions, machine: how it was made.
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
    failed: str = ""
    task: str = SEGMENTATION
    labels: str = ""
    weights: str = ""
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
    """All results in `folder`, ordered by file name, under one protocol with the widest of their grids.

    Raises:
        InputError: a file that cannot be read, or results of another protocol than `protocol`, or of several; grids of
            learning rates may differ.
    """
    found = [RunResult.load(path) for path in sorted(folder.glob("*.json"))]
    protocols = [r.protocol for r in found] + ([protocol] if protocol is not None else [])
    if len({p.key for p in protocols}) > 1:
        raise InputError(f"{folder} holds results of another protocol; give a new --out folder for each protocol")
    rates = tuple(sorted({rate for p in protocols for rate in p.learning_rates}))
    return [replace(r, protocol=replace(r.protocol, learning_rates=rates)) for r in found]


def select_scores(results: Iterable[RunResult]) -> dict[str, dict[float, float]]:
    """Strategy -> learning rate -> mIoU of the run that tried it on the validation part; without failed runs."""
    scores: dict[str, dict[float, float]] = {}
    for result in results:
        if result.phase == "select" and not result.failed:
            scores.setdefault(result.strategy, {})[result.learning_rate] = result.scores["both"].miou
    return scores


def best_rate(scores: Mapping[float, float]) -> float:
    """The learning rate with the best score; the smaller of two equal ones.

    >>> best_rate({1e-3: 0.5, 3e-3: 0.6, 6e-3: 0.6})
    0.003
    """
    return max(scores, key=lambda rate: (scores[rate], -rate))


def final_results(results: Sequence[RunResult]) -> list[RunResult]:
    """The final runs at the learning rate that their strategy's validation scores choose (the smaller of two equal).

    A grid that was widened later may choose another rate than the one that a strategy's final runs had: those are left
    out, and those that failed. A strategy without validation runs keeps all.
    """
    return [r for r in _chosen(results) if not r.failed]


def failed_rows(results: Sequence[RunResult]) -> dict[str, str]:
    """Strategy -> why a final run of it has no scores, or the runs at all its learning rates."""
    scores = select_scores(results)
    final = [r for r in _chosen(results) if r.failed]
    select = [r for r in results if r.phase == "select" and r.strategy not in scores]
    return {r.strategy: f"{r.phase} run, seed {r.seed}, learning rate {r.learning_rate:g}: {r.failed}"
            for r in [*select, *final]}  # fmt: skip


def _chosen(results: Sequence[RunResult]) -> list[RunResult]:
    scores = select_scores(results)
    best = {name: best_rate(tried) for name, tried in scores.items()}
    return [r for r in results if r.phase == "final" and best.get(r.strategy, r.learning_rate) == r.learning_rate]
