"""How modalities, stages and numbers are spelled in sentences, and from when on a difference counts. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "ERRORS",
    "EVIDENCE",
    "LEAST",
    "RECOGNISED",
    "SATURATED",
    "Finding",
    "at_stages",
    "inputs",
    "apart",
    "measured",
    "modality",
    "once",
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


EVIDENCE = ("intervention", "concepts", "distribution")
"""Kinds of evidence, the strongest first: a modality, a feature or an image was changed and the prediction looked at;
concepts were read from the features; the features' values were compared."""


@dataclass(frozen=True)
class Finding:
    """One sentence.

    Attributes:
        level: "info", "warn" (look at this) or "fail" (the check failed).
        text: the sentence.
        claim: what it is about; of the findings of one claim only that of the strongest evidence is stated. "": a
            statement by itself.
        measure: what was measured. evidence: of which kind it is, one of EVIDENCE; both "" where nothing of the model
            was measured (its files, the number of images).
        first: it stands in front; the others are shown on request, warnings and failures always.
    """

    level: str
    text: str
    claim: str = ""
    measure: str = ""
    evidence: str = ""
    first: bool = False

    def __post_init__(self) -> None:
        if self.level not in ("info", "warn", "fail"):
            raise ValueError(f"level {self.level!r} is not info, warn or fail")
        if self.evidence not in ("", *EVIDENCE):
            raise ValueError(f"evidence {self.evidence!r} is not one of {', '.join(EVIDENCE)}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def once(findings: Iterable[Finding]) -> list[Finding]:
    """Each claim once, by its strongest evidence (the first of equals), at the place where it came first; those that
    stand in front before the others.

    >>> weak, strong = (Finding("info", t, "where", t, e) for t, e in (("CKA", EVIDENCE[2]), ("trace", EVIDENCE[0])))
    >>> [f.text for f in once([weak, Finding("info", "a"), strong, Finding("info", "b")])]
    ['trace', 'a', 'b']
    """
    order = (*EVIDENCE, "")
    kept: dict[str | int, Finding] = {}
    for i, finding in enumerate(findings):
        key = finding.claim or i
        if key not in kept or order.index(finding.evidence) < order.index(kept[key].evidence):
            kept[key] = finding
    return sorted(kept.values(), key=lambda finding: not finding.first)


def words(names: Iterable[str], most: int = 6, joint: str = "and") -> str:
    """A list for a sentence.

    >>> words(["a", "b", "c"]), words("abcdefgh", 3)
    ('a, b and c', 'a, b, c and 5 more')
    """
    items = list(names)
    if len(items) > most:
        return ", ".join(items[:most]) + f" and {len(items) - most} more"
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + f" {joint} {items[-1]}"


def points(value: float) -> str:
    """A fraction in points with one decimal."""
    return f"{100 * value:.1f}".replace("-0.0", "0.0")


def modality(modalities: Sequence[str], stream: str) -> str:
    """How a modality is called in a sentence.

    >>> modality(["rgb", "depth"], "x"), modality(["rgb", "depth"], "rgb")
    ('depth', 'rgb')
    >>> modality(["rgb", "depth", "thermal"], "thermal"), modality(["rgb", "depth", "thermal"], "x")
    ('thermal', 'the others')
    """
    if stream != "x":
        return stream
    return "the others" if len(modalities) > 2 else modalities[1] if len(modalities) > 1 else "x"


def inputs(modalities: Sequence[str]) -> tuple[str, ...]:
    """What can be taken away: rgb and x, or of several modalities each by its name, as in the results.

    >>> inputs(["rgb", "depth"]), inputs(["rgb", "depth", "thermal"])
    (('rgb', 'x'), ('rgb', 'depth', 'thermal'))
    """
    return ("rgb", "x") if len(modalities) < 3 else tuple(modalities)


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
