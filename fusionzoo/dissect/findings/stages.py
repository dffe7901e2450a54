"""What the streams encode at which stage, how alike they are there, what they tell together, and what the
fused features take from each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from fusionzoo.dissect.findings.use import called, uses
from fusionzoo.dissect.measures.information import Information
from fusionzoo.dissect.results import Dissection, Stage
from fusionzoo.dissect.words import ERRORS, Finding, apart, at_stages, points, real, words

__all__ = ["agreement", "encoded", "fused", "streams", "together", "where"]

LEARNT = 0.1
"""Concepts with a lower IoU are not worth a word."""
CLEARLY = 2.0
"""Streams clearly differ when their semantic variance is twice its noise floor; up to the floor nothing is said."""
EVEN = 0.05
"""Stages at which a modality shapes shares of the fused features that differ less are alike."""
TOGETHER = 0.05
"""Share of the information that only both together tell, from which it is worth a word."""
_SHARING = ("consistent and specific concepts", "concepts")
ONLY = 3.0
"""Only one stream encodes a concept when its IoU there is three times that of the other stream."""


def streams(d: Dissection) -> Iterator[Finding]:
    """How alike the streams are: where they encode the same concepts and where not."""
    rows = [(row.stage, row.concepts.variance["rgb_x"]) for row in d.rows if "rgb_x" in row.concepts.variance]
    known = [(stage, v) for stage, v in rows if v.value is not None and v.floor is not None]
    same = [stage for stage, v in known if not v.signal]
    near = [(stage, v) for stage, v in known if v.signal and (v.value or 0) <= CLEARLY * (v.floor or 0)]
    apart = [(stage, v) for stage, v in known if v.signal and (stage, v) not in near]
    said = []
    for rows, text in ((apart, "the streams encode concepts differently"), (near, "the streams differ little")):
        if rows:
            values = words([points(v.value or 0) for _, v in rows])
            floors = words([points(v.floor or 0) for _, v in rows])
            at = at_stages([stage for stage, _ in rows])
            said.append(f"at {at} {text}: semantic variance {values} points, noise floor {floors}")
    if same:
        text = "no difference between the streams is measurable (semantic variance at its noise floor)"
        said.append(f"at {at_stages(same)} {text}")
    if said:
        yield Finding("info", "; ".join(said), "alike", "semantic variance", "concepts")
    gap = [(row.stage, row.similarity.cka.gap) for row in d.rows]
    cka = [(stage, value.unbiased) for stage, value in gap if value is not None and value.unbiased is not None]
    if len(cka) > 1:
        (first, a), (last, b) = cka[0], cka[-1]
        text = f"rgb and {called(d, 'x')} features: CKA {a:.2f} at stage {first}, {b:.2f} at stage {last}"
        yield Finding("info", f"{text} (unbiased, images as samples)", "alike", "CKA", "distribution")


def where(d: Dissection) -> Iterator[Finding]:
    """At which stages the fused features take most from one modality alone: shares of their variance."""
    parts: list[str] = []
    silent: list[str] = []
    found = uses(d)
    for stream in ("rgb", "x"):
        name, kind = called(d, stream), found[stream].kind if stream in found else ""
        shares = [(row.stage, row.similarity.commonality.get("pix")) for row in d.rows]
        rows = [(stage, getattr(s, f"unique_{stream}")) for stage, s in shares if s is not None]
        known = [(stage, m.value, m.error) for stage, m in rows if m.value is not None and m.error is not None]
        if kind == "unread" or len(known) < 2:
            return
        best, low = max(known, key=lambda row: row[1]), min(known, key=lambda row: row[1])
        top = [row for row in known if not apart(best[1:], row[1:]) or best[1] - row[1] < EVEN]
        what = name + ("" if parts else " shapes the fused features")
        of = "" if any("%" in part for part in parts) else " of their variance comes from it alone"
        percent = words(f"{100 * value:.0f} %" for _, value, _ in top)
        if not real(best[1], best[2]):
            parts.append(f"{what} nowhere measurably")
            continue
        silent += [name] if kind in ("unchanged", "idle") else []
        if len(top) == len(known):
            parts.append(f"{what} alike at all stages ({100 * low[1]:.0f} to {100 * best[1]:.0f} %{of})")
        else:
            least = f"least at stage {low[0]}, {100 * low[1]:.0f} %"
            parts.append(f"{what} most at {at_stages([row[0] for row in top])} ({percent}{of}; {least})")
    if parts:
        text = f"Where: {'; '.join(parts)}"
        text += f"; yet the prediction does not measurably use {words(silent)}" if silent else ""
        yield Finding("info", f"{text}.", "where", "commonality", "distribution", first=True)


def together(d: Dissection) -> list[Finding]:
    """Who tells what of the concepts at the stage that tells most, where a part of it is told by both together only."""
    found: Information | None = d.results.get("information")
    known = [(row.stage, row.concepts) for row in found.stages if row.concepts is not None] if found else []
    rows = [(stage, made, made.information.value) for stage, made in known if made.information.value is not None]
    if not rows:
        return []
    stage, made, nats = max(rows, key=lambda row: row[2])
    parts = made.shares
    if made.few or not real(parts.synergistic.value, parts.synergistic.error, TOGETHER):
        return []
    named = (("rgb alone", parts.unique_rgb), (f"{called(d, 'x')} alone", parts.unique_x), ("either", parts.redundant),
             ("only both together", parts.synergistic))  # fmt: skip
    shares = ", ".join(f"{name} {points(share.value or 0.0)} %" for name, share in named)
    text = f"what the streams tell of the concepts, most at stage {stage} ({nats:.1f} nats): {shares}"
    return [Finding("info", text, "told", "partial information of the concepts", "distribution")]


def agreement(d: Dissection) -> Iterator[Finding]:
    """Consistent and specific concepts at the stage that encodes concepts best, and how their number changes."""
    rows = [(row, row.specificity) for row in d.rows if row.specificity is not None]
    if not rows:
        return
    row, best = max(rows, key=lambda pair: pair[0].mean_iou or 0.0)
    parts = [f"{words(map(repr, best.consistent))} in both streams alike (consistent)"] if best.consistent else []
    for stream, names in (("rgb", best.rgb), ("x", best.x)):
        parts += [f"{words(map(repr, names))} specific to {called(d, stream)}"] if names else []
    if parts:
        text = f"encoded at stage {row.stage}: {'; '.join(parts)}"
        yield Finding("info", text, "encoded", *_SHARING)
    if best.gained or best.lost:
        gains = [f"gains {words(map(repr, best.gained))}"] if best.gained else []
        gains += [f"loses {words(map(repr, best.lost))}"] if best.lost else []
        text = f"fusion at stage {row.stage} {' and '.join(gains)}"
        yield Finding("info", f"{text} against the better of the streams", "gained by fusion", *_SHARING)
    if len(rows) > 1:
        (first, a), (last, b) = rows[0], rows[-1]
        text = f"{len(a.consistent)} consistent and {len(a.rgb) + len(a.x)} specific at stage {first.stage}"
        text += f", {len(b.consistent)} and {len(b.rgb) + len(b.x)} at stage {last.stage}"
        yield Finding("info", f"concepts over the stages: {text}", "sharing over stages", *_SHARING)


def _best(stages: Sequence[Stage], stream: str, k: int) -> tuple[float, float] | None:
    """(IoU, margin) of concept k at the stream's best stage; the margin is what error and noise floor allow."""
    best: tuple[float, float] | None = None
    for row in stages:
        iou = row.concepts.iou.get(stream, [])
        value = iou[k] if k < len(iou) else None
        if value is None or (best is not None and value <= best[0]):
            continue
        error, floor = row.concepts.error[stream][k], row.concepts.floor[stream][k]
        best = (value, math.inf if error is None or floor is None else max(ERRORS * error, floor))
    return best


def encoded(d: Dissection) -> Iterator[Finding]:
    """Concepts that only one stream encodes, each stream at its best stage."""
    if any(row.specificity is not None for row in d.rows):
        return  # said with the consistent ones
    only: dict[str, list[str]] = {"rgb": [], "x": []}
    for k, name in enumerate(d.data.class_names):
        best = {s: _best(d.rows, s, k) for s in only}
        for s, other in (("rgb", "x"), ("x", "rgb")):
            mine, theirs = best[s], best[other]
            if mine is None or theirs is None or mine[0] < LEARNT or mine[0] < ONLY * theirs[0]:
                continue
            if mine[0] - theirs[0] > math.hypot(mine[1], theirs[1]):
                only[s].append(f"{name!r} ({points(mine[0])} against {points(theirs[0])})")
    for s, names in only.items():
        if names:
            text = f"only the {called(d, s)} stream encodes {words(names)}: concept IoU, best stage of each stream"
            yield Finding("info", text, f"encoded by {s} only", "concept set IoU", "concepts")


def fused(d: Dissection) -> Iterator[Finding]:
    """Which stream the fused features encode concepts like."""
    near: dict[str, list[int]] = {"rgb": [], "x": []}
    for row in d.rows:
        to = {s: row.concepts.variance.get(f"{s}_fused") for s in near}
        values = {s: v.value for s, v in to.items() if v is not None and v.value is not None and v.floor is not None}
        if len(values) == 2:
            floor = max(v.floor for v in to.values() if v is not None and v.floor is not None)
            if abs(values["rgb"] - values["x"]) > floor:
                near[min(values, key=lambda s: values[s])].append(row.stage)
    said = [f"at {at_stages(at)} more like {called(d, s)}" for s, at in near.items() if at]
    if said:
        text = f"the fused features encode concepts {', '.join(said)}"
        yield Finding("info", text, "fused like", "semantic variance", "concepts")
