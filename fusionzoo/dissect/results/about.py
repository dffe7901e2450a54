"""What a dissection is of: which model, which images, by which protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from fusionzoo.tasks import SEGMENTATION

__all__ = ["FEWEST", "JUDGED_FROM", "DataInfo", "ModelInfo", "Protocol", "RunInfo"]

FEWEST = 4
"""Images that concepts need: each training half one, the held-out part two."""
JUDGED_FROM = 16
"""Images from which on the planted truth is judged: each role has four blocks of them. With fewer a good model may fail
to show a concept that hardly any image shows."""


@dataclass
class ModelInfo:
    """Which model: `source` is the folder or name it came from, "" for a model made in memory."""

    name: str
    architecture: str
    num_params: int
    modalities: list[str]
    source: str = ""


@dataclass
class DataInfo:
    """Which images. `size`: the (H, W) that the model saw. `concepts`: where each class is visible (planted data).
    `task`: what the scores are of, see `fusionzoo.tasks`."""

    name: str
    split: str
    n: int
    class_names: list[str]
    size: list[int]
    concepts: dict[str, str] = field(default_factory=dict)
    task: str = SEGMENTATION


@dataclass(frozen=True)
class Protocol:
    """How a dissection measures: all that its numbers depend on beside model, images and machine.

    Args:
        absence: what stands for a modality that is taken away: "mean", "zero", "permute", "noise" or "blur", see
            `fusionzoo.dissect.conditions`.
        concepts: "labels", the classes; "geometry", what depth and colour show, for data without labels: edges, and
            with `fusionzoo.data.WithGeometry(data, camera)` orientations too; "masks" that samples carry.
        metrics: some of `fusionzoo.dissect.dissection.names_asked`; None: all (of fewer than 4 images without
            "concepts", which need two halves to learn from and held-out images); fewer metrics, less work. Beside them
            "concept_contribution": what each modality gives to the concepts at the fused points; "dictionary": what the
            streams share and what each has alone, without labels.
        tau: share of activations above a channel's threshold; 0.005 is Net2Vec's, made for layers of hundreds of
            channels: C channels mark at most C tau of the positions. None takes raw activations (one pass less).
            The default was chosen on a trained MobileNet v1 0.25 hybrid (16 to 256 channels) and planted data: against
            0.005, the mean concept IoU of the streams rises from 22 to 36 and semantic variance from 7 to 12 times its
            noise floor; both find the truth.
        ridge: of the concept solve; between 1e-3 and 1e-1 hardly a number changes.
        reducer: of semantic variance, see `fusionzoo.metrics.semantic_variance`.
        block: neighbouring images that stay together when halves and jackknife groups are cut (video frames, one room).
        seed: of the order in which images lend each other modalities, and of "noise"; None: that of the data.
        positions: most positions of a map that are samples of view "pix".
    """

    absence: str = "mean"
    concepts: str = "labels"
    metrics: tuple[str, ...] | None = None
    tau: float | None = 0.05
    ridge: float = 1e-2
    reducer: str | Callable[[Tensor, Tensor], Tensor] = "mean_abs"
    block: int = 8
    seed: int | None = None
    positions: int = 1024


@dataclass
class RunInfo:
    """What came of the protocol in one run.

    `metrics`: what was measured. `grid`: (H, W) at which concept masks are compared, None without concepts. `block`,
    `seed`: those in use. `positions`: None where no position was a sample.
    """

    absence: str
    recipe: str
    tau: float | None
    versions: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    seconds: float = 0.0
    metrics: list[str] = field(default_factory=list)
    passes: int = 0
    grid: list[int] | None = None
    block: int = 1
    concepts: str = "labels"
    positions: int | None = None
