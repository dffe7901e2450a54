"""How modalities, stages and numbers are spelled in sentences, and from when on a difference counts. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

__all__ = [
    "ERRORS",
    "LEAST",
    "RECOGNISED",
    "SATURATED",
    "Finding",
    "at_stages",
    "apart",
    "measured",
    "modality",
    "points",
    "real",
    "words",
]

ERRORS = 3.0
"""A difference counts when it is larger than this many standard errors ..."""
LEAST = 0.005
"""... and larger than this (half a point of mIoU)."""
SATURATED = 0.5
"""Share of values at the ends of its declared range from which a probe is called saturated."""
RECOGNISED = 0.4
"""Below this IoU a class is not recognised well enough to say from what: guessing between two reaches a third."""


@dataclass(frozen=True)
class Finding:
    """One sentence. `level`: "info", "warn" (look at this) or "fail" (the check failed)."""

    level: str
    text: str

    def __post_init__(self) -> None:
        if self.level not in ("info", "warn", "fail"):
            raise ValueError(f"level {self.level!r} is not info, warn or fail")

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


def words(names: Iterable[str], most: int = 6) -> str:
    """A list for a sentence.

    >>> words(["a", "b", "c"]), words("abcdefgh", 3)
    ('a, b and c', 'a, b, c and 5 more')
    """
    items = list(names)
    if len(items) > most:
        return ", ".join(items[:most]) + f" and {len(items) - most} more"
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" and {items[-1]}"


def points(value: float) -> str:
    """A fraction in points with one decimal."""
    return f"{100 * value:.1f}".replace("-0.0", "0.0")


def modality(modalities: Sequence[str], stream: str) -> str:
    """How a modality is called in a sentence.

    >>> modality(["rgb", "depth"], "x"), modality(["rgb", "depth"], "rgb")
    ('depth', 'rgb')
    """
    return stream if stream == "rgb" else (modalities[1] if len(modalities) > 1 else "x")


def real(value: float | None, error: float | None, least: float = LEAST) -> bool:
    """Whether a difference is above its error; without a known error nothing is."""
    return value is not None and error is not None and value > max(ERRORS * error, least)


def at_stages(stages: Sequence[int]) -> str:
    return ("stage " if len(stages) == 1 else "stages ") + words(map(str, stages))


def measured(value: float | None, error: float | None) -> str:
    """Points with their error."""
    return points(value or 0.0) + ("" if error is None else f" +- {points(error)}")


def apart(*pair: tuple[float | None, float | None]) -> bool:
    """Whether two values with errors differ by more than ERRORS times both errors together: that allows for any
    correlation between them. Nothing differs without a known error."""
    (a, first), (b, second) = pair
    if a is None or b is None or first is None or second is None:
        return False
    return abs(a - b) > ERRORS * (first + second)
