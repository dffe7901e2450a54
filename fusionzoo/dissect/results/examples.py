"""What a model makes of one image under every subset of modalities, small enough for a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.dissect.measures.images import Chosen

__all__ = ["Example", "Shares"]


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
        palette: K colours, where the data have their own.
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
