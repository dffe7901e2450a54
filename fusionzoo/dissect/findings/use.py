"""Whether the model uses both modalities, and what each gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.scores import Drop
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import ERRORS, Finding, apart, inputs, measured, modality, points, real, words

__all__ = ["USED", "Use", "answer", "called", "contribution", "drops", "uses"]

ABSENT = {
    "mean": "its mean",
    "zero": "zeros",
    "permute": "that of another image",
    "noise": "noise of its mean and deviation",
    "blur": "a blurred copy of itself",
}
"""What stands for an absent modality, in words."""
USED = ("helps", "some", "harms")
"""Kinds of use that are measured."""
TELLING = 0.03
"""That no use is measurable is said where a use of so much mIoU would have been seen; else it cannot be told."""
CLASS_ERRORS, CLASS_LEAST = 4.0, 0.05
"""A single class shows use where the mIoU does not, from so many errors and so much IoU on: there are many classes."""
_SCORES = ("mIoU with and without each modality", "intervention")


def called(d: Dissection, stream: str) -> str:
    return modality(d.model.modalities, stream)


@dataclass(frozen=True)
class Use:
    """What the prediction loses without one modality.

    `kind`: "helps" or "harms" (the mIoU is lower or higher without it), "some" (not measurably, but a class changes),
    "idle" (no use is measurable), "open" (too uncertain to tell), "unchanged" (every score is the same without it),
    "unread" (so, in a model without a stream for it).
    """

    stream: str
    name: str
    drop: Drop
    kind: str

    def change(self, name: str | None = None) -> str:
        """The mIoU without it, against that with all: "12.3 +- 1.9 less without rgb"."""
        if self.kind == "unchanged":
            return f"exactly the same without {name or self.name}"
        value, error = self.drop.miou or 0.0, self.drop.miou_error
        unknown = " (error unknown)" if error is None else ""
        return f"{measured(abs(value), error)} {'less' if value >= 0 else 'more'} without {name or self.name}{unknown}"


def drops(d: Dissection) -> dict[str, Drop]:
    """What can be taken away -> what is lost without it, all others being there; of what was taken away."""
    parts = {name: d.segmentation.get(Condition.without(name)) for name in inputs(d.model.modalities)}
    return {s: p.drop for s, p in parts.items() if p is not None and p.drop is not None and p.drop.miou is not None}


def uses(d: Dissection) -> dict[str, Use]:
    """Stream -> what is lost without it, of two modalities."""
    return {s: Use(s, called(d, s), drop, _kind(d, drop, s)) for s, drop in drops(d).items() if s in ("rgb", "x")}


def _kind(d: Dissection, drop: Drop, stream: str) -> str:
    value, error = drop.miou or 0.0, drop.miou_error
    if value == 0 and not error and not any(drop.iou):
        has = any(stream in stage.points or "fused" in stage.points for stage in d.rows)
        return "unchanged" if has else "unread"
    if real(abs(value), error):
        return "helps" if value > 0 else "harms"
    known = [(abs(v), e) for v, e in zip(drop.iou, drop.iou_error, strict=True) if v is not None and e is not None]
    if any(v > max(CLASS_ERRORS * e, CLASS_LEAST) for v, e in known):
        return "some"
    return "idle" if error is not None and abs(value) + ERRORS * error <= TELLING else "open"


def answer(d: Dissection) -> list[Finding]:
    """Whether the model uses both modalities, and what it loses without each."""
    found, both = list(uses(d).values()), d.segmentation.get("both")
    whole = "" if both is None or both.miou is None else f"mIoU {points(both.miou)}"
    if len(found) < 2:
        return [Finding("info", whole, "use", _SCORES[0], first=True)] if whole else []
    read = [use for use in found if use.kind != "unread"]
    level, text = _lead(d, found)
    if read:
        one = len(read) == 1
        changes = ", ".join(use.change("it" if one else None) for use in read).replace(" less", " points less", 1)
        parts = [whole and (whole if one else f"{whole} with both"), changes]
        text += f": {', '.join(part for part in parts if part)} (an absent modality is replaced by"
        text += f" {ABSENT[d.protocol.absence]})"
    return [Finding(level, f"{text}.", "use", *_SCORES, first=True)]


def _lead(d: Dissection, found: Sequence[Use]) -> tuple[str, str]:
    """How serious it is, and the answer in one clause."""
    names = {kind: [use.name for use in found if use.kind == kind] for kind in (*USED, "idle", "open", "unchanged")}
    used = [use.name for use in found if use.kind in USED]
    read = [use.name for use in found if use.kind != "unread"]
    images = f"{d.data.n} image{'' if d.data.n == 1 else 's'}"
    harm = f", {'' if len(read) == 1 else words(names['harms']) + ' '}to its harm" if names["harms"] else ""
    some = f", {words(names['some'])} for some classes only" if names["some"] and len(read) > 1 else ""
    if not read:
        return "warn", "The model reads neither modality"
    if len(read) == 1:
        if used:
            return ("warn" if harm else "info"), f"The model reads {read[0]} only{harm}"
        how = f"{images} do not tell what it gives" if names["open"] else "it does not measurably use it"
        return "warn", f"The model reads {read[0]} only, and {how}"
    if len(used) == len(found):
        return ("warn" if harm else "info"), f"The model uses both modalities{harm}{some}"
    if not used:
        if names["open"]:
            return "warn", f"Whether the model uses {words(names['open'], joint='or')} cannot be told from {images}"
        return "warn", "The model does not measurably use either modality"
    text = f"The model uses {used[0]}{harm}{some}"
    if names["open"]:
        return "warn", f"{text}; whether it uses {names['open'][0]} cannot be told from {images}"
    if names["idle"]:
        return "warn", f"{text}; it does not measurably use {names['idle'][0]}"
    return "warn", f"{text} only"


def contribution(d: Dissection) -> list[Finding]:
    """The Shapley split, and whether the modalities help each other or give the same."""
    made = d.contribution
    if made is None or any(use.kind in ("unread", "unchanged") for use in uses(d).values()):
        return []
    found, total = [], sum(e.miou or 0.0 for e in made.shapley.values())
    if all(real(e.miou, e.miou_error) for e in made.shapley.values()):
        parts = words(f"{called(d, s)} {measured(e.miou, e.miou_error)}" for s, e in made.shapley.items())
        shares = words(f"{100 * (e.miou or 0.0) / total:.0f} % {called(d, s)}" for s, e in made.shapley.items())
        text = f"contribution, with and without each: {parts} points, so {shares}"
        alone = [made.values.get(Condition.without(o)) for o in ("x", "rgb")]
        if not apart(*[(e.miou, e.miou_error) if e is not None else (None, None) for e in alone]):
            text += "; which gives more is within the error"
        found.append(Finding("info", text, "share", "Shapley values of the mIoU", "intervention"))
    value, error = (None, None) if made.interaction is None else (made.interaction.miou, made.interaction.miou_error)
    if value is None or error is None:
        return found
    if real(abs(value), error):
        how = "help each other (synergy)" if value > 0 else "give much of the same (redundancy)"
        more = "more" if value > 0 else "less"
        text = f"the modalities {how}: together {measured(abs(value), error)} points {more} than the two by themselves"
    else:
        text = f"neither synergy nor redundancy is measurable: interaction {measured(value, error)} points"
    return [*found, Finding("info", text, "together", "interaction of the mIoU", "intervention")]
