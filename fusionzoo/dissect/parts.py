"""The parts of a dissection's result: see results.py. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "CKAValue",
    "CKAViews",
    "CommonalityShares",
    "ConceptAgreement",
    "Estimate",
    "GateHealth",
    "Measured",
    "PairMatrix",
    "PairSimilarity",
    "ProbeHealth",
]


@dataclass
class Measured:
    """One number and its jackknife standard error over image groups (None: not known, never zero)."""

    value: float | None
    error: float | None = None


@dataclass
class Estimate:
    """A score for all classes together (mIoU) and for each class (IoU), with jackknife standard errors."""

    miou: float | None
    miou_error: float | None
    iou: list[float | None]
    iou_error: list[float | None]


@dataclass
class CKAValue:
    """Linear CKA between the rgb and the x representation of a level over `n` samples of the view."""

    unbiased: float | None
    biased: float | None
    n: int


@dataclass
class CKAViews:
    """`gap`: a sample is an image (channels averaged over positions); `pix`: a sample is a position."""

    gap: CKAValue | None = None
    pix: CKAValue | None = None


@dataclass
class PairSimilarity:
    """How alike two representations A and B of a level are, in one view, by several measures; None: not defined.

    Attributes:
        n: samples: images ("gap") or positions ("pix").
        cka: unbiased linear CKA, at most 1; can be negative.
        angular: Procrustes angle, 0 (equal up to rotation and scale) to pi/2.
        svcca: mean canonical correlation of the directions that hold 99 % of the variance, 0 to 1.
        rcca: mean regularised canonical correlation, 0 to 1.
        predicts: R2 of B from A by a linear map. predicted: R2 of A from B.
    """

    n: int
    cka: Measured
    angular: Measured
    svcca: Measured
    rcca: Measured
    predicts: Measured
    predicted: Measured


@dataclass
class CommonalityShares:
    """What the fused representation takes from each modality: shares of its variance, which add up to 1.

    `unique_rgb`: explained by rgb and not by x; `unique_x`; `redundant`: by either (below 0: only together);
    `rest`: by no linear map of both. `adjusted`: R2 are corrected for the number of channels.
    """

    n: int
    unique_rgb: Measured
    unique_x: Measured
    redundant: Measured
    rest: Measured
    adjusted: bool = True


@dataclass
class ConceptAgreement:
    """Which concepts the two streams of a level share; each in one list at most.

    The rule is in `fusionzoo.dissect.measures.specificity`.

    Attributes:
        consistent: encoded by both streams alike. (A concept that no held-out image shows is in no list.)
        rgb, x: specific to that stream.
        undecided: encoded, but errors and noise do not tell which of the above.
        unencoded: no better than chance in either stream.
        gained: the fused representation encodes it better than either stream. lost: worse than the better stream.
        difference: per concept, IoU of rgb minus IoU of x, and its jackknife standard error.
        chance: per concept, the set IoU of marking every position.
    """

    consistent: list[str]
    rgb: list[str]
    x: list[str]
    undecided: list[str] = field(default_factory=list)
    unencoded: list[str] = field(default_factory=list)
    gained: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    difference: list[Measured] = field(default_factory=list)
    chance: list[float | None] = field(default_factory=list)


@dataclass
class PairMatrix:
    """One measure between all pairs of probe points, across modalities and levels.

    `values[i][j]` is for `points[i]`, `points[j]`; `names` say what they are ("stage 3 rgb"). `channels`: sets with
    more channels were projected at random onto so many directions (None: none was). `p`: share of permutations of the
    images (of a sample of them) that are at least as similar, the real order counted; `bound`: what 95 % of the
    permutations do not exceed. Both empty where no permutation was made.
    """

    measure: str
    view: str
    n: int
    points: list[str]
    names: list[str]
    values: list[list[float | None]]
    channels: int | None = None
    p: list[list[float | None]] = field(default_factory=list)
    bound: list[list[float | None]] = field(default_factory=list)


@dataclass
class GateHealth:
    """How a gate behaves, its range scaled to 0..1.

    Attributes:
        entropy: mean binary entropy in bits: 0 it decides, 1 it halves.
        shut, open: share of values within 1 % of the range from an end.
        by_channel, by_image, by_position: shares of its variance, adding up to 1; None for a gate that never varies.
            One that varies by channel alone ignores its input.
    """

    entropy: float | None
    shut: float | None
    open: float | None
    by_channel: float | None
    by_image: float | None
    by_position: float | None


@dataclass
class ProbeHealth:
    """Health of one probe point.

    `dead`: channels that never vary. `saturated`: share of values at a declared bound, None where none is declared.
    `gate`: of probes with the role "gate".
    """

    name: str
    channels: int
    dead: int
    mean: float | None
    std: float | None
    effective_rank: float | None
    saturated: float | None = None
    modality: str = ""
    role: str = ""
    gate: GateHealth | None = None
