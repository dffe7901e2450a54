"""What may be said of more than two modalities: which the model uses, what each gives, which classes need which."""

from __future__ import annotations

from collections.abc import Iterator

from fusionzoo.dissect.findings.use import drops
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import RECOGNISED, Finding, measured, points, real, words

__all__ = ["answer", "classes", "contribution"]

_USE = ("use", "mIoU with and without each modality", "intervention")
KEEPS, LOSES = 0.9, 0.8
"""A class comes from one modality alone when it loses 80 % of its IoU without it and keeps 90 % without each other."""


def answer(d: Dissection) -> Iterator[Finding]:
    """Which modalities the prediction needs, and what is lost without each."""
    lost_without, whole = drops(d), d.segmentation.get("both")
    if not lost_without or whole is None or whole.miou is None:
        return
    used = [name for name, drop in lost_without.items() if real(abs(drop.miou or 0.0), drop.miou_error)]
    idle = [name for name in lost_without if name not in used]
    lost = ", ".join(f"{measured(drop.miou, drop.miou_error)} without {name}" for name, drop in lost_without.items())
    evidence = f"mIoU {points(whole.miou)} with all, it loses {lost}"
    text = "The model does not measurably use any modality"
    if all(drop.miou_error is None for drop in lost_without.values()):
        text = "One group of images does not tell which modalities the model uses"
        evidence += ", error unknown; give more images"
    elif not idle:
        text = f"The model uses all {len(lost_without)} modalities"
    elif used:
        text = f"The model uses {words(used)}, and not measurably {words(idle)}"
    yield Finding("warn" if idle else "info", f"{text}: {evidence}.", *_USE, first=True)


def contribution(d: Dissection) -> Iterator[Finding]:
    """The Shapley values, and the pairs that help each other or give the same."""
    made = d.contribution
    if made is None:
        return
    parts = words(f"{name} {measured(e.miou, e.miou_error)}" for name, e in made.shapley.items())
    text = f"contribution, over all subsets of the modalities: {parts} points"
    yield Finding("info", text, "share", "Shapley values of the mIoU", "intervention", first=True)
    for sign, how in ((1, "help each other (synergy)"), (-1, "give much of the same (redundancy)")):
        pairs = {
            pair.replace("+", " and "): e
            for pair, e in made.interactions.items()
            if e.miou is not None and real(sign * e.miou, e.miou_error)
        }
        if pairs:
            told = words(f"{pair} ({measured(e.miou, e.miou_error)})" for pair, e in pairs.items())
            yield Finding(
                "info", f"{told} {how}: points", f"together {sign}", "interaction of the mIoU", "intervention"
            )


def classes(d: Dissection) -> Iterator[Finding]:
    """Classes that come from one modality alone."""
    whole, lost_without = d.segmentation.get("both"), drops(d)
    if whole is None or len(lost_without) < 3:
        return
    alone: dict[str, list[str]] = {name: [] for name in lost_without}
    for k, name in enumerate(d.data.class_names):
        iou = whole.iou[k]
        lost = {s: drop.iou[k] for s, drop in lost_without.items()}
        if iou is None or iou < RECOGNISED or any(value is None for value in lost.values()):
            continue
        share = {s: (value or 0.0) / iou for s, value in lost.items()}
        for s, drop in lost_without.items():
            others = [v for o, v in share.items() if o != s]
            if share[s] >= LOSES and real(lost[s], drop.iou_error[k]) and max(others) <= 1 - KEEPS:
                alone[s].append(repr(name))
    told = "; ".join(f"{words(names)} ({s})" for s, names in alone.items() if names)
    if told:
        text = f"one modality alone gives {told}: lost without it, nine tenths kept without any other"
        yield Finding("info", text, "classes", "class IoU without each modality", "intervention", first=True)
