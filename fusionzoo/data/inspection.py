"""What `fusionzoo.data.inspect` finds in a data set: the result, typed and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusionzoo.schema import encode

__all__ = ["Example", "Inspection", "Same", "SplitFacts", "Unreadable", "XFacts"]


@dataclass(frozen=True)
class XFacts:
    """The second input of a split.

    Attributes:
        unit: "m" for depth, else "" (0..255).
        low, high: of all valid values; None where no image has any.
        quantiles: 1, 25, 50, 75 and 99 % of valid values, of up to 2048 evenly spaced ones an image; or none.
        missing, most: mean and largest share of missing values an image.
        empty: ids of the images without any valid value.
    """

    unit: str
    low: float | None
    high: float | None
    quantiles: tuple[float, ...]
    missing: float
    most: float
    empty: list[str]


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be used, and why; the error names the file."""

    split: str
    id: str
    error: str


@dataclass(frozen=True)
class SplitFacts:
    """What was found in one split.

    Attributes:
        n: images, the unreadable ones included.
        sizes: "480x640" (height x width of rgb) -> images of that size.
        pixels: labelled pixels of each class. images: in how many images each class occurs.
        ignored: share of unlabelled pixels.
    """

    split: str
    n: int
    sizes: dict[str, int]
    x: XFacts
    pixels: list[int]
    images: list[int]
    ignored: float


@dataclass(frozen=True)
class Same:
    """Two images, (split, id) each, with equal pixels; or nearly so: `bits` of the 256 of a fingerprint differ."""

    first: tuple[str, str]
    second: tuple[str, str]
    bits: int = 0


@dataclass(frozen=True)
class Example:
    """One small image: rgb (h, w, 3) uint8; x (Cx, h, w) float32; missing (h, w) bool; label (h, w) uint8."""

    split: str
    id: str
    rgb: np.ndarray
    x: np.ndarray
    missing: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Inspection:
    """What `inspect` found.

    Attributes:
        facts: paper, licence, ... that a published data set states.
        palette: K colours, where the data set has its own.
        refused: split -> why it cannot be opened, where others can.
        equal: images of two splits, or twice in one, with equal pixels; with `near` also nearly equal ones of two.
        remarks: sentences about what may be wrong.
        examples: some images of each split; not part of `to_dict`.
    """

    name: str
    class_names: list[str]
    x_kind: str
    x_channels: int
    splits: list[SplitFacts]
    unreadable: list[Unreadable]
    refused: dict[str, str]
    equal: list[Same]
    remarks: list[str]
    facts: dict[str, str] = field(default_factory=dict)
    palette: list[tuple[int, int, int]] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether every split could be opened and every image be read."""
        return not self.unreadable and not self.refused

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = {k: encode(v) for k, v in vars(self).items() if k != "examples"}
        return {**values, "ok": self.ok}
