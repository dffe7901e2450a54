"""Pieces of images that show an element of a dictionary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionzoo.dissect.measures.dictionary import Element

__all__ = ["Exemplars"]


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
