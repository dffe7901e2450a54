"""Whether the model uses both modalities, what each gives, and which classes need which."""

from __future__ import annotations

from collections.abc import Iterator

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.measures.scores import Drop
from fusionzoo.dissect.results import Dissection
from fusionzoo.dissect.words import RECOGNISED, Finding, apart, measured, modality, points, real, words

__all__ = ["adds", "answer", "called", "classes", "contribution"]

ABSENT = {
    "mean": "its mean",
    "zero": "zeros",
    "permute": "that of another image",
    "noise": "noise of its mean and deviation",
    "blur": "a blurred copy of itself",
}
"""What stands for an absent modality, in words."""
ALONE_KEEPS, ALONE_LOSES = 0.9, 0.8
"""A class comes from one modality alone when it keeps 90 % of its IoU without the other and loses 80 % without it."""


def called(d: Dissection, stream: str) -> str:
    return modality(d.model.modalities, stream)


def _drops(d: Dissection) -> dict[str, Drop]:
    """Stream -> what is lost without it."""
    parts = {stream: d.segmentation.get(Condition.without(stream)) for stream in ("rgb", "x")}
    return {s: p.drop for s, p in parts.items() if p is not None and p.drop is not None and p.drop.miou is not None}


def _unread(d: Dissection, drop: Drop, stream: str) -> bool:
    """A model without that stream, whose output does not change at all: it does not read the modality."""
    has = any(stream in stage.points or "fused" in stage.points for stage in d.rows)
    return not has and drop.miou == 0 and not any(drop.iou)


def answer(d: Dissection) -> list[Finding]:
    drops = _drops(d)
    if len(drops) < 2:
        return []
    name = {s: called(d, s) for s in drops}
    unread = [s for s, drop in drops.items() if _unread(d, drop, s)]
    used = [s for s, drop in drops.items() if real(drop.miou, drop.miou_error)]
    loss = {s: f"{measured(drop.miou, drop.miou_error)} points" for s, drop in drops.items()}
    if unread:
        reads = next(s for s in drops if s not in unread) if len(unread) == 1 else None
        text = f"The model reads {name[reads]} only." if reads else "The model reads neither modality."
        return [Finding("info" if reads else "warn", text)]
    if all(drop.miou_error is None for drop in drops.values()):
        lost = ", ".join(f"{points(drop.miou or 0.0)} without {name[s]}" for s, drop in drops.items())
        text = "One group of images does not tell whether the model uses both modalities"
        return [Finding("warn", f"{text}: it loses {lost}, error unknown; give more images.")]
    if len(used) == 2:
        lost = ", ".join(f"without {name[s]} it loses {loss[s]}" for s in ("rgb", "x"))
        return [Finding("info", f"The model uses both modalities: {lost}.")]
    if len(used) == 1:
        idle = next(s for s in drops if s != used[0])
        text = f"The model does not measurably use {name[idle]}: without it the mIoU changes by {loss[idle]}"
        return [Finding("warn", f"{text}, without {name[used[0]]} it loses {loss[used[0]]}.")]
    text = "The model does not measurably use either modality: the mIoU hardly changes without one of them."
    return [Finding("warn", text)]


def adds(d: Dissection) -> list[Finding]:
    both = d.segmentation.get("both")
    if both is None or both.miou is None:
        return []
    found = []
    for stream, drop in _drops(d).items():
        without, name = d.segmentation[Condition.without(stream)].miou, called(d, stream)
        if without is None or drop.miou is None or _unread(d, drop, stream):
            continue
        text = f"{name} {'adds' if drop.miou >= 0 else 'takes away'} {points(abs(drop.miou))} points"
        text += f" (both {points(both.miou)}, without {name} {points(without)}"
        level = "info" if drop.miou >= 0 or not real(-drop.miou, drop.miou_error) else "warn"
        found.append(Finding(level, f"{text}; an absent modality is replaced by {ABSENT[d.protocol.absence]})"))
    return found or [Finding("info", f"mIoU {points(both.miou)}")]


def contribution(d: Dissection) -> list[Finding]:
    """The Shapley split, and whether the modalities help each other or give the same."""
    made, drops = d.contribution, _drops(d)
    if made is None or any(_unread(d, drop, s) for s, drop in drops.items()):
        return []
    found, total = [], sum(e.miou or 0.0 for e in made.shapley.values())
    if all(real(e.miou, e.miou_error) for e in made.shapley.values()):
        parts = words(f"{called(d, s)} {measured(e.miou, e.miou_error)}" for s, e in made.shapley.items())
        shares = words(f"{100 * (e.miou or 0.0) / total:.0f} % {called(d, s)}" for s, e in made.shapley.items())
        text = f"contribution (Shapley values, with and without each): {parts} points, so {shares}"
        alone = [made.values.get(Condition.without(o)) for o in ("x", "rgb")]
        if not apart(*[(e.miou, e.miou_error) if e is not None else (None, None) for e in alone]):
            text += "; which gives more is within the error"
        found.append(Finding("info", text))
    value, error = made.interaction.miou, made.interaction.miou_error
    if value is None or error is None:
        return found
    if real(abs(value), error):
        how = "help each other (synergy)" if value > 0 else "give much of the same (redundancy)"
        more = "more" if value > 0 else "less"
        text = f"the modalities {how}: together {measured(abs(value), error)} points {more} than the two by themselves"
    else:
        text = f"neither synergy nor redundancy is measurable: interaction {measured(value, error)} points"
    return [*found, Finding("info", text)]


def classes(d: Dissection) -> Iterator[Finding]:
    """Classes that come from one modality alone, that need both, and what gains most."""
    both, drops = d.segmentation.get("both"), _drops(d)
    if both is None or len(drops) < 2 or any(_unread(d, drop, s) for s, drop in drops.items()):
        return
    alone: dict[str, list[str]] = {"rgb": [], "x": []}
    needed: list[str] = []
    for k, name in enumerate(d.data.class_names):
        iou = both.iou[k]
        lost = {s: (drops[s].iou[k], drops[s].iou_error[k]) for s in alone}
        if iou is None or iou < RECOGNISED or any(value is None for value, _ in lost.values()):
            continue
        share = {s: (value or 0.0) / iou for s, (value, _) in lost.items()}
        sure = {s: real(value, error) for s, (value, error) in lost.items()}
        for s, other in (("rgb", "x"), ("x", "rgb")):
            if share[s] >= ALONE_LOSES and sure[s] and share[other] <= 1 - ALONE_KEEPS:
                alone[s].append(repr(name))
        if min(share.values()) >= ALONE_LOSES and all(sure.values()):
            needed.append(repr(name))
    for s, names in alone.items():
        if names:
            this, other = called(d, s), called(d, "x" if s == "rgb" else "rgb")
            text = f"{words(names)} come{'' if len(names) > 1 else 's'} from {this} alone"
            yield Finding("info", f"{text}: keeps nine tenths of its IoU without {other}, lost without {this}")
    if needed:
        text = f"{words(needed)} need{'' if len(needed) > 1 else 's'} both: gone without either modality"
        yield Finding("info", text)
    gains = zip(drops["x"].iou, drops["x"].iou_error, d.data.class_names, strict=True)
    best = sorted(((v, name) for v, error, name in gains if v is not None and real(v, error)), reverse=True)[:3]
    if best:
        listed = words(f"{name!r} ({points(value)})" for value, name in best)
        yield Finding("info", f"{called(d, 'x')} helps most with {listed} (points of class IoU)")
