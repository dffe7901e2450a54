"""What a model makes of one image under every subset of modalities, small enough for a page; pieces of images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.dissect.measures.dictionary import Element
from fusionzoo.dissect.measures.images import Chosen

__all__ = ["LEAST", "Example", "Exemplars", "Inside", "Shares", "StageView", "Sight", "Weight"]

LEAST = 0.1
"""Below this, 0..1, a change of a class's probability counts as none where pixels are counted or marked."""


@dataclass(frozen=True)
class Shares:
    """What each modality gives to the probability of one class at each pixel: Shapley values (h, w) float32, NaN where
    there is no class. The two add up to the probability with both minus that with neither."""

    rgb: NDArray[np.float32]
    x: NDArray[np.float32]

    @property
    def balance(self) -> NDArray[np.float32]:
        """rgb minus x, -1..1: that is the probability with rgb alone minus that with x alone."""
        return self.rgb - self.x

    @property
    def strength(self) -> NDArray[np.float32]:
        """|rgb| + |x|, 0..2: how much they matter at all."""
        return np.abs(self.rgb) + np.abs(self.x)

    @property
    def harmed(self) -> NDArray[np.bool_]:
        """Where a modality lowers the probability by LEAST or more: taken away it would rise. It is x where rgb speaks
        more, by `balance`, and rgb where x does."""
        return np.fmin(self.rgb, self.x) <= -LEAST


@dataclass(frozen=True)
class Weight:
    """What a fusion block weighs by, at one probe: 0..1, at its own size (h, w).

    Attributes:
        name: of the probe, within its stage. meaning: what it declares.
        values: float32 (h, w), the mean over channels; a weight that is of channels, not of places, is a row (1, C).
        mixture: whether it is the share of rgb, the rest being that of x.
        replaced: bool (h, w), where an exchange puts the other stream's value in place; None for all other weights.
    """

    name: str
    meaning: str
    values: NDArray[np.float32]
    mixture: bool = False
    replaced: NDArray[np.bool_] | None = None

    @property
    def of_channels(self) -> bool:
        return self.values.shape[0] == 1 and self.values.shape[1] > 1


@dataclass(frozen=True)
class StageView:
    """The features of a stage as colours, each (h, w, 3) uint8 at its own size, and what its block weighs by.

    Attributes:
        features: stream ("rgb", "x", "fused") -> picture. held: of each, the share of the variance that it shows.
        apart: streams whose colours are their own, since they have another number of channels than the others.
    """

    stage: int
    features: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    held: dict[str, float] = field(default_factory=dict)
    apart: list[str] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)


@dataclass(frozen=True)
class Sight:
    """Where each stream sees a concept, at the stage that sees it best.

    Attributes:
        mask: bool (h, w) at the size of the example, where the concept is. unknown: where nobody knows.
        margin: stream -> float32 (h, w), score of its detector minus the threshold from which it says yes, in standard
            deviations of the score over training positions.
        iou: stream -> set IoU of the detector on held-out images, 0..1.
    """

    concept: str
    stage: int
    mask: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    margin: dict[str, NDArray[np.float32]]
    iou: dict[str, float | None]


@dataclass(frozen=True)
class Inside:
    """What happens to one image inside the model, both modalities given."""

    stages: list[StageView] = field(default_factory=list)
    concepts: list[Sight] = field(default_factory=list)


@dataclass(frozen=True)
class Example:
    """One image, all at one size (h, w).

    Attributes:
        id: of the image. chosen: why it is looked at, and its accuracy; None where nobody chose it.
        rgb: uint8 (h, w, 3). x: float32 (Cx, h, w), raw, of kind `x_kind`. missing: bool (h, w), where x has no value.
        label: int64 (h, w), `ignore` where there is none; None for an image without any.
        predicted: condition ("both", "without_rgb", "without_x", "neither") -> int64 (h, w).
        predicted_class, true_class: the modality maps of the class predicted with both, and of the label.
        modalities: names of the two. absence: what stood for a modality that was taken away.
        palette: K colours, where the data have their own. inside: what the streams see; None where nobody looked.
    """

    id: str
    rgb: NDArray[np.uint8]
    x: NDArray[np.float32]
    missing: NDArray[np.bool_]
    predicted: dict[str, NDArray[np.int64]]
    predicted_class: Shares
    class_names: list[str]
    modalities: tuple[str, str]
    x_kind: str
    absence: str
    label: NDArray[np.int64] | None = None
    true_class: Shares | None = None
    ignore: int = 255
    palette: list[Any] = field(default_factory=list)
    chosen: Chosen | None = None
    inside: Inside | None = None


@dataclass(frozen=True)
class Exemplars:
    """One element at the places where its code is largest, P pieces of s x s pixels.

    Attributes:
        stage, number: of the element. element: what is known of it.
        rgb: uint8 (P, s, s, 3). x: float32 (P, Cx, s, s), raw, of kind `x_kind`. missing: bool (P, s, s).
        modalities: names of the two.
    """

    stage: int
    number: int
    element: Element
    rgb: NDArray[np.uint8]
    x: NDArray[np.float32]
    missing: NDArray[np.bool_]
    modalities: tuple[str, str]
    x_kind: str
