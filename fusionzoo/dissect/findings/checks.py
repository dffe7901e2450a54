"""What is left out and why, the planted truth, and the health of the probes."""

from __future__ import annotations

from collections.abc import Iterator

from fusionzoo.dissect.results import FEWEST, JUDGED_FROM, Dissection
from fusionzoo.dissect.words import SATURATED, Finding, points, words
from fusionzoo.tasks import CLASSIFICATION

__all__ = ["health", "left_out", "planted"]

_TRUTH = ("planted truth", "concept set IoU against the planted truth", "concepts")
_HEALTH = ("channel statistics", "distribution")
_KINDS = {"rgb": "rgb-only concepts", "x": "depth-only", "both": "visible in both"}


def left_out(d: Dissection) -> list[Finding]:
    """What one class for a whole image, or so few images, leave out."""
    if d.data.task == CLASSIFICATION and d.protocol.concepts == "labels":
        text = "a scene type has no regions: concepts by class, semantic variance and pictures of images are left out"
        return [Finding("info", text, first=True)]
    if d.data.n >= FEWEST or "concepts" in d.protocol.metrics or not d.protocol.metrics:
        return []
    images = "image" if d.data.n == 1 else "images"
    text = f"with {d.data.n} {images} concepts, semantic variance and shared concepts are left out: they need {FEWEST}"
    return [Finding("info", text, first=True)]


def planted(d: Dissection) -> list[Finding]:
    if d.planted is None:
        return []
    if d.truth_found is None:
        few = f"{d.data.n} image{'' if d.data.n == 1 else 's'}"
        return [Finding("info", f"The planted truth cannot be judged on {few}: {JUDGED_FROM} are needed.")]
    several = len(d.model.modalities) > 2
    rows = [r for r in d.planted.rows if r.kind in (d.model.modalities if several else ("rgb", "x"))]
    wrong = [repr(r.concept) for r in (rows if several else sorted(rows, key=lambda r: r.kind)) if not r.found]
    how = "best" if several else "better"
    text = f"{len(rows) - len(wrong)} of {len(rows)} one-modality concepts are encoded {how} by the right stream"
    if not several:
        known = [(r.kind, abs(r.rgb - r.x)) for r in d.planted.rows if r.rgb is not None and r.x is not None]
        gaps = {name: [gap for kind, gap in known if kind == k] for k, name in _KINDS.items()}
        shared = ", ".join(f"{points(sum(v) / len(v))} ({name})" for name, v in gaps.items() if v)
        text += f"; mean difference between the streams: {shared}"
    if d.planted.found:
        return [Finding("info", f"The planted truth is found: {text}.", *_TRUTH)]
    tail = f"; not {words(wrong)}" if wrong else "; not judged" if several else ""
    return [Finding("fail", f"The planted truth is NOT found: {text}{tail}.", *_TRUTH)]


def health(d: Dissection) -> Iterator[Finding]:
    dead = [p for p in d.health if p.channels and p.dead == p.channels]
    some = [p for p in d.health if 0 < p.dead < p.channels]
    full = [p for p in d.health if p not in dead and p.saturated is not None and p.saturated >= SATURATED]
    if dead:
        yield Finding("warn", f"dead: {words(p.name for p in dead)} (no channel ever varies)", "dead", *_HEALTH)
    if full:
        listed = words(f"{p.name} ({100 * (p.saturated or 0):.0f} %)" for p in full)
        yield Finding("warn", f"saturated: {listed} of the values at an end of the range", "saturated", *_HEALTH)
    if some:
        most = max(some, key=lambda p: p.dead / p.channels)
        text = f"{len(some)} of {len(d.health)} probe points have channels that never vary"
        yield Finding("info", f"{text}; most: {most.name}, {most.dead} of {most.channels}", "dead channels", *_HEALTH)
    if d.health and not dead and not full and not some:
        text = f"no dead channel and no saturated probe among {len(d.health)} probe points"
        yield Finding("info", text, "health", *_HEALTH)
