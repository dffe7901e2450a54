"""What a dissection found: plain dataclasses with a JSON form. Needs no torch, so that reports can be made anywhere.

IoU, mIoU and accuracies are fractions 0..1. A value that does not exist (a class that no image shows, a stream that the
model lacks) is None, in JSON null; NaN never stands in a file. `Dissection.to_dict` gives the schema,
`Dissection.from_dict` reads it back and refuses keys it does not know.

Rule of the format: within one `format_version` fields are only added, with a default that says "not measured", so that
every older file of that version still loads; a field that changes its meaning raises the version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fusionzoo.dissect.effects import FORMAT_VERSION, Effects, Stored
from fusionzoo.dissect.parts import (
    CKAValue,
    CKAViews,
    CommonalityShares,
    ConceptAgreement,
    Estimate,
    GateHealth,
    Measured,
    PairMatrix,
    PairSimilarity,
    ProbeHealth,
)

__all__ = [
    "FEWEST",
    "FORMAT_VERSION",
    "STREAMS",
    "CKAValue",
    "CKAViews",
    "Checkpoint",
    "CommonalityShares",
    "ConceptAgreement",
    "Contribution",
    "DataInfo",
    "Dissection",
    "Drop",
    "Estimate",
    "Evolution",
    "GateHealth",
    "Level",
    "Measured",
    "ModelInfo",
    "PairMatrix",
    "PairSimilarity",
    "Planted",
    "PlantedRow",
    "ProbeHealth",
    "Protocol",
    "Segmentation",
    "Variance",
]

FEWEST = 4
"""Images that concepts need: each training half one, the held-out part two."""
STREAMS = ("rgb", "x", "fused")
"""The three representations of a level, in the order of every table."""


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
    """Which images. `size`: the (H, W) that the model saw. `concepts`: where each class is visible (planted data)."""

    name: str
    split: str
    n: int
    class_names: list[str]
    size: list[int]
    concepts: dict[str, str] = field(default_factory=dict)


@dataclass
class Protocol:
    """How the numbers were made. `absence`: what stands for a missing modality (`fusionzoo.dissect.conditions`).

    `tau`: share of activations above the binarisation threshold, None for raw activations. `grid`: (H, W) at which
    concept masks are compared, None without concepts. `block`: neighbouring images that stay together when halves and
    jackknife groups are cut. `concepts`: what concepts are: "labels" (the classes) or "geometry". `positions`: of a
    map, at most so many evenly spaced positions are samples of view "pix"; None: all.
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


@dataclass
class Drop(Estimate):
    """What is lost: both modalities minus this condition."""


@dataclass
class Segmentation:
    """Scores of one condition ("both", "no_rgb", "no_x", "none": no modality at all).

    `iou` per class: None where label and prediction lack it.
    """

    miou: float | None
    pixel_accuracy: float | None
    iou: list[float | None]
    drop: Drop | None = None


@dataclass
class Contribution:
    """What each modality gives to the score. V(S): the score with the modalities S present, the others absent.

    Attributes:
        absence: what stands for an absent modality.
        values: V of "both", "rgb" (x absent), "x" (rgb absent), "none".
        shapley: "rgb", "x": (V(own) - V(none) + V(both) - V(other)) / 2; the two add up to V(both) - V(none).
        interaction: V(both) - V(rgb) - V(x) + V(none): above 0 they help each other, below 0 they give the same thing.
        perceptual: "rgb", "x": share of V(both) that is lost when that modality comes from another image; per class
            likewise. Empty with fewer than two images.
        concepts: level -> "rgb", "x", "interaction": the same of the concepts' set IoU at the fused representation
            (`miou` is then the mean over concepts). Empty unless asked for.
    """

    absence: str
    values: dict[str, Estimate]
    shapley: dict[str, Estimate]
    interaction: Estimate
    perceptual: dict[str, Estimate] = field(default_factory=dict)
    concepts: dict[str, dict[str, Estimate]] = field(default_factory=dict)


@dataclass
class Variance:
    """Semantic variance of a pair of representations.

    `error`: jackknife standard error over groups of held-out images. `interval`: 95 %, value -+ 1.96 errors.
    `floor`: what one and the same representation shows between weights solved on two disjoint halves of the training
    images (the larger of the pair's two). A value at or below the floor is no signal: see `signal`.
    """

    value: float | None
    reducer: str
    floor: float | None = None
    error: float | None = None
    interval: list[float] | None = None

    @property
    def signal(self) -> bool:
        """Whether the value stands above its noise floor (False where either is unknown)."""
        return self.value is not None and self.floor is not None and self.value > self.floor


@dataclass
class Level:
    """One level. Keys of `points` and of the concept tables: "rgb", "x", "fused", as far as the model has them.

    `semantic_variance` has the keys "rgb_x", "rgb_fused", "x_fused" where both ends exist. `concept_error` is the
    jackknife standard error of `concept_iou`, `concept_floor` the same-representation difference per concept.
    `unit_iou`: per concept, the best set IoU of one channel alone, on the training images at the map's own size; empty
    for raw activations. `concept_channels`: with how few channels a detector reaches 90 % of its R2 (a power of two, or
    all of them; None: it has none). `concept_correlation`: pair -> per concept, correlation of the two detectors'
    scores on held-out images: the cosine of the two concept vectors under the data's covariance.
    `similarity`: pair ("rgb_x", "rgb_fused", "x_fused") -> view ("gap", "pix") -> measures. `commonality`: view ->
    shares of the fused variance.
    """

    level: int
    points: dict[str, str]
    cka: CKAViews = field(default_factory=CKAViews)
    semantic_variance: dict[str, Variance] = field(default_factory=dict)
    concept_iou: dict[str, list[float | None]] = field(default_factory=dict)
    concept_error: dict[str, list[float | None]] = field(default_factory=dict)
    concept_floor: dict[str, list[float | None]] = field(default_factory=dict)
    unit_iou: dict[str, list[float | None]] = field(default_factory=dict)
    concept_channels: dict[str, list[int | None]] = field(default_factory=dict)
    concept_correlation: dict[str, list[float | None]] = field(default_factory=dict)
    similarity: dict[str, dict[str, PairSimilarity]] = field(default_factory=dict)
    commonality: dict[str, CommonalityShares] = field(default_factory=dict)
    agreement: ConceptAgreement | None = None

    def numbers(self) -> dict[str, Measured]:
        """The numbers that are followed over levels and over training, as far as they were measured.

        "cka gap", "cka pix", "angular pix" of rgb and x; "unique_rgb", "unique_x", "redundant" of the fused variance
        (positions as samples); "semantic variance" and its "floor"; how many concepts are "consistent",
        "rgb-specific", "x-specific".
        """
        found: dict[str, Measured] = {}
        for view, pair in self.similarity.get("rgb_x", {}).items():
            found[f"cka {view}"] = pair.cka
            if view == "pix":
                found["angular pix"] = pair.angular
        if "pix" in self.commonality:
            shares = self.commonality["pix"]
            found |= {n: getattr(shares, n) for n in ("unique_rgb", "unique_x", "redundant")}
        if "rgb_x" in self.semantic_variance:
            variance = self.semantic_variance["rgb_x"]
            found |= {"semantic variance": Measured(variance.value, variance.error), "floor": Measured(variance.floor)}
        if self.agreement is not None:
            lists = {"consistent": self.agreement.consistent, "rgb-specific": self.agreement.rgb}
            lists["x-specific"] = self.agreement.x
            found |= {name: Measured(float(len(names))) for name, names in lists.items()}
        return found


@dataclass
class PlantedRow:
    """One planted concept: the best set IoU over levels in each stream, the level of the best of all, the verdict."""

    concept: str
    kind: str
    rgb: float | None
    x: float | None
    fused: float | None
    level: int | None
    found: bool


@dataclass
class Planted:
    """Whether the dissection finds what was planted; the rule is in `fusionzoo.dissect.measures.planted`."""

    rows: list[PlantedRow]
    found: bool


@dataclass
class Dissection(Stored):
    """The whole result of `fusionzoo.dissect`.

    `concept_names` are the rows of every concept table; empty: the class names. `effects`: what causal tracing and
    robustness found, see `fusionzoo.dissect.effects`.

    >>> d = Dissection(
    ...     model=ModelInfo("m", "sum_toy", 1, ["rgb", "depth"]),
    ...     data=DataInfo("planted", "test", 2, ["wall", "rug"], [8, 8]),
    ...     protocol=Protocol("mean", "fast", 0.005),
    ...     segmentation={"both": Segmentation(0.5, 0.75, [0.5, None])},
    ... )
    >>> Dissection.from_dict(d.to_dict()) == d
    True
    >>> bad = d.to_dict()
    >>> bad["levles"] = bad.pop("levels")
    >>> Dissection.from_dict(bad)
    Traceback (most recent call last):
    ...
    fusionzoo.errors.InputError: dissection: unknown field 'levles'; did you mean 'levels'?
    """

    model: ModelInfo
    data: DataInfo
    protocol: Protocol
    segmentation: dict[str, Segmentation] = field(default_factory=dict)
    levels: list[Level] = field(default_factory=list)
    probes: list[ProbeHealth] = field(default_factory=list)
    planted: Planted | None = None
    contribution: Contribution | None = None
    matrices: list[PairMatrix] = field(default_factory=list)
    concept_names: list[str] = field(default_factory=list)
    effects: Effects | None = None
    format_version: int = FORMAT_VERSION

    def over_levels(self) -> dict[str, list[Measured]]:
        """Each of `Level.numbers` as a curve over `levels`."""
        return _curves([level.numbers() for level in self.levels])


@dataclass
class Checkpoint:
    """One checkpoint of an `Evolution`: what a Dissection has, without what is the same for all checkpoints.

    `step`, `epoch`: where in the training it was taken, None where not known.
    """

    name: str
    step: int | None = None
    epoch: float | None = None
    segmentation: dict[str, Segmentation] = field(default_factory=dict)
    contribution: Contribution | None = None
    levels: list[Level] = field(default_factory=list)
    probes: list[ProbeHealth] = field(default_factory=list)
    planted: Planted | None = None


@dataclass
class Evolution(Stored):
    """How one model changes over its training: checkpoints in the order of training, on the same images.

    `curve` gives one number over the checkpoints:

    >>> made = Evolution(ModelInfo("m", "a", 1, ["rgb", "depth"]), DataInfo("d", "test", 1, ["wall"], [8, 8]),
    ...     Protocol("mean", "fast", 0.05), [Checkpoint("e1", epoch=1.0), Checkpoint("e2", epoch=2.0)])
    >>> made.curve(lambda c: c.epoch), Evolution.from_dict(made.to_dict()) == made
    ([1.0, 2.0], True)
    """

    model: ModelInfo
    data: DataInfo
    protocol: Protocol
    checkpoints: list[Checkpoint]
    concept_names: list[str] = field(default_factory=list)
    format_version: int = FORMAT_VERSION

    def curves(self) -> dict[str, list[Measured]]:
        """Curves over the checkpoints: "miou", "miou no_x", ...; "shapley rgb", "perceptual x", "interaction"; and
        each of `Level.numbers` as "stage 3 cka gap"."""
        return _curves([_of_checkpoint(checkpoint) for checkpoint in self.checkpoints])

    def curve(self, number: Callable[[Checkpoint], float | None]) -> list[float | None]:
        """`number` of every checkpoint, in their order."""
        return [number(checkpoint) for checkpoint in self.checkpoints]


def _curves(rows: Sequence[dict[str, Measured]]) -> dict[str, list[Measured]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name, Measured(None)) for row in rows] for name in names}


def _of_checkpoint(checkpoint: Checkpoint) -> dict[str, Measured]:
    found = {}
    for condition, part in checkpoint.segmentation.items():
        found["miou" if condition == "both" else f"miou {condition}"] = Measured(part.miou)
    if checkpoint.contribution is not None:
        made = checkpoint.contribution
        parts = {f"shapley {s}": e for s, e in made.shapley.items()} | {"interaction": made.interaction}
        parts |= {f"perceptual {s}": e for s, e in made.perceptual.items()}
        found |= {name: Measured(e.miou, e.miou_error) for name, e in parts.items()}
    for level in checkpoint.levels:
        found |= {f"stage {level.level} {name}": number for name, number in level.numbers().items()}
    return found
