"""A Dissection in plain words: first the answer (does the model use both modalities?), then the evidence.

Every rule that turns a number into a word stands here as a named constant. Nothing within its own error or below its
noise floor is called a difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from fusionzoo.dissect.conditions import Condition
from fusionzoo.dissect.effects import Curve, Effects, Rest, Robustness, Trace
from fusionzoo.dissect.measures.scores import Drop
from fusionzoo.dissect.results import FEWEST, Dissection, Stage
from fusionzoo.dissect.words import (
    ERRORS,
    RECOGNISED,
    Finding,
    apart,
    at_stages,
    measured,
    modality,
    points,
    real,
    words,
)

__all__ = ["Finding", "effect_findings", "findings"]

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
LEARNT = 0.1
"""Concepts with a lower IoU are not worth a word."""
CLEARLY = 2.0
"""Streams clearly differ when their semantic variance is twice its noise floor; up to the floor nothing is said."""
ONLY = 3.0
"""Only one stream encodes a concept when its IoU there is three times that of the other stream."""
SATURATED = 0.5
"""Share of values at the declared bounds from which a probe is called saturated."""
PLACES = 3
"""So many levels are named, those with the largest effect."""
HALF = 0.5
"""A corruption is dangerous from the severity on at which this share of the clean mIoU is lost."""


def findings(d: Dissection) -> list[Finding]:
    """What the dissection says, most important first."""
    parts: Iterable[list[Finding]] = (
        _answer(d),
        _few(d),
        _planted(d),
        _adds(d),
        _contribution(d),
        effect_findings(d.effects, _called(d, "x")),
        _streams(d),
        _matters(d),
        _agreement(d),
        _classes(d),
        _encoded(d),
        _fused(d),
        _health(d),
    )
    return [finding for part in parts for finding in part]


def _called(d: Dissection, stream: str) -> str:
    return modality(d.model.modalities, stream)


# ---------------------------------------------------------------------------------------------------------- the answer


def _drops(d: Dissection) -> dict[str, Drop]:
    """Stream -> what is lost without it."""
    parts = {stream: d.segmentation.get(Condition.without(stream)) for stream in ("rgb", "x")}
    return {s: p.drop for s, p in parts.items() if p is not None and p.drop is not None and p.drop.miou is not None}


def _unread(d: Dissection, drop: Drop, stream: str) -> bool:
    """A model without that stream, whose output does not change at all: it does not read the modality."""
    has = any(stream in level.points or "fused" in level.points for level in d.rows)
    return not has and drop.miou == 0 and not any(drop.iou)


def _answer(d: Dissection) -> list[Finding]:
    drops = _drops(d)
    if len(drops) < 2:
        return []
    name = {s: _called(d, s) for s in drops}
    unread = [s for s, drop in drops.items() if _unread(d, drop, s)]
    used = [s for s, drop in drops.items() if real(drop.miou, drop.miou_error)]
    if unread:
        reads = next(s for s in drops if s not in unread) if len(unread) == 1 else None
        text = f"The model reads {name[reads]} only." if reads else "The model reads neither modality."
        return [Finding("info" if reads else "warn", text)]
    if all(drop.miou_error is None for drop in drops.values()):
        lost = ", ".join(f"{points(drop.miou or 0.0)} without {name[s]}" for s, drop in drops.items())
        text = (
            f"One group of images does not tell whether the model uses both modalities: it loses {lost}, error unknown"
        )
        return [Finding("warn", f"{text}; give more images.")]
    if len(used) == 2:
        lost = ", ".join(f"without {name[s]} it loses {_loss(drops[s])}" for s in ("rgb", "x"))
        return [Finding("info", f"The model uses both modalities: {lost}.")]
    if len(used) == 1:
        idle = next(s for s in drops if s != used[0])
        loss = _loss(drops[idle])
        text = f"The model does not measurably use {name[idle]}: without it the mIoU changes by {loss}"
        return [Finding("warn", f"{text}, without {name[used[0]]} it loses {_loss(drops[used[0]])}.")]
    return [
        Finding(
            "warn", "The model does not measurably use either modality: the mIoU hardly changes without one of them."
        )
    ]


def _loss(drop: Drop) -> str:
    assert drop.miou is not None
    error = "" if drop.miou_error is None else f" +- {points(drop.miou_error)}"
    return f"{points(drop.miou)}{error} points"


def _few(d: Dissection) -> list[Finding]:
    """What so few images leave out."""
    if d.data.n >= FEWEST or "concepts" in d.protocol.metrics or not d.protocol.metrics:
        return []
    images = "image" if d.data.n == 1 else "images"
    text = f"with {d.data.n} {images} concepts, semantic variance and shared concepts are left out: they need {FEWEST}"
    return [Finding("info", text)]


def _adds(d: Dissection) -> list[Finding]:
    both = d.segmentation.get("both")
    if both is None or both.miou is None:
        return []
    found = []
    for stream, drop in _drops(d).items():
        without, name = d.segmentation[Condition.without(stream)].miou, _called(d, stream)
        if without is None or drop.miou is None or _unread(d, drop, stream):
            continue
        verb = "adds" if drop.miou >= 0 else "takes away"
        text = (
            f"{name} {verb} {points(abs(drop.miou))} points (both {points(both.miou)}, without {name} {points(without)}"
        )
        level = "info" if drop.miou >= 0 or not real(-drop.miou, drop.miou_error) else "warn"
        found.append(Finding(level, f"{text}; an absent modality is replaced by {ABSENT[d.protocol.absence]})"))
    return found or [Finding("info", f"mIoU {points(both.miou)}")]


def _contribution(d: Dissection) -> list[Finding]:
    """The Shapley split, and whether the modalities help each other or give the same."""
    made, drops = d.contribution, _drops(d)
    if made is None or any(_unread(d, drop, s) for s, drop in drops.items()):
        return []
    found, total = [], sum(e.miou or 0.0 for e in made.shapley.values())
    if all(real(e.miou, e.miou_error) for e in made.shapley.values()):
        parts = words(f"{_called(d, s)} {measured(e.miou, e.miou_error)}" for s, e in made.shapley.items())
        shares = words(f"{100 * (e.miou or 0.0) / total:.0f} % {_called(d, s)}" for s, e in made.shapley.items())
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


def _planted(d: Dissection) -> list[Finding]:
    if d.planted is None:
        return []
    judged = {kind: [r for r in d.planted.rows if r.kind == kind] for kind in ("rgb", "x", "both")}
    right = sum(r.found for kind in ("rgb", "x") for r in judged[kind])
    total = sum(len(judged[kind]) for kind in ("rgb", "x"))
    gaps = {
        kind: [abs(r.rgb - r.x) for r in rows if r.rgb is not None and r.x is not None] for kind, rows in judged.items()
    }
    mean = {kind: sum(g) / len(g) for kind, g in gaps.items() if g}
    shared = ", ".join(f"{points(mean[k])} ({t})" for k, t in _KINDS.items() if k in mean)
    text = (
        f"{right} of {total} one-modality concepts are encoded better by the right stream;"
        f" mean difference between the streams: {shared}"
    )
    if d.planted.found:
        return [Finding("info", f"The planted truth is found: {text}.")]
    wrong = [repr(r.concept) for kind in ("rgb", "x") for r in judged[kind] if not r.found]
    tail = f"; not {words(wrong)}" if wrong else ""
    return [Finding("fail", f"The planted truth is NOT found: {text}{tail}.")]


_KINDS = {"rgb": "colour-only concepts", "x": "depth-only", "both": "visible in both"}


def effect_findings(effects: Effects | None, x: str = "x") -> list[Finding]:
    """What the interventions and corruptions say, the answer first; `x` is how the second modality is called.

    >>> effect_findings(None)
    []
    """
    if effects is None:
        return []
    said = [] if effects.trace is None else _trace(effects.trace, x)
    return said if effects.robustness is None else said + _robustness(effects.robustness, x)


def _named(stream: str, x: str) -> str:
    return "colour" if stream == "rgb" else x


def _trace(found: Trace, x: str) -> list[Finding]:
    said = []
    top = [r for r in found.ranking if r.signal and r.effect > 0][:PLACES]
    if top:
        said.append(
            f"the prediction rests most on {words(_place(r, x) for r in top)}: points of mIoU lost when ablated"
        )
    elif any(r.effect_error is not None for r in found.ranking):
        said.append("no level of either modality matters measurably by itself")
    for missing in ("rgb", "x"):
        back = [r for r in found.restored if r.stream == missing and r.signal and r.share is not None and r.effect > 0]
        if back:
            listed = words(f"stage {r.level} ({100 * (r.share or 0):.0f} %)" for r in back[:PLACES])
            said.append(f"without {_named(missing, x)}, its clean feature brings most back at {listed} of the loss")
    for stream in ("rgb", "x"):
        names = [
            repr(c.name) for c in found.classes if c.rests_on == stream and c.iou is not None and c.iou >= RECOGNISED
        ]
        if names:
            said.append(f"{words(names)} rest{'s' if len(names) == 1 else ''} more on {_named(stream, x)}")
    out = [Finding("info", f"causal tracing: {text}") for text in said]
    if found.found is not None:
        text = "every recognised class that one modality alone shows rests on it"
        wrong = [repr(c.name) for c in found.classes if c.kind in ("rgb", "x") and c.rests_on not in ("", c.kind)]
        text = text if found.found else f"{words(wrong)} show in one modality but do not rest on it"
        out.append(Finding("info" if found.found else "warn", f"causal tracing against the planted truth: {text}"))
    return out


def _place(r: Rest, x: str) -> str:
    error = "" if r.effect_error is None else f" +- {points(r.effect_error)}"
    return f"{_named(r.stream, x)} at stage {r.level} ({points(r.effect)}{error})"


def _robustness(found: Robustness, x: str) -> list[Finding]:
    known = [c for c in found.curves if c.kept is not None]
    said = []
    if known:
        worst = min(known, key=lambda c: c.kept or 0.0)
        kept = f"{100 * (worst.kept or 0):.0f} % of its mIoU, averaged over the severities"
        said.append(f"it keeps least under {worst.corruption}: {kept}")
    fatal = [(c, s) for c in known for s in [_half(c)] if s is not None and c.unit != "probability"]
    if fatal:
        listed = words(f"{c.corruption} of {s:g} ({c.unit})" for c, s in fatal)
        said.append(f"half of its mIoU is lost from {listed} on")
    for f in found.failures:
        if f.name == "EMM" and f.expected[-1] is not None and found.clean.miou is not None:
            said.append(
                f"expected mIoU {points(f.expected[-1])} instead of {points(found.clean.miou)} when colour and {x} each"
                f" fail with probability {f.probability[-1]:g}"
            )
    return [Finding("info", f"robustness: {text}") for text in said]


def _half(curve: Curve) -> float | None:
    """The first severity at which half of the clean mIoU is lost."""
    clean = curve.miou[0]
    pairs = zip(curve.severities, curve.miou, strict=True)
    return next((s for s, v in pairs if clean and v is not None and v <= (1 - HALF) * clean), None)


# ------------------------------------------------------------------------------------------------------------ evidence


def _streams(d: Dissection) -> list[Finding]:
    """Where the streams encode the same concepts and where not."""
    rows = [(row.stage, row.concepts.variance["rgb_x"]) for row in d.rows if "rgb_x" in row.concepts.variance]
    known = [(level, v) for level, v in rows if v.value is not None and v.floor is not None]
    same = [level for level, v in known if not v.signal]
    near = [(level, v) for level, v in known if v.signal and (v.value or 0) <= CLEARLY * (v.floor or 0)]
    apart = [(level, v) for level, v in known if v.signal and (level, v) not in near]
    found = []
    for rows, text in ((apart, "the streams encode concepts differently"), (near, "the streams differ little")):
        if rows:
            values = words([points(v.value or 0) for _, v in rows])
            floors = words([points(v.floor or 0) for _, v in rows])
            at = at_stages([level for level, _ in rows])
            found.append(Finding("info", f"at {at} {text}: semantic variance {values} points, noise floor {floors}"))
    if same:
        text = "no difference between the streams is measurable (semantic variance at its noise floor)"
        found.append(Finding("info", f"at {at_stages(same)} {text}"))
    cka = [
        (row.stage, row.similarity.cka.gap.unbiased)
        for row in d.rows
        if row.similarity.cka.gap and row.similarity.cka.gap.unbiased is not None
    ]
    if len(cka) > 1:
        (first, a), (last, b) = cka[0], cka[-1]
        text = f"colour and {_called(d, 'x')} features: CKA {a:.2f} at stage {first}, {b:.2f} at stage {last}"
        found.append(Finding("info", f"{text} (unbiased, images as samples)"))
    return found


def _matters(d: Dissection) -> list[Finding]:
    """At which level the fused features take most from one modality alone: shares of their variance."""
    found = []
    for stream in ("rgb", "x"):
        shares = [(row.stage, row.similarity.commonality.get("pix")) for row in d.rows]
        rows = [(level, getattr(s, f"unique_{stream}")) for level, s in shares if s is not None]
        known = [(level, m.value, m.error) for level, m in rows if m.value is not None and m.error is not None]
        if len(known) < 2:
            continue
        best = max(known, key=lambda row: row[1])
        alike = [row for row in known if not apart(best[1:], row[1:])]
        if len(alike) == len(known) or not real(best[1], best[2]):
            continue
        percent = words(f"{100 * value:.0f} %" for _, value, _ in alike)
        low = min(known, key=lambda row: row[1])
        text = (
            f"{_called(d, stream)} shapes the fused features most at {at_stages([level for level, _, _ in alike])}:"
            f" {percent} of their variance comes from it alone (least at stage {low[0]}, {100 * low[1]:.0f} %)"
        )
        found.append(Finding("info", text))
    return found


def _agreement(d: Dissection) -> list[Finding]:
    """Consistent and specific concepts at the level that encodes concepts best, and how their number changes."""
    rows = [(row, row.specificity) for row in d.rows if row.specificity is not None]
    if not rows:
        return []
    row, best = max(rows, key=lambda pair: _mean_iou(pair[0]))
    parts = [f"{words(map(repr, best.consistent))} in both streams alike (consistent)"] if best.consistent else []
    for stream, names in (("rgb", best.rgb), ("x", best.x)):
        parts += [f"{words(map(repr, names))} specific to {_called(d, stream)}"] if names else []
    found = [Finding("info", f"encoded at stage {row.stage}: {'; '.join(parts)}")] if parts else []
    if best.gained or best.lost:
        gains = [f"gains {words(map(repr, best.gained))}"] if best.gained else []
        gains += [f"loses {words(map(repr, best.lost))}"] if best.lost else []
        found.append(
            Finding("info", f"fusion at stage {row.stage} {' and '.join(gains)} against the better of the streams")
        )
    if len(rows) > 1:
        (first, a), (last, b) = rows[0], rows[-1]
        at = [(len(v.consistent), len(v.rgb) + len(v.x)) for v in (a, b)]
        text = (
            f"concepts over the levels: {at[0][0]} consistent and {at[0][1]} specific at stage {first.stage},"
            f" {at[1][0]} and {at[1][1]} at stage {last.stage}"
        )
        found.append(Finding("info", text))
    return found


def _mean_iou(row: Stage) -> float:
    """Mean concept IoU of the fused features, else of the better stream."""
    means = {}
    for stream, iou in row.concepts.iou.items():
        there = [v for v in iou if v is not None]
        means[stream] = sum(there) / len(there) if there else 0.0
    return means.get("fused", max(means.values(), default=0.0))


def _classes(d: Dissection) -> list[Finding]:
    """Classes that come from one modality alone, that need both, and what gains most."""
    both, drops = d.segmentation.get("both"), _drops(d)
    if both is None or len(drops) < 2 or any(_unread(d, drop, s) for s, drop in drops.items()):
        return []
    alone: dict[str, list[str]] = {"rgb": [], "x": []}
    needed: list[str] = []
    for k, name in enumerate(d.data.class_names):
        iou = both.iou[k]
        lost = {s: _class_loss(drops[s], k) for s in ("rgb", "x")}
        if iou is None or iou < RECOGNISED or any(v is None for v in lost.values()):
            continue
        share = {s: (v or (0.0, False))[0] / iou for s, v in lost.items()}
        real = {s: bool(v and v[1]) for s, v in lost.items()}
        for s, other in (("rgb", "x"), ("x", "rgb")):
            if share[s] >= ALONE_LOSES and real[s] and share[other] <= 1 - ALONE_KEEPS:
                alone[s].append(repr(name))
        if min(share.values()) >= ALONE_LOSES and all(real.values()):
            needed.append(repr(name))
    found = []
    for s, names in alone.items():
        if names:
            this, other = _called(d, s), _called(d, "x" if s == "rgb" else "rgb")
            text = f"{words(names)} come{'' if len(names) > 1 else 's'} from {this} alone"
            found.append(Finding("info", f"{text}: keeps nine tenths of its IoU without {other}, lost without {this}"))
    if needed:
        text = f"{words(needed)} need{'' if len(needed) > 1 else 's'} both: gone without either modality"
        found.append(Finding("info", text))
    return found + _gains(d, drops["x"])


def _class_loss(drop: Drop, k: int) -> tuple[float, bool] | None:
    value, error = drop.iou[k], drop.iou_error[k]
    return None if value is None else (value, real(value, error))


def _gains(d: Dissection, drop: Drop) -> list[Finding]:
    sure = [(v, d.data.class_names[k]) for k, v in enumerate(drop.iou) if v is not None and real(v, drop.iou_error[k])]
    best = sorted(sure, reverse=True)[:3]
    if not best:
        return []
    listed = words(f"{name!r} ({points(value)})" for value, name in best)
    return [Finding("info", f"{_called(d, 'x')} helps most with {listed} (points of class IoU)")]


def _best(levels: Sequence[Stage], stream: str, k: int) -> tuple[float, float] | None:
    """(IoU, margin) of concept k at the stream's best level; the margin is what error and noise floor allow."""
    best: tuple[float, float] | None = None
    for row in levels:
        iou = row.concepts.iou.get(stream, [])
        value = iou[k] if k < len(iou) else None
        if value is None or (best is not None and value <= best[0]):
            continue
        error, floor = row.concepts.error[stream][k], row.concepts.floor[stream][k]
        best = (value, math.inf if error is None or floor is None else max(ERRORS * error, floor))
    return best


def _encoded(d: Dissection) -> list[Finding]:
    """Concepts that only one stream encodes, each stream at its best level."""
    if any(row.specificity is not None for row in d.rows):
        return []  # said with the consistent ones
    only: dict[str, list[str]] = {"rgb": [], "x": []}
    for k, name in enumerate(d.data.class_names):
        best = {s: _best(d.rows, s, k) for s in only}
        for s, other in (("rgb", "x"), ("x", "rgb")):
            mine, theirs = best[s], best[other]
            if mine is None or theirs is None or mine[0] < LEARNT or mine[0] < ONLY * theirs[0]:
                continue
            if mine[0] - theirs[0] > math.hypot(mine[1], theirs[1]):
                only[s].append(f"{name!r} ({points(mine[0])} against {points(theirs[0])})")
    return [
        Finding(
            "info",
            f"only the {_called(d, s)} stream encodes {words(names)}: concept IoU, best level of each stream",
        )
        for s, names in only.items()
        if names
    ]


def _fused(d: Dissection) -> list[Finding]:
    """Which stream the fused features encode concepts like."""
    near: dict[str, list[int]] = {"rgb": [], "x": []}
    for row in d.rows:
        to = {s: row.concepts.variance.get(f"{s}_fused") for s in near}
        values = {s: v.value for s, v in to.items() if v is not None and v.value is not None and v.floor is not None}
        if len(values) == 2:
            floor = max(v.floor for v in to.values() if v is not None and v.floor is not None)
            if abs(values["rgb"] - values["x"]) > floor:
                near[min(values, key=lambda s: values[s])].append(row.stage)
    return [
        Finding("info", f"at {at_stages(at)} the fused features encode concepts more like {_called(d, s)}")
        for s, at in near.items()
        if at
    ]


def _health(d: Dissection) -> list[Finding]:
    dead = [p for p in d.health if p.channels and p.dead == p.channels]
    some = [p for p in d.health if 0 < p.dead < p.channels]
    full = [p for p in d.health if p not in dead and p.saturated is not None and p.saturated >= SATURATED]
    found = []
    if dead:
        text = f"dead: {words(p.name for p in dead)} (no channel ever varies)"
        found.append(Finding("warn", text))
    if full:
        listed = words(f"{p.name} ({100 * (p.saturated or 0):.0f} %)" for p in full)
        found.append(Finding("warn", f"saturated: {listed} of the values at an end of the range"))
    if some:
        most = max(some, key=lambda p: p.dead / p.channels)
        text = f"{len(some)} of {len(d.health)} probe points have channels that never vary"
        found.append(Finding("info", f"{text}; most: {most.name}, {most.dead} of {most.channels}"))
    if d.health and not dead and not full and not some:
        found.append(Finding("info", f"no dead channel and no saturated probe among {len(d.health)} probe points"))
    return found
