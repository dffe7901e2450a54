"""What the interventions and corruptions say: causal tracing, robustness."""

from __future__ import annotations

from fusionzoo.dissect.effects import Curve, Effects, Robustness, Trace
from fusionzoo.dissect.words import RECOGNISED, Finding, measured, points, words

__all__ = ["effect_findings"]

PLACES = 3
"""So many stages are named, those with the largest effect."""
HALF = 0.5
"""A corruption is dangerous from the severity on at which this share of the clean mIoU is lost."""


def effect_findings(effects: Effects | None, x: str = "x") -> list[Finding]:
    """What the interventions and corruptions say, the answer first; `x` is how the second modality is called.

    >>> effect_findings(None)
    []
    """
    if effects is None:
        return []
    said = [] if effects.trace is None else _trace(effects.trace, x)
    return said if effects.robustness is None else said + _robustness(effects.robustness, x)


def _trace(found: Trace, x: str) -> list[Finding]:
    out, named = [], {"rgb": "rgb", "x": x}

    def say(claim: str, text: str, level: str = "info", first: bool = False) -> None:
        out.append(Finding(level, text, claim, "causal tracing", "intervention", first))

    top = [r for r in found.ranking if r.signal and r.effect > 0][:PLACES]
    if top:
        listed = words(f"{named[r.stream]} at stage {r.stage} ({measured(r.effect, r.effect_error)})" for r in top)
        text = f"Where: the prediction rests most on {listed}: points of mIoU lost when ablated."
        say("where", text, first=True)
    elif any(r.effect_error is not None for r in found.ranking):
        say("no single stage", "causal tracing: no stage of either modality matters measurably by itself")
    for missing in ("rgb", "x"):
        back = [r for r in found.restored if r.stream == missing and r.signal and r.share is not None and r.effect > 0]
        if back:
            listed = words(f"stage {r.stage} ({100 * (r.share or 0):.0f} %)" for r in back[:PLACES])
            text = f"without {named[missing]}, its clean feature brings most back at {listed} of the loss"
            say(f"restored {missing}", f"causal tracing: {text}")
    rests = []
    for stream in ("rgb", "x"):
        names = [repr(c.name) for c in found.classes if c.rests_on == stream and (c.iou or 0.0) >= RECOGNISED]
        if names:
            rests.append(f"{words(names)} rest{'s' if len(names) == 1 else ''} more on {named[stream]}")
    if rests:
        say("breaks", f"causal tracing: {'; '.join(rests)}")
    if found.found is not None:
        text = "every recognised class that one modality alone shows rests on it"
        wrong = [repr(c.name) for c in found.classes if c.kind in ("rgb", "x") and c.rests_on not in ("", c.kind)]
        text = text if found.found else f"{words(wrong)} show in one modality but do not rest on it"
        text = f"causal tracing against the planted truth: {text}"
        say("traced truth", text, "info" if found.found else "warn")
    return out


def _robustness(found: Robustness, x: str) -> list[Finding]:
    known = [c for c in found.curves if c.kept is not None]
    said: dict[str, str] = {}
    if known:
        worst = min(known, key=lambda c: c.kept or 0.0)
        kept = f"{100 * (worst.kept or 0):.0f} % of its mIoU, averaged over the severities"
        said["least kept"] = f"it keeps least under {worst.corruption}: {kept}"
    fatal = [(c, s) for c in known for s in [_half(c)] if s is not None and c.unit != "probability"]
    if fatal:
        listed = words(f"{c.corruption} of {s:g} ({c.unit})" for c, s in fatal)
        said["half lost"] = f"half of its mIoU is lost from {listed} on"
    for f in found.failures:
        if f.name == "EMM" and f.expected[-1] is not None and found.clean.miou is not None:
            said["failing modalities"] = (
                f"expected mIoU {points(f.expected[-1])} instead of {points(found.clean.miou)} when rgb and {x} each"
                f" fail with probability {f.probability[-1]:g}"
            )
    return [Finding("info", f"robustness: {text}", claim, "robustness", "intervention") for claim, text in said.items()]


def _half(curve: Curve) -> float | None:
    """The first severity at which half of the clean mIoU is lost."""
    clean = curve.miou[0]
    pairs = zip(curve.severities, curve.miou, strict=True)
    return next((s for s, v in pairs if clean and v is not None and v <= (1 - HALF) * clean), None)
